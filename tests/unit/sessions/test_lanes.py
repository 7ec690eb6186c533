"""One lane a session: in turn, bounded in number, usable after any failure."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from gateway.hub.hub import Topic
from gateway.sessions import state as states
from gateway.sessions.lanes import Lanes
from gateway.storage.base import Commit, StoredSession
from rpc_schema.errors import StoreUnavailable
from tests.contract.stores import row
from tests.fakes import MemoryStore
from tests.unit.sessions.logs import born

CROWD = 500


class CountingStore(MemoryStore):
    """Knows how often each session was read."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []

    async def load(self, tenant: str, key: str) -> StoredSession | None:
        self.loads.append(key)
        return await super().load(tenant, key)


@pytest.fixture
async def store() -> AsyncIterator[CountingStore]:
    """With the sessions k1 … k9."""
    made = CountingStore()
    for id in range(1, 10):
        await made.commit(Commit(session=id, row=row(id, state=states.encode(born(id=id, key=f"k{id}")))))
    async with asyncio.timeout(10):
        yield made


def topic(id: int) -> Topic:
    return "default", f"k{id}"


async def visit(lanes: Lanes, id: int) -> int | None:
    """Which session is found there."""
    async with lanes.enter(topic(id)) as lane:
        return lane.state and lane.state.id


async def test_what_is_in_the_store(store: CountingStore) -> None:
    """Is read once and then remembered; a session that is not there is looked for each time."""
    lanes = Lanes(store)
    assert [await visit(lanes, id) for id in (1, 2, 1, 77, 1, 77)] == [1, 2, 1, None, 1, None]
    assert store.loads == ["k1", "k2", "k77", "k77"]


async def test_a_free_key(store: CountingStore) -> None:
    """Nobody has it, or nobody has it any more."""
    lanes = Lanes(store)
    found = []
    for id in (1, 77):
        async with lanes.enter(topic(id)) as lane:
            found.append(lane.is_free)
    async with lanes.enter(topic(2)) as lane:
        lane.state = replace(lane.session, deleted_at=1)
        found.append(lane.is_free)
    assert found == [False, True, True]


@pytest.mark.parametrize("seed", range(5))
async def test_first_come_first_served(store: CountingStore, seed: int) -> None:
    """500 callers, many of which give up before, while or after they wait: alone inside, in the order they came."""
    lanes, chance = Lanes(store), random.Random(seed)
    inside, order = 0, list[int]()

    async def call(number: int) -> None:
        nonlocal inside
        async with lanes.enter(topic(1)):
            inside += 1
            assert inside == 1
            order.append(number)
            try:
                for _ in range(chance.randrange(3)):
                    await asyncio.sleep(0)
            finally:
                inside -= 1

    tasks: list[asyncio.Task[None]] = []
    for number in range(CROWD):
        tasks.append(asyncio.create_task(call(number)))
        if chance.random() < 0.3:
            chance.choice(tasks).cancel()
        if chance.random() < 0.2:
            await asyncio.sleep(0)
    while not all(task.done() for task in tasks):
        chance.choice(tasks).cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == sorted(order)
    assert len(order) > CROWD // 10
    assert {number for number, task in enumerate(tasks) if not task.cancelled()} <= set(order)
    assert await visit(lanes, 1) == 1


async def test_sessions_do_not_wait_for_each_other(store: CountingStore) -> None:
    """Only callers of the same one do."""
    lanes = Lanes(store)
    async with lanes.enter(topic(1)):
        assert await visit(lanes, 2) == 2
        waiting = asyncio.create_task(visit(lanes, 1))
        assert await visit(lanes, 3) == 3
        assert not waiting.done()
    assert await waiting == 1


async def test_a_bounded_number_is_remembered(store: CountingStore) -> None:
    """The one that rested longest is forgotten first, and read again when it is wanted."""
    lanes = Lanes(store, remembered=3)
    for id in (1, 2, 3, 1, 4):
        await visit(lanes, id)
    store.loads.clear()
    for id in (1, 3, 4):
        await visit(lanes, id)
    assert store.loads == []
    await visit(lanes, 2)
    assert store.loads == ["k2"]


async def test_pinned_lanes_stay(store: CountingStore) -> None:
    """However many others come; unpinned as often as pinned they may go."""
    lanes = Lanes(store, remembered=1)
    async with lanes.enter(topic(1)) as lane:
        lanes.pin(lane)
        lanes.pin(lane)
    lanes.unpin(lane)
    for id in range(2, 10):
        await visit(lanes, id)
    async with lanes.enter(topic(1)) as again:
        assert again is lane
    lanes.unpin(lane)
    await visit(lanes, 2)
    async with lanes.enter(topic(1)) as new:
        assert new is not lane


async def test_lanes_in_use_stay(store: CountingStore) -> None:
    """A bound on what is remembered is none on what is used."""
    lanes = Lanes(store, remembered=1)
    async with lanes.enter(topic(1)) as lane, lanes.enter(topic(2)), lanes.enter(topic(3)):
        for id in (4, 5, 6):
            await visit(lanes, id)
        waiting = asyncio.create_task(visit(lanes, 1))
        await asyncio.sleep(0)
        assert lane.state is not None
    assert await waiting == 1
    assert store.loads.count("k1") == 1


async def test_a_store_that_fails(store: CountingStore) -> None:
    """Each caller of that moment is told; the lane is there for the next."""
    lanes = Lanes(store)
    with store.failing():
        results = await asyncio.gather(*(visit(lanes, 1) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable] * 3
    assert await visit(lanes, 1) == 1


async def test_a_caller_that_gives_up_while_it_loads(store: CountingStore) -> None:
    """The next one loads."""
    lanes = Lanes(store)
    first, second = asyncio.create_task(visit(lanes, 1)), asyncio.create_task(visit(lanes, 1))
    while not store.loads:
        await asyncio.sleep(0)
    first.cancel()
    assert await second == 1
    assert first.cancelled()
    assert store.loads == ["k1", "k1"]


@pytest.mark.parametrize("give_up", ["waiting", "loading"])
async def test_callers_that_gave_up_are_not_remembered(store: CountingStore, give_up: str) -> None:
    """A lane that some of them wanted is forgotten like any other."""
    lanes = Lanes(store, remembered=1)
    async with lanes.enter(topic(1 if give_up == "waiting" else 2)):
        tasks = [asyncio.create_task(visit(lanes, 1)) for _ in range(3)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for id in (1, 3, 4):
        await visit(lanes, id)
    store.loads.clear()
    await visit(lanes, 1)
    assert store.loads == ["k1"]


async def test_what_a_caller_raises(store: CountingStore) -> None:
    """Comes out, and frees the lane."""
    lanes = Lanes(store)
    with pytest.raises(ZeroDivisionError):
        async with lanes.enter(topic(1)):
            raise ZeroDivisionError
    assert await visit(lanes, 1) == 1


async def test_a_session_made_inside(store: CountingStore) -> None:
    """Is there for who comes next, without another look at the store."""
    lanes = Lanes(store)
    async with lanes.enter(topic(50)) as lane:
        assert lane.state is None
        lane.state = born(id=50, key="k50")
    assert await visit(lanes, 50) == 50
    assert store.loads == ["k50"]
