"""A watched list: patched by what it is told, it is the list as it would be read anew."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.hub.hub import Topic
from gateway.sessions.directory import Visibility
from gateway.sessions.watches import Watch
from rpc_schema.directory import Filter, ListParams
from tests.unit.sessions.watchhouse import ADMIN, Client, House, Row


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    """No test waits for ever."""
    async with asyncio.timeout(30):
        yield


async def settle(house: House, *clients: Client) -> None:
    """Until everything that was committed is in the tables."""
    for client in clients:
        client.take()
    await house.watching.settled()
    while any(client.tasks for client in clients):
        await asyncio.sleep(0)


class Watcher:
    """A client with one watch, begun whenever it is."""

    def __init__(self, house: House) -> None:
        self.house, self.seen, self.params = house, house.seen(), house.view()
        self.client = Client(self.seen.tenant or "*")
        self.watch: Watch

    async def begin(self) -> None:
        await self.house.store.pause()
        self.watch = await self.house.watch(self.client, self.seen, **self.params)

    async def check(self) -> None:
        fresh = await self.house.list(ListParams(limit=200, **self.params), self.seen)
        assert without_time(self.client.table) == without_time(fresh), (self.seen, self.params, self.client.changes)
        if self.seen.user is not None:
            for tenant, key in self.client.table:
                assert self.seen.tenant in (None, tenant), key


def without_time(table: dict[Topic, Row]) -> dict[Topic, Row]:
    """All but what goes by with every moment."""
    return {key: row | {"timeRemainingMs": 0} for key, row in table.items()}


@pytest.mark.parametrize("seed", range(150))
async def test_a_patched_table_is_a_fresh_list(seed: int) -> None:
    """Random calls side by side, watches of all kinds that begin in the middle of them, some of whom are slow."""
    house = House(seed)
    watchers = [Watcher(house) for _ in range(6)]
    for _ in range(house.chance.randrange(20)):
        await house.anything()

    async def act() -> None:
        for _ in range(40):
            await house.anything()
            if house.chance.random() < 0.1:
                client = house.chance.choice(watchers).client
                client.is_behind = not client.is_behind
                if not client.is_behind:
                    client.take()
            await house.store.pause()

    await asyncio.gather(*(act() for _ in range(4)), *(watcher.begin() for watcher in watchers))
    await settle(house, *(watcher.client for watcher in watchers))
    for watcher in watchers:
        await watcher.check()
        house.hub.detach(watcher.watch)
    assert not house.watching._views
    assert not house.watching._by_audience


async def test_the_words() -> None:
    """Entered, updated, left, deleted; what was never in the list is not told when it goes."""
    house, client = House(), Client()
    await house.watch(client, filter=Filter(pinned=True), include_empty=True)
    await house.create("a", pinned=True)
    await house.change("a", lambda lane: house.update(lane, title="x"))
    await house.change("a", lambda lane: house.update(lane, pinned=False))
    await house.change("a", lambda lane: house.update(lane, title="y"))
    await house.change("a", lambda lane: house.update(lane, pinned=True))
    await house.change("a", house.delete)
    await house.create("b")
    await house.change("b", house.delete)
    words = ["entered", "updated", "left", "entered", "deleted"]
    assert client.changes == [(word, "a") for word in words]
    assert [m["params"]["revision"] for m in client.heard] == [1, 2, 3, 5, 5]


async def test_a_key_used_again() -> None:
    """The next session of a deleted key enters, with a log of its own."""
    house, client = House(), Client()
    await house.watch(client, include_empty=True)
    await house.create("a")
    await house.change("a", house.say)
    await house.change("a", house.delete)
    await house.create("a")
    assert client.changes == [("entered", "a"), ("updated", "a"), ("deleted", "a"), ("entered", "a")]
    assert client.table["default", "a"]["head"] == 1


async def test_others_sessions_are_never_heard_of() -> None:
    """Not by any word; the owner of an agent hears of its sessions, an admin of all of the tenant."""
    house = House()
    ann, bob, admin, everywhere = Client(), Client(), Client(), Client("*")
    for client, seen in (
        (ann, Visibility("default", "ann")),
        (bob, Visibility("default", "bob")),
        (admin, ADMIN),
        (everywhere, Visibility(None, None)),
    ):
        await house.watch(client, seen)
    await house.create("of ann", user="ann")
    await house.create("with the coder", user="ann", agent="coder", pinned=True)
    await house.create("elsewhere", "other", user="ann")
    for key, tenant in (("of ann", "default"), ("with the coder", "default"), ("elsewhere", "other")):
        await house.change(key, house.say, tenant)
        await settle(house)
        await house.change(key, house.delete, tenant)
    await settle(house, ann, bob, admin, everywhere)
    assert {key for _, key in bob.changes} == {"with the coder"}
    assert {key for _, key in ann.changes} == {key for _, key in admin.changes} == {"of ann", "with the coder"}
    assert {key for _, key in everywhere.changes} == {"of ann", "with the coder", "elsewhere"}
    deleted = [m["params"] for m in everywhere.heard if m["params"]["change"] == "deleted"]
    assert {params["key"]: params["tenant"] for params in deleted}["elsewhere"] == "other"
    assert not [m for m in ann.heard if "tenant" in m["params"]]


@pytest.mark.parametrize("how", ["say", "delete", "archive"])
async def test_the_empty_session_before_the_newest(how: str) -> None:
    """Is displaced by a newer one and comes back when that is no longer empty or no longer there."""
    house, client = House(), Client()
    await house.create("old")
    await house.watch(client)
    await house.create("new")
    await settle(house, client)
    assert set(client.table) == {("default", "new")}
    await house.change("new", getattr(house, how))
    await settle(house, client)
    assert ("default", "old") in client.table
    assert (("default", "new") in client.table) == (how == "say")
    word = {"say": "updated", "delete": "deleted", "archive": "left"}[how]
    assert sorted(client.changes) == sorted([("left", "old"), ("entered", "new"), ("entered", "old"), (word, "new")])


async def test_a_hidden_session_is_not_told() -> None:
    """Until it is pinned, and no longer once it is not."""
    house, client = House(), Client()
    await house.create("old")
    await house.create("new")
    await house.watch(client)
    await house.change("old", lambda lane: house.update(lane, title="x"))
    await settle(house, client)
    assert client.changes == []
    await house.change("old", lambda lane: house.update(lane, pinned=True))
    await settle(house, client)
    await house.change("old", lambda lane: house.update(lane, pinned=False))
    await settle(house, client)
    assert client.changes == [("entered", "old"), ("left", "old")]


async def test_touched() -> None:
    """Told anew to those who have it in their list, and to nobody else."""
    house, client, other = House(), Client(), Client()
    await house.create("a", project="p")
    await house.watch(client, filter=Filter(project="p"), include_empty=True)
    await house.watch(other, filter=Filter(project="q"), include_empty=True)
    async with house.lanes.enter(("default", "a")) as lane:
        house.roster.names["echo"] = "Echo II"
        house.watching.touched(lane.session)
    assert (client.changes, other.changes) == ([("updated", "a")], [])
    assert client.table["default", "a"]["agentName"] == "Echo II"


async def test_outdated() -> None:
    """Only the lists that ask for something else once an agent has another name or owner."""
    house, by_name, all_of_bob, all_of_ann = House(), Client(), Client(), Client()
    searching = await house.watch(by_name, search="coder")
    owning = await house.watch(all_of_bob, Visibility("default", "bob"))
    await house.watch(all_of_ann, Visibility("default", "ann"))
    assert house.watching.outdated() == []
    house.roster.names["coder"] = "Somebody"
    assert house.watching.outdated() == [searching]
    house.roster.owner["coder"] = "ann"
    assert searching in house.watching.outdated()
    assert owning in house.watching.outdated()
    house.hub.close(owning, "forbidden", resumable=False)
    closed = {"subscription": "s1", "reason": "forbidden", "lastSeq": 0, "resumable": False}
    assert all_of_bob.heard[-1]["params"] == closed


async def test_nobody_watches() -> None:
    """Nothing is read and nothing encoded; so for whom no watch may see, or when nothing is empty."""
    house, client = House(), Client()
    await house.create("a")
    await house.watch(client, Visibility("default", "carol"))
    await house.create("b", user="ann")
    await house.change("b", house.say)
    assert (house.store.reads, house.encoded) == (0, 0)
    await house.watch(Client(), include_empty=True, filter=Filter(agent="coder"))
    await house.change("b", house.say)
    assert (house.store.reads, house.encoded) == (0, 0)


async def test_encoded_once() -> None:
    """For any number of watches of any number of lists; the same list is asked about once, the same id shares bytes."""
    house = House()
    clients = [Client() for _ in range(20)]
    frames: list[bytes] = []
    for n, client in enumerate(clients):
        client.notify = lambda topic, frame: frames.append(frame)  # type: ignore[method-assign]
        await house.watch(client, include_empty=True, filter=Filter(agent=["echo", f"a{n % 2}"]))
    await house.create("a")
    assert len(house.watching._views) == 2
    assert (len(frames), len({id(frame) for frame in frames}), house.encoded) == (20, 1, 1)


async def test_a_store_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The empty sessions are told once it can be read again, and others meanwhile."""
    monkeypatch.setattr("gateway.sessions.empties.RETRY_S", 0)
    house, client = House(), Client()
    await house.watch(client)
    await house.create("busy", user="bob")
    await house.change("busy", house.say)
    await settle(house, client)
    client.heard.clear()
    empty = house.store.empty
    with monkeypatch.context() as patched:

        async def fail(*question: Any) -> Any:
            with house.store.failing():
                return await empty(*question)

        patched.setattr(house.store, "empty", fail)
        await house.create("a", user="ann")
        await house.change("busy", house.say)
        for _ in range(20):
            await asyncio.sleep(0)
        assert client.changes == [("updated", "busy")]
    await settle(house, client)
    assert client.changes == [("updated", "busy"), ("entered", "a")]


async def test_ended_while_its_list_is_read() -> None:
    """Nothing is told, then or later."""
    house, client = House(), Client()
    watch = house.attach(client, ListParams())
    await house.create("a")
    house.hub.detach(watch)
    watch.go_live()
    await house.create("b")
    await settle(house, client)
    assert client.heard == []
    assert not house.watching._views


async def test_a_broken_summary_is_one_users_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be said of one session keeps nobody else's from being told, and nobody waiting."""
    house, client = House(), Client()
    await house.watch(client)
    summary = house.summary
    house.watching._summary = lambda state: summary(replace(state, agent=state.key))
    await house.create("broken", user="ann")
    await house.create("echo", user="bob")
    await settle(house, client)
    assert client.changes == [("entered", "echo")]


async def test_displaced_by_one_that_the_watcher_may_not_see() -> None:
    """The owner of an agent hears that a session with it left, not of which displaced it."""
    house, bob = House(), Client()
    await house.create("with the coder", agent="coder")
    await house.watch(bob, Visibility("default", "bob"))
    await house.create("of ann alone")
    await settle(house, bob)
    assert bob.changes == [("left", "with the coder")]


async def test_a_key_used_again_by_another_while_the_first_is_still_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one's end comes before the second one's beginning."""
    house, admin = House(), Client()
    await house.watch(admin)
    await house.create("a", user="ann")
    await settle(house, admin)
    reading, read = asyncio.Event(), house.store.empty

    async def slowly(tenant: str, user: str, limit: int) -> Any:
        if user == "ann":
            await reading.wait()
        return await read(tenant, user, limit)

    monkeypatch.setattr(house.store, "empty", slowly)
    await house.change("a", house.delete)
    await house.create("a", user="bob", source="scheduled")
    assert admin.changes == [("entered", "a"), ("deleted", "a"), ("entered", "a")]
    reading.set()
    await settle(house, admin)
    assert admin.table["default", "a"]["user"] == "bob"
    assert len(admin.changes) == 3


async def test_a_user_who_makes_sessions_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which was shown before is found, however many more are there each time that the store is asked."""
    house, client = House(), Client()
    await house.create("old")
    await house.watch(client)
    read = house.store.empty

    async def among_more(tenant: str, user: str, limit: int) -> Any:
        for _ in range(20):
            await house.create(f"k{await house.store.next_session_id()}")
        return await read(tenant, user, limit)

    monkeypatch.setattr(house.store, "empty", among_more)
    await house.create("new")
    await settle(house, client)
    assert house.store.reads <= 4
    assert client.changes[0] == ("left", "old")
    assert len(client.table) == 1
    monkeypatch.undo()
    assert client.table.keys() == (await house.list(ListParams(limit=200))).keys()
