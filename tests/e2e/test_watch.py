"""Watching lists over sockets: order, races, slow readers, and tables that stay what a fresh list says."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.app import Gateway
from tests.e2e.inside import client_of, gateway_of, settings_of
from tests.fakes import FakeClock
from tests.raw import Json, RawClient

KEYS = [f"k{n}" for n in range(12)]


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    """No test waits for ever."""
    async with asyncio.timeout(60):
        yield


def changes(client: RawClient, subscription: str) -> list[Json]:
    return [m["params"] for m in client._on(subscription) if m["method"] == "session.changed"]


def patched(rows: list[Json], told: list[Json]) -> dict[str, Json]:
    """The table of a client that does as the changes say, and minds that nothing goes back."""
    table = {row["key"]: row for row in rows}
    for change in told:
        if (row := change.get("session")) is None:
            table.pop(change["key"], None)
            continue
        known = table.get(change["key"])
        assert change["change"] == "entered" or known is None or row["head"] >= known["head"], (known, change)
        assert change["revision"] == row["revision"]
        table[change["key"]] = row
    return {key: row | {"timeRemainingMs": 0} for key, row in table.items()}


async def fresh(client: RawClient, **params: Any) -> dict[str, Json]:
    """The whole list, page by page."""
    rows, cursor = list[Json](), {}
    while True:
        page = await client.call("session.list", **params | {"limit": 7}, **cursor)
        rows += page["sessions"]
        if "nextCursor" not in page:
            assert page["total"] == len(rows)
            return patched(rows, [])
        cursor = {"cursor": page["nextCursor"]}


class Caller:
    """A client that does this and that, side by side with others."""

    def __init__(self, client: RawClient, clock: FakeClock, chance: random.Random) -> None:
        self.client, self.clock, self.chance = client, clock, chance

    async def act(self, count: int) -> None:
        asked = set()
        for n in range(count):
            method, params = self.anything(n)
            self.clock.advance(ms=self.chance.randrange(3))
            asked.add(await self.client.ask(method, **params))
            if self.chance.random() < 0.3:
                await asyncio.sleep(0)
            while len(asked) > 4:
                await self.hear(asked)
        while asked:
            await self.hear(asked)

    async def hear(self, asked: set[int]) -> None:
        answer = await self.client.hear_until(lambda message: message.get("id") in asked)
        asked.discard(answer["id"])
        known = {"session_not_found", "session_deleted", "session_exists", "queue_full", "turn_running"}
        closed = {"session_paused", "session_pinned", "session_archived", "session_ended"}
        assert "result" in answer or answer["error"]["data"]["code"] in known | closed, answer

    def anything(self, n: int) -> tuple[str, Json]:
        chance = self.chance
        key = {"key": chance.choice(KEYS)}
        someone = {"agent": "echo", "user": chance.choice(["ann", "bob", "local"]), "pinned": chance.random() < 0.2}
        someone |= {"channel": chance.choice(["web", "api"]), "source": chance.choice(["manual", "manual", "trigger"])}
        return chance.choice(
            [
                *[("session.create", key | someone | {"labels": {"team": chance.choice(["red", "blue"])}})] * 5,
                *[("session.send", key | {"content": f"message {n}"})] * 2,
                ("session.send", key | {"content": "weather", "create": {"agent": "echo"}}),
                ("session.update", key | {"title": chance.choice(["Weather", "x", None])}),
                ("session.update", key | {"pinned": chance.random() < 0.5}),
                ("session.update", key | {"labels": {"team": chance.choice(["red", "blue"])}}),
                ("session.stop", key),
                ("session.reset", key),
                ("session.pause", key),
                ("session.resume", key),
                ("session.heartbeat", key),
                ("session.renew", key),
                *[("session.archive", key)] * 2,
                ("session.restore", key),
                ("session.end", key),
                ("session.fork", key),
                ("session.update", key | {"policy": {"timeoutMinutes": chance.choice([10, None])}}),
                *[("session.delete", key)] * 3,
            ]
        )


VIEWS: list[Json] = [
    {},
    {"includeEmpty": True},
    {"view": "all"},
    {"view": "archived"},
    {"view": "scheduled"},
    {"filter": {"user": "ann"}},
    {"filter": {"label": {"team": "red"}}, "includeEmpty": True},
    {"filter": {"pinned": True}},
    {"filter": {"state": ["live", "ended"]}},
    {"filter": {"channel": ["web"], "source": "manual"}},
    {"search": "weather"},
    {"search": "k1", "sort": {"by": "title", "direction": "asc"}, "limit": 200},
]


class Watcher:
    """A client with several watches."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.watches: list[tuple[Json, Json]] = []

    async def begin(self, views: list[Json]) -> None:
        for view in views:
            self.watches.append((view, await self.client.call("session.watch", **{"limit": 200} | view)))
            await asyncio.sleep(0.002)

    async def check(self) -> None:
        """All that was told has arrived once a call made now is answered."""
        await self.client.call("gateway.hello")
        for view, answer in self.watches:
            assert answer["total"] == len(answer["sessions"])
            table = patched(answer["sessions"], changes(self.client, answer["subscription"]))
            assert table == await fresh(self.client, **view), view


async def settle(gateway: Gateway, client: RawClient) -> None:
    """Until no turn runs or waits and everything is told."""
    while any(row["queued"] or "turn" in row for row in (await fresh(client, view="all")).values()):
        await asyncio.sleep(0)
    await gateway.services.watching.settled()


@pytest.mark.parametrize("seed", range(8))
async def test_a_patched_table_is_a_fresh_list(tmp_path: Path, seed: int) -> None:
    """Three clients call, four watch all kinds of lists, from the beginning and from in between."""
    clock, chance = FakeClock(), random.Random(seed)
    async with (
        gateway_of(tmp_path, clock=clock) as gateway,
        client_of(gateway) as a, client_of(gateway) as b, client_of(gateway) as c,
        client_of(gateway) as d, client_of(gateway) as e, client_of(gateway) as f,
    ):  # fmt: skip
        callers = [Caller(client, clock, random.Random(f"{seed} {n}")) for n, client in enumerate((a, b, c))]
        watchers = [Watcher(client) for client in (d, e, f)]
        await watchers[0].begin(VIEWS)
        await asyncio.gather(
            *(caller.act(60) for caller in callers),
            *(watcher.begin(chance.sample(VIEWS, len(VIEWS))) for watcher in watchers[1:]),
        )
        await settle(gateway, a)
        for watcher in watchers:
            await watcher.check()


async def test_the_answer_comes_first(still: RawClient) -> None:
    """Of watch, of create and of send on the connection that watches, and of a send that makes its session."""
    made = await still.call("session.watch", includeEmpty=True)
    for method, params in (
        ("session.create", {"key": "a", "agent": "echo"}),
        ("session.send", {"key": "a", "content": "hi"}),
        ("session.send", {"key": "b", "content": "hi", "create": {"agent": "echo"}}),
    ):
        before = len(changes(still, made["subscription"]))
        id = await still.ask(method, **params)
        while (heard := await still.hear()).get("id") != id:
            assert heard["params"]["key"] != params["key"], heard
        while not any(m["key"] == params["key"] for m in changes(still, made["subscription"])[before:]):
            await still.hear()


async def test_a_slow_reader(tmp_path: Path) -> None:
    """Gets the last of each session, not all that came before, is not given up, and ends with the right table."""
    labels = {f"l{n}": "b" * 250 for n in range(60)}
    async with gateway_of(tmp_path) as gateway, client_of(gateway) as slow, client_of(gateway) as busy:
        for n in range(20):
            await busy.call("session.create", key=f"k{n}", agent="echo", pinned=True, labels=labels)
        answer = await slow.call("session.watch", limit=200)
        (watch,) = [s for p in gateway.listener._connections for s in p.subscriptions.values()]
        slow.socket.transport.pause_reading()
        for n in range(500):
            await busy.call("session.update", key=f"k{n % 20}", title=f"title {n}")
        assert watch.sink.is_behind
        assert watch.sink._bytes < 128 * 1024  # type: ignore[attr-defined]
        assert len(watch._pending) <= 20  # type: ignore[attr-defined]
        slow.socket.transport.resume_reading()
        await settle(gateway, busy)
        await slow.call("gateway.hello")
        while watch._pending:  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        await slow.call("gateway.hello")
        told = changes(slow, answer["subscription"])
        assert len(told) < 480
        assert patched(answer["sessions"], told) == await fresh(busy)


async def test_an_answer_that_is_too_big_leaves_no_watch(tmp_path: Path) -> None:
    """The client never learns its name, so there is none."""
    async with gateway_of(tmp_path, limits_max_response_bytes=65536) as gateway, client_of(gateway) as client:
        for n in range(20):
            labels = {f"l{m}": "ü" * 250 for m in range(10)}
            await client.call("session.create", key=f"k{n}", agent="echo", pinned=True, labels=labels)
        error = await client.fail("session.watch", limit=200)
        assert error["data"]["code"] == "response_too_big"
        assert not gateway.services.watching._views
        await client.call("session.watch", limit=5)
        await client.call("session.create", key="one-more", agent="echo")


async def test_a_cancelled_watch_and_a_connection_that_goes(tmp_path: Path) -> None:
    """Leave nothing behind."""
    async with gateway_of(tmp_path) as gateway:
        async with client_of(gateway) as client:
            id = await client.ask("session.watch")
            await client.say({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": id}})
            await client.answer(id)
            await client.call("session.watch")
            assert gateway.services.watching._views
        while gateway.listener.count:
            await asyncio.sleep(0.001)
        assert not gateway.services.watching._views
        assert not gateway.services.watching._by_audience


async def test_a_reload_ends_watches_that_ask_for_something_else_now(tmp_path: Path) -> None:
    """The name of an agent is searched: watch anew; other watches go on."""
    async with gateway_of(tmp_path) as gateway, client_of(gateway) as client:
        plain = await client.call("session.watch")
        by_name = await client.call("session.watch", search="parrot")
        settings = settings_of(tmp_path)
        renamed = replace(settings, agents=[replace(agent, name="Parrot") for agent in settings.agents])
        await gateway.reload(renamed)
        closed = await client.hear()
        assert closed["params"] == {
            "subscription": by_name["subscription"],
            "reason": "lagged",
            "lastSeq": 0,
            "resumable": True,
        }
        await client.call("session.watch", search="parrot")
        await client.call("session.create", agent="echo", key="a")
        assert (await client.hear_until(lambda m: "change" in m.get("params", {})))["params"]["key"] == "a"
        assert plain["subscription"] != by_name["subscription"]
