"""Timers that look after sessions: in order, at the same moment as whoever comes by, whatever the store does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.agents.roster import Roster
from gateway.clock import SteadyClock
from gateway.hub.hub import Hub
from gateway.sessions import expiry as timers
from gateway.sessions.drift import Drift
from gateway.sessions.expiry import Expiry
from gateway.sessions.journal import Follower, Journal
from gateway.sessions.lanes import Lane, Lanes
from gateway.sessions.retiming import Retiming
from gateway.sessions.rules import Rules
from gateway.sessions.state import SessionState, decode
from gateway.sessions.transcript import Transcript
from gateway.sessions.turns import Turns
from gateway.settings import AgentSettings, PolicySettings
from gateway.storage.base import EventRow
from rpc_schema.errors import InvalidTimeout, StoreUnavailable
from rpc_schema.types import PolicyPatch
from tests.fakes import BEGINNING_MS, FakeClock, MemoryStore
from tests.unit.sessions.logs import born, created

MINUTE_MS = 60_000


class House:
    """Sessions with timers; `lives` has the states that each session went through, `order` who changed."""

    def __init__(self, store: MemoryStore, wall: FakeClock, **settings: Any) -> None:
        self.store, self.wall, self.clock = store, wall, SteadyClock(wall)
        self.lives: dict[int, list[str]] = {}
        self.order: list[int] = []
        self.touched: list[SessionState] = []
        self.roster = roster = Roster()
        self.lanes, transcript = Lanes(store), Transcript(store)
        self.turns = Turns(
            lanes=self.lanes, transcript=transcript, hub=Hub(bytes), roster=roster, clock=self.clock, output_bytes=1024
        )
        self.rules = Rules(store, roster, PolicySettings(**settings))
        followers: list[Follower] = [self.turns, self]
        self.journal = Journal(store, self.clock, self.rules.policy_of, followers)
        self.turns.write_with(self.journal)
        self.expiry = Expiry(
            clock=self.clock, store=store, lanes=self.lanes, journal=self.journal, turns=self.turns, rules=self.rules,
            touched=self.touched.append,
        )  # fmt: skip
        followers.append(self.expiry)
        self.retiming = Retiming(
            store=store, lanes=self.lanes, journal=self.journal, rules=self.rules, roster=roster, clock=self.clock,
            touched=[self.expiry.arm],
        )  # fmt: skip
        self.drift = Drift(self.clock, store, self.lanes, self.journal)

    def committed(self, lane: Lane, before: SessionState | None, after: SessionState, rows: tuple[EventRow]) -> None:
        self.lives.setdefault(after.id, []).extend(row.type for row in rows)
        self.order.append(after.id)

    async def begin(self, id: int, **fields: Any) -> None:
        """Make a session."""
        async with self.lanes.enter(("default", f"k{id}")) as lane:
            now_ms = self.clock.now_ms()
            born_now = {"created_at": now_ms, "last_activity_at": now_ms}
            await self.journal.append(lane, created(), onto=born(id=id, key=f"k{id}", **born_now | fields))

    async def state(self, id: int) -> SessionState:
        """As it is stored."""
        stored = await self.store.load("default", f"k{id}")
        assert stored is not None
        return decode(stored.state, stored.details)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for the timers."""
        async with asyncio.timeout(5):
            while not is_so():
                await asyncio.sleep(0.005)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def wall() -> FakeClock:
    return FakeClock()


@asynccontextmanager
async def house_of(store: MemoryStore, wall: FakeClock, **settings: Any) -> AsyncIterator[House]:
    """Started as the gateway does it."""
    house = House(store, wall, **settings)
    await house.roster.replace([AgentSettings(id="echo", kind="echo")])
    await house.rules.load()
    await house.drift.make_good()
    await house.expiry.begin()
    tasks = [asyncio.create_task(work) for work in (house.expiry.run(), house.retiming.run(), house.drift.run())]
    try:
        yield house
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


END = ["session.state", "session.expiring", "session.state"]


async def test_a_life(store: MemoryStore, wall: FakeClock) -> None:
    """Idle, warned, ended, archived: by timers alone, each once, none before its time."""
    async with house_of(store, wall) as house:
        await house.begin(1)
        for minutes, happened in ((5, END[:1]), (20, END[:2]), (5, END), (30 * 24 * 60, [*END, "session.updated"])):
            wall.advance(minutes=minutes, ms=-1)
            await asyncio.sleep(0.06)
            assert house.lives[1][1:] == happened[:-1]
            wall.advance(ms=1)
            await house.until(lambda happened=happened: house.lives[1][1:] == happened)  # type: ignore[misc]
        assert (await house.state(1)).archived_at == BEGINNING_MS + (30 + 30 * 24 * 60) * MINUTE_MS


async def test_more_than_a_page(store: MemoryStore, wall: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fell due while the gateway was down comes in the order of the deadlines, none forgotten, page by page."""
    monkeypatch.setattr(timers, "PAGE", 7)
    monkeypatch.setattr(timers, "MOST", 20)
    before = House(store, wall)
    await before.expiry.begin()
    places = [(id * 37) % 100 for id in range(100)]
    for id, place in enumerate(places, 1):
        await before.begin(id, last_activity_at=BEGINNING_MS + place * 1000)
    wall.advance(minutes=60)
    async with house_of(store, wall) as house:
        await house.until(lambda: len(house.order) == 100)
        assert [places[id - 1] for id in house.order] == sorted(places)
        assert all(life == ["session.state"] for life in house.lives.values())


async def test_overdue_for_more_than_one_thing(store: MemoryStore, wall: FakeClock) -> None:
    """What is over is met in the order of the ends, also where all would have fallen idle at once."""
    before = House(store, wall)
    await before.expiry.begin()
    timeouts = [30, 10, 20, 15, 25]
    for id, minutes in enumerate(timeouts, 1):
        await before.begin(id, details=replace(born().details, policy={"timeout_minutes": float(minutes)}))
    wall.advance(minutes=60)
    async with house_of(store, wall) as house:
        await house.until(lambda: len(house.order) == len(timeouts))
        assert [timeouts[id - 1] for id in house.order] == sorted(timeouts)


async def test_beyond_the_horizon(store: MemoryStore, wall: FakeClock) -> None:
    """A deadline far away is not in memory, and comes all the same; so does one that moved in."""
    async with house_of(store, wall, timeout_minutes=600, idle_after_minutes=600, warning_threshold_minutes=0) as house:
        await house.begin(1)
        assert len(house.expiry._wheel) == 0
        wall.advance(minutes=590)
        await house.until(lambda: len(house.expiry._wheel) == 1)
        wall.advance(minutes=10)
        await house.until(lambda: house.lives[1][1:] == ["session.state"])


async def test_a_store_that_fails(store: MemoryStore, wall: FakeClock) -> None:
    """What is due meanwhile is written when the store takes it again."""
    async with house_of(store, wall) as house:
        await house.begin(1)
        with store.failing():
            wall.advance(minutes=30)
            await asyncio.sleep(0.15)
            assert house.lives[1] == ["session.created"]
            with pytest.raises(StoreUnavailable):
                async with house.lanes.enter(("default", "k1")) as lane:
                    await house.expiry.settle(lane)
        for _ in range(3):  # the fake clock turns by hand
            wall.advance(seconds=1)
            await asyncio.sleep(0.06)
        await house.until(lambda: house.lives[1] == ["session.created", "session.state"])


async def test_who_comes_by(store: MemoryStore, wall: FakeClock) -> None:
    """Whoever is in the lane finds what the timer would have done, to the millisecond, and the timer nothing more."""
    house = House(store, wall)  # its timers stand still
    await house.begin(1)
    async with house.lanes.enter(("default", "k1")) as lane:
        wall.advance(minutes=30, ms=-1)
        assert (await house.expiry.settle(lane)).lifecycle == "idle"
        wall.advance(ms=1)
        assert (await house.expiry.settle(lane)).lifecycle == "ended"
        assert (await house.expiry.settle(lane)).head == 4
    assert house.lives[1][1:] == END


@pytest.mark.parametrize("by_ms", [3_600_000, -3_600_000, 365 * 86_400_000, -365 * 86_400_000])
async def test_a_wall_clock_that_leaps(
    store: MemoryStore, wall: FakeClock, by_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends nothing and revives nothing, neither then nor after a restart; what was left is left."""
    monkeypatch.setattr("gateway.sessions.drift.LOOK_S", 0.01)
    async with house_of(store, wall) as house:
        await house.begin(1)
        await house.begin(2, last_activity_at=BEGINNING_MS - 29 * MINUTE_MS)
        await house.begin(3, lifecycle="paused", paused_at=BEGINNING_MS)
        wall.advance(minutes=1)
        await house.until(lambda: house.lives[2][1:] == ["session.state"])
        wall.set_wall(by_ms=by_ms)
        await house.until(lambda: "leap" in {name for _, name in store._notes})
        assert [(await house.state(id)).lifecycle for id in (1, 2, 3)] == ["live", "ended", "paused"]
    async with house_of(store, wall) as house:
        await asyncio.sleep(0.06)
        assert [(await house.state(id)).lifecycle for id in (1, 2, 3)] == ["live", "ended", "paused"]
        assert await store.notes("clock") == {}
        wall.advance(minutes=4)
        await house.until(lambda: "session.state" in house.lives[1])
        wall.advance(minutes=25, ms=-1)
        await house.until(lambda: "session.expiring" in house.lives[1])
        assert (await house.state(1)).lifecycle == "idle"
        wall.advance(ms=1)
        await house.until(lambda: house.lives[1][-1] == "session.state" and len(house.lives[1]) == 3)
        assert (await house.state(1)).end_reason == "idle_timeout"
        wall.advance(minutes=690, ms=-1)
        await asyncio.sleep(0.06)
        assert (await house.state(3)).lifecycle == "paused"
        wall.advance(ms=1)
        await house.until(lambda: "session.state" in house.lives[3])
        assert (await house.state(3)).end_reason == "max_duration"


async def test_what_only_looks_different(store: MemoryStore, wall: FakeClock) -> None:
    """Others hear when the end of a paused session comes in sight, though nothing is written."""
    async with house_of(store, wall) as house:
        await house.begin(1, lifecycle="paused", paused_at=BEGINNING_MS)
        wall.advance(minutes=690, ms=-1)
        await asyncio.sleep(0.06)
        assert house.touched == []
        wall.advance(ms=1)
        await house.until(lambda: [state.id for state in house.touched] == [1])
        wall.advance(minutes=25)
        await house.until(lambda: len(house.touched) == 2)
        assert house.lives[1] == ["session.created"]


async def test_another_policy(store: MemoryStore, wall: FakeClock) -> None:
    """Deadlines move in and out for sessions that live by it, in the wheel and in the store; a warning may be void."""
    async with house_of(store, wall) as house:
        await house.begin(1)
        await house.begin(2, details=replace(born().details, policy={"timeout_minutes": 30.0}))
        wall.advance(minutes=26)
        await house.until(lambda: all(life[-1] == "session.expiring" for life in house.lives.values()))
        await house.rules.set("echo", PolicyPatch(timeout_minutes=60.0))
        house.retiming.want()
        await house.until(lambda: house.lives[1][-1] == "session.renewed")
        assert house.lives[2][-1] == "session.expiring"
        await house.rules.set("echo", PolicyPatch(timeout_minutes=20.0))
        house.retiming.want()
        await house.until(lambda: house.lives[1][-1] == "session.state")
        assert (await house.state(1)).expired_at == BEGINNING_MS + 20 * MINUTE_MS
        assert (await house.state(2)).lifecycle == "idle"


async def test_a_policy_that_changed_while_nobody_ran(store: MemoryStore, wall: FakeClock) -> None:
    """The next start goes by it; what was set by hand is still set."""
    async with house_of(store, wall) as house:
        await house.begin(1)
        await house.rules.set("echo", PolicyPatch(auto_renew=False))
    async with house_of(store, wall, timeout_minutes=10) as house:
        wall.advance(minutes=10)
        await house.until(lambda: 1 in house.lives)
        assert (await house.state(1)).end_reason == "expired"


async def test_a_policy_out_of_range(store: MemoryStore, wall: FakeClock) -> None:
    """Is refused and changes nothing; so is one that cannot be kept."""
    house = House(store, wall)
    with pytest.raises(InvalidTimeout):
        await house.rules.set("echo", PolicyPatch(timeout_minutes=1.0))
    with store.failing(), pytest.raises(StoreUnavailable):
        await house.rules.set("echo", PolicyPatch(timeout_minutes=60.0))
    assert house.rules.of_agent("echo").policy.timeout_minutes == 30
