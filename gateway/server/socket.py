"""The WebSocket under a connection: what the library does not do by itself.

An oversized message is answered before it is closed; writing is told when the
socket is full; closing never waits for a peer that does not read.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.frames import CloseCode
from websockets.protocol import State

WRITE_BUFFER_BYTES = 64 * 1024
CLOSE_GRACE_S = 2.0
STALLED_GRACE_S = 30.0
"""A client that did not read may look again: then it shall learn why it was closed."""


class Socket(ServerConnection):
    """One client's WebSocket."""

    oversized_answer = b""
    """What a message over the limit is answered before the connection is closed."""

    on_writable: Callable[[bool], None] = staticmethod(lambda is_writable: None)
    on_lost: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._fail = self.protocol.fail
        self.protocol.fail = self._answer_and_fail  # type: ignore[method-assign]  # the library has no hook here

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what the kernel takes for a stalled client small: what it holds, nobody counts."""
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WRITE_BUFFER_BYTES)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone."""
        super().connection_lost(exc)
        self.on_lost()

    def send_data(self) -> None:
        """Once a Close has been sent or answered nothing may follow it (RFC 6455 §5.5.1)."""
        super().send_data()
        if self.protocol.state in (State.CLOSING, State.CLOSED):
            self.on_lost()

    def limit_messages(self, max_bytes: int, oversized_answer: bytes) -> None:
        """Take no larger messages from now on."""
        self.protocol.max_message_size = max_bytes
        self.oversized_answer = oversized_answer

    def pause_writing(self) -> None:
        """The socket is full."""
        super().pause_writing()
        self.on_writable(False)

    def resume_writing(self) -> None:
        """The socket takes more."""
        super().resume_writing()
        self.on_writable(True)

    def start_closing(self, code: int, reason: str, grace_s: float = CLOSE_GRACE_S) -> None:
        """Say goodbye after all that was written, and let go in `grace_s` whatever the peer does."""
        if self.protocol.state is State.OPEN:
            self.protocol.send_close(code, reason)
            self.send_data()
            self.loop.call_later(grace_s, self.abort)

    def abort(self) -> None:
        """Drop the connection now."""
        if self.protocol.state is not State.CLOSED:
            self.transport.abort()

    def _answer_and_fail(self, code: CloseCode | int, reason: str = "") -> None:
        if code == CloseCode.MESSAGE_TOO_BIG and self.protocol.state is State.OPEN:
            self.protocol.send_text(self.oversized_answer)
        self._fail(code, reason)
