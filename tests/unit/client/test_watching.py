"""Watching over any number of connections: what is given, what is kept, when it ends."""

from typing import Any

import pytest
from msgspec import convert

from gateway.client import ConnectionLost, GatewayUnreachable, Table, Watching, WatchLagged, mailbox, watch
from gateway.client.reconnecting import Backoff
from rpc_schema.notifications import ChangedParams, ClosedParams
from rpc_schema.subscriptions import WatchResult
from rpc_schema.types import Session
from tests.unit.client import scripted as line_of
from tests.unit.client.scripted import SESSION, Line, scripted


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Come back without waiting, to a gateway that says whom it takes us for."""
    me = {"user": "local", "tenant": "default", "roles": [], "scopes": []}
    monkeypatch.setattr(line_of, "HELLO", line_of.HELLO | {"principal": me})
    monkeypatch.setattr("gateway.client.reconnecting.Backoff", lambda: Backoff(first_s=0, most_s=0))


async def listed(line: Line, *keys: str) -> None:
    """Answer a watch."""
    heard = await line.hear("session.watch")
    rows = [SESSION | {"key": key} for key in keys]
    await line.answer(heard, {"sessions": rows, "total": len(keys), "subscription": "s1"})


async def changed(line: Line, change: str, key: str, **session: Any) -> None:
    row = {"session": SESSION | {"key": key} | session} if change in ("entered", "updated") else {}
    await line.tell("session.changed", subscription="s1", change=change, key=key, revision=1, **row)


def keys_of(watching: Watching) -> list[str]:
    return sorted(key for _, key in watching.table.sessions)


async def test_a_table_is_patched_and_begun_anew() -> None:
    """A dropped connection and a gateway that goes away are no end; `forbidden` is."""

    async def first(line: Line) -> None:
        await line.greet()
        await listed(line, "a", "b")
        await changed(line, "left", "a")
        await changed(line, "entered", "c")
        await changed(line, "updated", "b", title="B")
        line.socket.transport.write_eof()
        await line.socket.close(1001)

    async def second(line: Line) -> None:
        await line.greet()
        await listed(line, "b")
        await line.closed("shutdown", resumable=True)
        await line.left()

    async def third(line: Line) -> None:
        await line.greet()
        await listed(line)
        await changed(line, "entered", "d")
        await changed(line, "deleted", "x")
        await line.closed("forbidden")
        await line.left()

    async with scripted(first, second, third) as url:
        watching = watch(url=url)
        tables, kinds = [], []
        async for update in watching:
            tables.append(keys_of(watching))
            kinds.append(type(update))
    assert tables == [["a", "b"], ["b"], ["b", "c"], ["b", "c"], ["b"], [], ["d"], ["d"], ["d"]]
    assert kinds == [
        *(WatchResult, ChangedParams, ChangedParams, ChangedParams),
        *(WatchResult, WatchResult, ChangedParams, ChangedParams, ClosedParams),
    ]


async def test_the_first_connection_must_succeed() -> None:
    """A wrong address is an error at once."""
    with pytest.raises(GatewayUnreachable):
        await anext(aiter(watch(url="ws://127.0.0.1:1/rpc")))


async def test_a_code_that_another_try_cannot_help() -> None:
    """Ends it, after what had come."""

    async def script(line: Line) -> None:
        await line.greet()
        await listed(line, "a")
        await line.socket.close(4403)

    async with scripted(script) as url:
        updates = aiter(watch(url=url))
        assert isinstance(await anext(updates), WatchResult)
        with pytest.raises(ConnectionLost):
            await anext(updates)


async def test_a_consumer_that_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watches anew and has a whole table again."""
    monkeypatch.setattr(mailbox, "LAGGED_BYTES", 2000)

    async def first(line: Line) -> None:
        await line.greet()
        heard = await line.hear("session.watch")
        for n in range(9):
            await changed(line, "entered", f"k{n}")
        await line.answer(heard, {"sessions": [], "total": 0, "subscription": "s1"})
        await line.left()

    async def second(line: Line) -> None:
        await line.greet()
        await listed(line, "whole")
        await line.closed("forbidden")
        await line.left()

    async with scripted(first, second) as url:
        watching = watch(url=url)
        async for _ in watching:
            pass
    assert keys_of(watching) == ["whole"]
    assert WatchLagged().is_temporary


def test_sessions_of_several_tenants() -> None:
    """Are told apart by tenant and key; a change without a tenant is about one's own."""
    table = Table("mine")
    table.replace(convert(SESSION | {"tenant": tenant}, Session) for tenant in ("mine", "yours"))
    table.apply(ChangedParams(subscription="s1", change="left", key="k", revision=1))
    assert set(table.sessions) == {("yours", "k")}
    table.apply(ChangedParams(subscription="s1", change="deleted", key="k", tenant="yours", revision=1))
    table.apply(ChangedParams(subscription="s1", change="left", key="k", revision=1))
    assert table.sessions == {}
