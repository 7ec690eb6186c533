"""A client below every library: bytes on a TCP connection, so that it can do what no good client does."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from websockets.frames import Frame, Opcode

from tests.raw import PATIENCE_S, RawClient

HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)
SMALL_WINDOW = 4096


class Answer(NamedTuple):
    """An HTTP response; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Bare:
    """One TCP connection to the gateway. What it does not ask for stays unread."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        self._reader, self._writer, self._port = reader, writer, port

    async def get(self, target: str, *headers: str, method: str = "GET", host: str | None = None) -> Answer:
        """The response to a request; `host` is the header's value, or "" for none."""
        host = f"localhost:{self._port}" if host is None else host
        lines = [f"{method} {target} HTTP/1.1", *([f"Host: {host}"] if host else []), *headers, "", ""]
        self.write("\r\n".join(lines).encode("latin-1"))
        return await self._answer()

    async def upgrade(self, *headers: str) -> Answer:
        """Open the WebSocket."""
        answer = await self.get("/rpc", *HANDSHAKE, *headers)
        assert answer.status == 101, answer
        return answer

    def say(self, method: str, *, id: Any = 1, **params: Any) -> None:
        """Send a request."""
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        self.send(Opcode.TEXT, json.dumps(message).encode())

    def send(self, opcode: Opcode, payload: bytes, *, is_last: bool = True) -> None:
        """Send a frame, which may be a fragment."""
        self.write(Frame(opcode, payload, fin=is_last).serialize(mask=True, extensions=[]))

    def write(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        self._writer.write(data)

    async def frame(self) -> tuple[Opcode, bytes]:
        """The next frame."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self._reader.readexactly(2)
            length = head[1] & 0x7F
            if length > 125:
                length = int.from_bytes(await self._reader.readexactly(2 if length == 126 else 8), "big")
            return Opcode(head[0] & 0x0F), await self._reader.readexactly(length)

    async def hear(self) -> Any:
        """The next message."""
        opcode, payload = await self.frame()
        assert opcode is Opcode.TEXT, (opcode, payload)
        return json.loads(payload)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection, which may be rude."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._reader.read()
        except ConnectionError:
            return b""

    async def _answer(self) -> Answer:
        async with asyncio.timeout(PATIENCE_S):
            first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()[:-1]
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            status = int(first.split()[1])
            return Answer(status, headers, b"" if status == 101 else await self._reader.read())


async def until_alone(client: RawClient) -> Any:
    """The gateway's health, once it has no connection but this client's."""
    async with asyncio.timeout(PATIENCE_S):
        while (health := await client.call("gateway.health"))["connections"] > 1:
            pass
    return health


@asynccontextmanager
async def bare(port: int, *, window: int | None = None) -> AsyncIterator[Bare]:
    """Connect. With a `window` little more than those bytes are taken before somebody reads."""
    opened = socket.socket()
    opened.setblocking(False)
    if window is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    await asyncio.get_running_loop().sock_connect(opened, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=opened, limit=window or 2**16)
    try:
        yield Bare(reader, writer, port)
    finally:
        writer.transport.abort()
