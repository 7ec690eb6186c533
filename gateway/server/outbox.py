"""The way to one client: written at once, or kept in order while the socket is full.

Nothing here waits for a reader. What a client does not take piles up in the
transport (64 KiB), then here, counted in bytes. A client that takes nothing for
STALL_S while it is over the bound, or for SILENCE_S while anything waits, is
given up. What the kernel buffers is not counted.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from websockets.frames import Frame, Opcode

from gateway.hub.hub import Topic

STALL_S = 5.0
SILENCE_S = 40.0
LOW_BYTES = 64 * 1024


def text_frame(payload: bytes) -> bytes:
    """A server's text frame (RFC 6455 §5.2): unmasked, one fragment; ready for any number of sockets."""
    return Frame(Opcode.TEXT, payload).serialize(mask=False, extensions=[])


class Outbox:
    """Frames on their way to one client; a gate a topic holds notifications back behind an answer."""

    def __init__(self, transport: asyncio.Transport, bound_bytes: int, give_up: Callable[[], None]) -> None:
        self._transport, self._bound_bytes, self._give_up = transport, bound_bytes, give_up
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._written = 0
        self._is_paused = False
        self._is_closed = False
        self._gates: dict[Topic, tuple[int, list[bytes | Callable[[], None]]]] = {}
        self._drained: list[asyncio.Future[None]] = []
        self._stall: asyncio.TimerHandle | None = None

    def put(self, frame: bytes) -> None:
        """Send; never waits."""
        if self._is_closed:
            return
        if not self._is_paused and not self._frames:
            self._write(frame)
            return
        self._frames.append(frame)
        self._bytes += len(frame)

    def notify(self, topic: Topic | None, frame: bytes) -> None:
        """Send, unless the topic is held: then later, in order."""
        if self._gates and topic is not None and (gate := self._gates.get(topic)) is not None:
            gate[1].append(frame)
        else:
            self.put(frame)

    def when_free(self, topic: Topic, work: Callable[[], None]) -> None:
        """Do this, unless the topic is held: then later, in order with what is sent."""
        if self._gates and (gate := self._gates.get(topic)) is not None:
            gate[1].append(work)
        else:
            work()

    def hold(self, topic: Topic) -> None:
        """Close the gate; holds add up."""
        count, kept = self._gates.get(topic, (0, []))
        self._gates[topic] = (count + 1, kept)

    def release(self, topic: Topic) -> None:
        """Undo one hold; the last one lets everything through in order."""
        count, kept = self._gates[topic]
        if count > 1:
            self._gates[topic] = (count - 1, kept)
            return
        del self._gates[topic]
        for item in kept:
            if isinstance(item, bytes):
                self.put(item)
            else:
                item()

    @property
    def is_behind(self) -> bool:
        """Whether the client has not taken what was sent."""
        return self._bytes > LOW_BYTES

    async def drained(self) -> None:
        """Wait until the client has taken nearly all; at once when the connection is gone."""
        while self.is_behind and not self._is_closed:
            waiter = asyncio.get_running_loop().create_future()
            self._drained.append(waiter)
            await waiter

    def flush(self) -> None:
        """Hand everything to the socket, full or not: the last words before a close."""
        while self._frames:
            self._write(self._frames.popleft())
        self._bytes = 0

    def pause(self) -> None:
        """The socket is full: from now on see whether the client takes anything."""
        self._is_paused = True
        if self._stall is None:
            self._watch(0.0, self._taken)

    def resume(self) -> None:
        """The socket takes more."""
        self._is_paused = False
        while self._frames and not self._is_paused and not self._is_closed:
            frame = self._frames.popleft()
            self._bytes -= len(frame)
            self._write(frame)
        if not self.is_behind:
            self._wake()

    def close(self) -> None:
        """Forget what is left; later frames go nowhere."""
        self._is_closed = True
        self._frames.clear()
        self._bytes = 0
        if self._stall is not None:
            self._stall.cancel()
        self._wake()

    def _wake(self) -> None:
        waiters, self._drained = self._drained, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _write(self, frame: bytes) -> None:
        self._written += len(frame)
        self._transport.write(frame)

    @property
    def _taken(self) -> int:
        """Bytes that went on to the kernel."""
        return self._written - self._transport.get_write_buffer_size()

    def _watch(self, stalled_s: float, taken: int) -> None:
        self._stall = asyncio.get_running_loop().call_later(STALL_S, self._look, stalled_s + STALL_S, taken)

    def _look(self, stalled_s: float, taken: int) -> None:
        """Every STALL_S while the socket is full."""
        self._stall = None
        if self._is_closed or not self._is_paused:
            return
        if self._taken > taken:
            self._watch(0.0, self._taken)
        elif self._bytes > self._bound_bytes or stalled_s >= SILENCE_S:
            self._give_up()
        else:
            self._watch(stalled_s, taken)
