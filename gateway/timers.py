"""One wheel for all deadlines of this process: no task and no loop timer for any of them.

The wheel knows keys and when they are due, and fires them. What that means is
the caller's; so is keeping deadlines over a restart, and far ones out of memory.
It goes by a `SteadyClock`, which nobody can turn: whoever compares a deadline
with that clock agrees with the wheel to the millisecond.

The invariant: every armed key is in one place, and the place comes up no later
than its deadline. A deadline that moves out is only written down; when the place
comes up, the key goes where it belongs by then.

The places, with the default tick: a heap for the tick that the hand is at and
all before it; a ring with a slot for each 50 ms of the hand's block and the next,
3.4 minutes each; for every block beyond, one list, which is brought into the ring
while the block before it passes. Slots and lists are chains through four arrays
(24 bytes a key): taking a key out costs no more than putting it in, and leaves
nothing behind. The arrays do not shrink.
"""

import asyncio
from array import array
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final, NoReturn

import structlog

from .clock import SteadyClock

_BLOCK_BITS: Final = 12
_LAST_OF_BLOCK: Final = (1 << _BLOCK_BITS) - 1
_RING: Final = 2 << _BLOCK_BITS
_GROWTH: Final = 256
# Keys brought into the ring a tick: two million while a block passes, half a millisecond at a time.
_SHARE: Final = 512
_NEVER_MS: Final = -(1 << 64)

_log = structlog.get_logger()


class TimerWheel:
    """Calls `fire(key)` once for each key that was armed, when its deadline has come.

    Never early by the clock, late by at most a tick and what holds up the event
    loop. Deadlines are met in their order, equal ones in the order of their keys,
    and `most` in one tick: what has piled up comes bit by bit.

    A key is disarmed before it is fired. `fire` must not block; it may arm and
    cancel any key, and what it arms as overdue waits for the next tick, behind
    what waited before. What it raises is logged. One thread only.
    """

    def __init__(
        self, clock: SteadyClock, fire: Callable[[int], object], *, tick_ms: int = 50, most: int = 256
    ) -> None:
        self._clock, self._fire = clock, fire
        self._tick_ms, self._most = tick_ms, most
        # Everything up to this tick is in `_due`.
        self._hand = clock.now_ms() // tick_ms
        # A time and a key; one that was cancelled or moved may still be mentioned.
        self._due: list[tuple[int, int]] = []
        self._fired_at_ms = _NEVER_MS
        self._late: set[int] = set()
        # Nodes below _RING are the slots' heads, the next free one is chained by `_next`, 0 ends that chain.
        self._node_by_key: dict[int, int] = {}
        self._head_by_block: dict[int, int] = {}
        self._free = 0
        self._deadlines = array("q", bytes(8 * _RING))
        self._keys = array("q", bytes(8 * _RING))
        self._next = array("i", range(_RING))
        self._previous = array("i", range(_RING))
        # 1 where a slot may hold something.
        self._marks = bytearray(_RING)

    def __len__(self) -> int:
        return len(self._node_by_key)

    def deadline(self, key: int) -> int | None:
        """When a key is due, milliseconds since 1970 UTC; None for one that is not armed."""
        node = self._node_by_key.get(key)
        return None if node is None else self._deadlines[node]

    def arm(self, key: int, deadline_ms: int) -> None:
        """Fire at this time, milliseconds since 1970 UTC, and not at one that was set before.

        What has passed already is met by the next tick. Both take 64 bits.
        """
        node = self._node_by_key.get(key)
        if node is None:
            node = self._node_by_key[key] = self._new_node(key, deadline_ms)
        else:
            before_ms, self._deadlines[node] = self._deadlines[node], deadline_ms
            if deadline_ms >= before_ms:
                return
            self._unlink(node)
        if deadline_ms > self._fired_at_ms:
            self._place(node, deadline_ms)
        else:
            self._next[node] = self._previous[node] = node
            self._late.add(key)

    def cancel(self, key: int) -> bool:
        """Fire no more; False when there was nothing to fire."""
        node = self._node_by_key.pop(key, None)
        if node is None:
            return False
        self._unlink(node)
        self._free_node(node)
        return True

    def tick(self) -> int:
        """Fire what is due by now, as much as one tick may; how many that was."""
        now_ms, fired = self._clock.now_ms(), 0
        tick = now_ms // self._tick_ms
        self._unpack((self._hand >> _BLOCK_BITS) + 1, _SHARE)
        while fired < self._most:
            if self._due and self._due[0][0] <= now_ms:
                fired += self._meet(*heappop(self._due), now_ms)
            elif self._hand < tick:
                self._advance(tick)
            else:
                break
        while self._late:
            self._replace(self._late.pop(), now_ms)
        return fired

    async def run(self) -> NoReturn:
        """Tick until cancelled; after a hold-up the first tick catches up."""
        while True:
            self.tick()
            await asyncio.sleep(self._tick_ms / 1000)

    def _meet(self, due_ms: int, key: int, now_ms: int) -> bool:
        """Fire a key that came up, or put it where it belongs if its deadline has moved out."""
        deadline_ms = self.deadline(key)
        if deadline_ms is None or key in self._late:
            return False
        if deadline_ms > due_ms:
            self._replace(key, deadline_ms)
            return False
        self.cancel(key)
        self._fired_at_ms = now_ms
        try:
            self._fire(key)
        except Exception:
            _log.exception("timer_failed", key=key)
        finally:
            self._fired_at_ms = _NEVER_MS
        return True

    def _advance(self, until: int) -> None:
        """Move the hand, not past a tick or its block, to the next slot that may hold something, and empty that."""
        tick = self._hand + 1
        if not tick & _LAST_OF_BLOCK:
            self._unpack(tick >> _BLOCK_BITS, len(self) + 1)
        until = min(until, tick | _LAST_OF_BLOCK)
        first = tick % _RING
        slot = self._marks.find(1, first, first + until - tick + 1)
        if slot < 0:
            self._hand = until
            return
        self._hand = tick + slot - first
        self._marks[slot] = 0
        while (node := self._next[slot]) != slot:
            self._unlink(node)
            self._place(node, self._deadlines[node])

    def _unpack(self, block: int, most: int) -> None:
        """Bring keys of the block after the hand's into the ring."""
        head = self._head_by_block.get(block)
        if head is None:
            return
        for _ in range(most):
            node = self._next[head]
            if node == head:
                del self._head_by_block[block]
                self._free_node(head)
                return
            self._unlink(node)
            self._place(node, self._deadlines[node])

    def _replace(self, key: int, due_ms: int) -> None:
        """Let a key, if it is armed, come up at this time."""
        node = self._node_by_key.get(key)
        if node is not None:
            self._unlink(node)
            self._place(node, due_ms)

    def _place(self, node: int, due_ms: int) -> None:
        """Let a node that is in no chain come up at this time."""
        tick = due_ms // self._tick_ms
        if tick <= self._hand:
            heappush(self._due, (due_ms, self._keys[node]))
            self._next[node] = self._previous[node] = node
            return
        block = tick >> _BLOCK_BITS
        if block - (self._hand >> _BLOCK_BITS) < 2:
            head = tick % _RING
            self._marks[head] = 1
        else:
            head = self._head_by_block.get(block) or self._new_block(block)
        last = self._previous[head]
        self._next[node], self._previous[node] = head, last
        self._next[last] = self._previous[head] = node

    def _unlink(self, node: int) -> None:
        """Take a node out of its chain; one that is in none points at itself."""
        after, before = self._next[node], self._previous[node]
        self._next[before], self._previous[after] = after, before

    def _new_block(self, block: int) -> int:
        head = self._head_by_block[block] = self._new_node(0, 0)
        self._next[head] = self._previous[head] = head
        return head

    def _new_node(self, key: int, deadline_ms: int) -> int:
        if not self._free:
            self._grow()
        node = self._free
        self._keys[node], self._deadlines[node] = key, deadline_ms
        self._free = self._next[node]
        return node

    def _free_node(self, node: int) -> None:
        self._next[node], self._free = self._free, node

    def _grow(self) -> None:
        first = len(self._next)
        self._next.extend((*range(first + 1, first + _GROWTH), 0))
        self._previous.extend(range(_GROWTH))
        self._keys.extend(range(_GROWTH))
        self._deadlines.extend(range(_GROWTH))
        self._free = first
