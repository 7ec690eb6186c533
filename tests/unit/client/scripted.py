"""A gateway that follows a script: for each connection one coroutine that says what is heard and what is said."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from msgspec import Struct
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

LIMITS = {
    "messageBytes": 1048576, "responseBytes": 8388608, "batchItems": 50, "requestsInFlight": 64, "subscriptions": 256,
    "nestingDepth": 64, "contentCharacters": 100000, "metadataBytes": 10240, "queuedTurns": 20,
    "outputBytes": 1048576, "outboxBytes": 8388608,
}  # fmt: skip
HELLO = {
    "server": {"name": "scripted", "version": "1", "instance": "i"}, "protocol": "1.0", "connection": "c1",
    "principal": {"user": "local", "tenant": "default", "roles": ["admin"], "scopes": ["admin"]},
    "limits": LIMITS, "now": "2026-11-20T09:30:00.123Z",
}  # fmt: skip
SESSION = {
    "key": "k", "agent": "echo", "agentName": "Echo", "provider": "echo", "model": "echo", "user": "local",
    "tenant": "default", "channel": "api", "source": "manual", "state": "live", "pinned": False, "labels": {},
    "queued": 0, "messageCount": 0, "inputTokens": 0, "outputTokens": 0, "cacheReadTokens": 0, "cacheWriteTokens": 0,
    "toolCalls": 0, "compactions": 0, "resets": 0, "renewalCount": 0, "createdAt": "2026-11-20T09:30:00.123Z",
    "lastActivityAt": "2026-11-20T09:30:00.123Z", "isNearExpiration": False, "revision": 1, "head": 1,
}  # fmt: skip
SESSION_STATUS = {"renewalCount": 0, "wasRenewed": False, "isNearExpiration": False}
HEALTH = {
    "status": "ok", "uptimeMs": 1, "sessions": {"live": 0, "idle": 0, "paused": 0, "ended": 0}, "expiringSoon": 0,
    "turnsRunning": 0, "connections": 1, "peakConnections": 1,
}  # fmt: skip


class Heard(Struct):
    """A call, or a notification without id."""

    method: str
    params: dict[str, Any]
    id: int | None = None


class Line:
    """One connection, from the gateway's side."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket

    async def hear(self, method: str) -> Heard:
        """The next message, which must be a call of this method."""
        try:
            heard = msgspec.json.decode(await self.socket.recv(), type=Heard)
        except ConnectionClosed as closed:
            raise AssertionError(f"the client left instead of calling {method}") from closed
        assert heard.method == method, heard
        return heard

    async def answer(self, heard: Heard, result: Any) -> None:
        await self.say({"id": heard.id, "result": result})

    async def refuse(self, heard: Heard, number: int, code: str, **data: Any) -> None:
        error = {"code": number, "message": "…", "data": {"code": code, "retryable": False} | data}
        await self.say({"id": heard.id, "error": error})

    async def tell(self, method: str, **params: Any) -> None:
        await self.say({"method": method, "params": params})

    async def say(self, message: dict[str, Any]) -> None:
        await self.socket.send(msgspec.json.encode({"jsonrpc": "2.0"} | message).decode())

    async def greet(self) -> Heard:
        hello = await self.hear("gateway.hello")
        await self.answer(hello, HELLO)
        return hello

    async def subscribed(self, *, id: str = "s1", head: int = 1, **members: Any) -> Heard:
        """Answer a subscribe."""
        heard = await self.hear("session.subscribe")
        replay = {"from": head + 1, "to": head, "complete": True}
        result = {"subscription": id, "epoch": "e1", "head": head, "session": SESSION, "replay": replay}
        await self.answer(heard, result | members)
        return heard

    async def event(self, seq: int, type: str, *, id: str = "s1", **fields: Any) -> None:
        event = {"seq": seq, "at": "2026-11-20T09:30:00.123Z", "type": type} | fields
        await self.tell("session.event", subscription=id, key="k", epoch="e1", prev=seq - 1, event=event)

    async def delta(self, offset: int, text: str, *, id: str = "s1", turn: str = "t1", kind: str = "text") -> None:
        delta = {"turn": turn, "kind": kind, "offset": offset, "text": text}
        await self.tell("session.delta", subscription=id, key="k", delta=delta)

    async def closed(self, reason: str, *, id: str = "s1", resumable: bool = False) -> None:
        await self.tell("subscription.closed", subscription=id, reason=reason, lastSeq=1, resumable=resumable)

    async def left(self) -> None:
        """Answer the unsubscribe and wait for the client to close."""
        await self.answer(await self.hear("session.unsubscribe"), {"closed": True})
        await self.gone()

    async def gone(self) -> None:
        await self.socket.wait_closed()


Script = Callable[[Line], Awaitable[None]]


@asynccontextmanager
async def scripted(*scripts: Script, within_s: float = 20) -> AsyncIterator[str]:
    """A gateway whose connections follow these scripts in turn; gives its URL.

    What a script expects and does not get fails the test, and so does a
    connection more or less than there are scripts.
    """
    waiting, failures = list(scripts), list[BaseException]()

    async def handle(socket: ServerConnection) -> None:
        try:
            await waiting.pop(0)(Line(socket))
        except ConnectionClosed:  # the client left while it was told something
            pass
        except Exception as failure:
            failures.append(failure)

    async with asyncio.timeout(within_s), serve(handle, "127.0.0.1", 0, compression=None, close_timeout=1) as server:
        try:
            yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/rpc"
        finally:
            if failures:
                raise failures[0]
    if failures:
        raise failures[0]
    assert not waiting, "fewer connections than scripts"
