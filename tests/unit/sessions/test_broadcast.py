"""From where a client is to live: no gap, no repeat, nothing of another log, nothing after the end."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from gateway.hub.hub import Hub, Subscription, Topic
from gateway.sessions import broadcast, lifecycle
from gateway.sessions.broadcast import Broadcast, Following
from gateway.sessions.journal import Journal
from gateway.sessions.lanes import Lane, Lanes
from gateway.sessions.policy import effective
from gateway.sessions.running import TurnRun
from gateway.sessions.transcript import Transcript
from gateway.settings import AgentPolicySettings, PolicySettings
from gateway.storage.base import EventPage, EventQuery
from rpc_schema.subscriptions import RunningTurn
from tests.fakes import FakeClock, MemoryStore
from tests.unit.sessions.logs import born, created, user
from tests.unit.sessions.stage import Stage

TOPIC = ("default", "k")


class SlowStore(MemoryStore):
    """Lets a test do something while a page is being read."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], Awaitable[None] | None] = lambda: None

    async def events(self, query: EventQuery) -> EventPage:
        page = await super().events(query)
        if (work := self.meanwhile()) is not None:
            await work
        return page


class House:
    """A session, its journal, and one client that comes to follow it."""

    def __init__(self) -> None:
        self.store, self.hub, self.turns = SlowStore(), Hub(lambda frame: frame), NoTurns()
        self.lanes = Lanes(self.store)
        policy = effective(PolicySettings(), AgentPolicySettings()).policy
        self.journal = Journal(self.store, FakeClock(), lambda state: policy, followers=(Broadcast(self.hub),))
        self.following = Following(self.hub, self.lanes, Transcript(self.store), self.turns)  # type: ignore[arg-type]
        self.heard: list[dict[str, object]] = []
        self.lane: Lane

    def notify(self, topic: Topic, frame: bytes) -> None:
        message = msgspec.json.decode(frame)
        self.heard.append({"method": message["method"], **message["params"]})

    async def drained(self) -> None:
        await asyncio.sleep(0)

    async def begin(self, messages: int) -> None:
        """A session with so many messages."""
        async with self.lanes.enter(TOPIC) as self.lane:
            self.lanes.pin(self.lane)
            await self.journal.append(self.lane, created(), onto=born())
        await self.say(messages)

    async def say(self, messages: int = 1) -> None:
        async with self.lanes.enter(TOPIC) as lane:
            await self.journal.append(lane, *(user(f"t{n}") for n in range(messages)))

    async def reset(self) -> None:
        async with self.lanes.enter(TOPIC) as lane:
            head = lane.session.head
            await self.journal.append(lane, lifecycle.clear(lane.session, "ann"), purge_to=head)

    async def delete(self) -> None:
        async with self.lanes.enter(TOPIC) as lane:
            await self.journal.delete(lane, None)

    async def begin_again(self) -> None:
        """The same key, another log."""
        async with self.lanes.enter(TOPIC) as lane:
            await self.journal.append(lane, created(), *(user("t") for _ in range(50)), onto=born(id=2, epoch="f"))

    def subscription(self, after: int, *, deltas: bool = True) -> Subscription:
        return Subscription("s1", TOPIC, "e", self, deltas=deltas, prev=after, ended=lambda: None)

    async def catch_up(self, after: int, snapshot: RunningTurn | None = None) -> Subscription:
        subscription = self.subscription(after)
        async with asyncio.timeout(5):
            await self.following.catch_up(subscription, 1, self.lane, snapshot)
        return subscription

    def check_chain(self, after: int) -> int:
        """Each event follows the one before; the last one's seq."""
        for params in (params for params in self.heard if params["method"] == "session.event"):
            event = params["event"]
            assert isinstance(event, dict)
            assert (params["prev"], params["epoch"]) == (after, "e")
            assert event["seq"] == after + 1 or event["type"] == "reset"
            after = event["seq"]
        return after


class NoTurns:
    """Nothing runs, unless it is put here."""

    def __init__(self) -> None:
        self.stage: Stage | None = None

    def run_of(self, topic: Topic) -> TurnRun | None:
        return self.stage.run if self.stage is not None else None


def once(work: Callable[[], Awaitable[None] | None]) -> Callable[[], Awaitable[None] | None]:
    """Only the first time."""
    due = [work]
    return lambda: due.pop()() if due else None


@pytest.mark.parametrize("after", [0, 1, 5, 11])
async def test_catching_up(after: int) -> None:
    """All after that seq, then whatever comes."""
    house = House()
    await house.begin(10)
    await house.catch_up(after)
    assert house.check_chain(after) == 11
    await house.say(3)
    assert house.check_chain(after) == 14
    assert len(house.heard) == 14 - after


@pytest.mark.parametrize("seed", range(20))
async def test_catching_up_with_a_session_that_goes_on(seed: int) -> None:
    """Whatever is written while pages are read, and whenever: one chain."""
    house, chance = House(), random.Random(seed)
    await house.begin(600)
    writers: list[asyncio.Task[None]] = []

    def write_now_and_then() -> "asyncio.Task[None] | None":
        if len(writers) > 6:
            return None
        work = house.reset() if chance.random() < 0.1 else house.say(chance.randrange(1, 900))
        writers.append(asyncio.create_task(work))
        return writers[-1] if chance.random() < 0.5 else None

    house.store.meanwhile = write_now_and_then
    after = chance.choice([0, 1, 300, 601])
    await house.catch_up(after)
    await asyncio.gather(*writers)
    await house.say()
    assert house.check_chain(after) == house.lane.session.head


async def test_unsubscribed_while_it_reads() -> None:
    """Nothing is sent after the goodbye, though a page was on its way."""
    house = House()
    await house.begin(10)
    subscription = house.subscription(0)
    house.store.meanwhile = once(lambda: house.hub.detach(subscription))
    await house.following.catch_up(subscription, 1, house.lane, None)
    await house.say()
    assert house.heard == []


async def test_deleted_while_it_reads() -> None:
    """The subscription is closed, with the last it was sent."""
    house = House()
    await house.begin(10)
    house.store.meanwhile = once(house.delete)
    subscription = await house.catch_up(0)
    last = house.check_chain(0)
    closed = {"method": "subscription.closed", "subscription": "s1", "reason": "deleted", "resumable": False}
    assert house.heard[-1] == closed | {"lastSeq": last}
    assert subscription.is_closed


async def test_deleted_and_begun_again_while_it_reads() -> None:
    """The new log is another's: the subscription ends with the old one."""
    house = House()
    await house.begin(10)

    async def anew() -> None:
        await house.delete()
        await house.begin_again()

    house.store.meanwhile = once(anew)
    subscription = await house.catch_up(0)
    last = house.check_chain(0)
    assert (house.heard[-1]["method"], house.heard[-1]["lastSeq"]) == ("subscription.closed", last)
    assert last <= 11
    assert subscription.is_closed
    await house.say()
    assert house.heard[-1]["method"] == "subscription.closed"


async def test_reset_while_it_reads() -> None:
    """The reset is in the chain, and what it took away is not asked for again."""
    house = House()
    await house.begin(1200)
    house.store.meanwhile = once(house.reset)
    await house.catch_up(0)
    assert house.check_chain(0) == 1202
    events = [params["event"] for params in house.heard]
    assert [event["type"] for event in events if isinstance(event, dict)].count("reset") == 1


async def test_a_store_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gets everything once the store can be read again."""
    monkeypatch.setattr(broadcast, "RETRY_S", 0)
    house = House()
    await house.begin(10)
    with house.store.failing():
        task = asyncio.create_task(house.catch_up(0))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not task.done()
    await task
    assert house.check_chain(0) == 11


def shown(turn: str, text: str, reasoning: str) -> RunningTurn:
    """What the answer said of a running turn."""
    return RunningTurn(id=turn, state="running", text=text, reasoning=reasoning, offset=len(text))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (None, [("reasoning", 0, "hm"), ("text", 0, "one 👋🏽 two")]),
        (shown("t1", "one 👋🏽", "h"), [("reasoning", 1, "m"), ("text", 6, " two")]),
        (shown("t1", "one 👋🏽 two", "hm"), []),
        (shown("t0", "another", ""), [("reasoning", 0, "hm"), ("text", 0, "one 👋🏽 two")]),
    ],
    ids=["nothing", "a part", "everything", "another turn"],
)
async def test_the_running_turn(known: RunningTurn | None, expected: list[tuple[str, int, str]]) -> None:
    """What it has said beyond what the answer said of it, after the events and before what comes live."""
    house, stage = House(), Stage()
    await house.begin(1)
    house.turns.stage = stage
    stage.run.reasoning("hm")
    stage.run.text("one 👋🏽")
    stage.run.text(" two")
    await house.catch_up(0, known)
    pieces = [params["delta"] for params in house.heard if params["method"] == "session.delta"]
    assert [(d["kind"], d["offset"], d["text"]) for d in pieces if isinstance(d, dict)] == expected
    assert [params["method"] for params in house.heard[:2]] == ["session.event"] * 2
