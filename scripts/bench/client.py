"""A WebSocket client that costs next to nothing, so that the load is not what is measured.

It masks with zeros, takes whole unfragmented messages, answers pings, and that
is all. Not for anything but loopback.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, cast

import msgspec

from .servers import Server

_TEXT, _CLOSE, _PING, _PONG = 0x81, 0x88, 0x89, 0x8A
_NO_MASK = bytes(4)


class Answer(msgspec.Struct):
    """A message to a client; an answer where it has an id."""

    id: int = 0
    result: Any = None
    error: Any = None


class Client(asyncio.Protocol):
    """One connection. `on_text` gets every message; `texts` counts them."""

    def __init__(self) -> None:
        self.texts = 0
        self.on_text: Callable[[bytes], None] = self.take_answer
        self.is_open = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._last_id = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop has its own

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not self.is_open.done():
            self._finish_handshake()
        for kind, payload in self._frames():
            if kind == _TEXT:
                self.texts += 1
                self.on_text(payload)
            elif kind == _PING:
                self._transport.write(_frame(_PONG, payload))
            elif kind == _CLOSE:
                raise ConnectionError(f"closed by the server: {payload!r}")

    def open(self, host: str, path: str) -> None:
        """Ask for the upgrade."""
        headers = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        self._transport.write(f"GET /{path} HTTP/1.1\r\nHost: {host}\r\n{headers}{key}\r\n".encode())

    def write(self, frames: bytes) -> None:
        """Send what `text_frame` and `request_frame` made; several joined go in one packet."""
        self._transport.write(frames)

    async def call(self, method: str, **params: Any) -> Any:
        """The result of a call, while `on_text` is as it was."""
        self._last_id += 1
        self._waiting[self._last_id] = asyncio.get_running_loop().create_future()
        self.write(request_frame(self._last_id, method, params))
        return await self._waiting[self._last_id]

    def close(self) -> None:
        self._transport.abort()

    def take_answer(self, text: bytes) -> None:
        if not self._waiting:
            return
        answer = msgspec.json.decode(text, type=Answer)
        waiting = self._waiting.pop(answer.id, None)
        if waiting is None:
            return
        if answer.error is not None:
            waiting.set_exception(RuntimeError(answer.error))
        else:
            waiting.set_result(answer.result)

    def _finish_handshake(self) -> None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if found:
            assert b" 101 " in head.splitlines()[0], head
            self._buffer = rest
            self.is_open.set_result(None)

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        """Cut the whole frames off the buffer (RFC 6455 §5.2; a server does not mask)."""
        if not self.is_open.done():
            return
        buffer, at = self._buffer, 0
        while len(buffer) >= at + 2:
            start, length = at + 2, buffer[at + 1]
            if length >= 126:
                start += 2 if length == 126 else 8
                length = int.from_bytes(buffer[at + 2 : start], "big")
            if len(buffer) < start + length:
                break
            yield buffer[at], buffer[start : start + length]
            at = start + length
        self._buffer = buffer[at:]


async def connect(server: Server) -> Client:
    """A connection that is open."""
    _, client = await asyncio.get_running_loop().create_connection(Client, server.host, server.port)
    client.open(f"{server.host}:{server.port}", server.url.split("/", 3)[3])
    await client.is_open
    return client


def text_frame(text: str) -> bytes:
    """A text message."""
    return _frame(_TEXT, text.encode())


def request_frame(id: int, method: str, params: Any) -> bytes:
    """A JSON-RPC request."""
    return _frame(_TEXT, msgspec.json.encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))


def _frame(kind: int, payload: bytes) -> bytes:
    length = len(payload)
    size = bytes([0x80 | length]) if length < 126 else bytes([0x80 | 126]) + length.to_bytes(2, "big")
    return bytes([kind]) + size + _NO_MASK + payload
