"""The single writer of a log: commit, fold, tell, in this order, whatever happens meanwhile."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from gateway.clock import instant
from gateway.sessions import lifecycle
from gateway.sessions import state as states
from gateway.sessions.journal import Change, Journal, row_of
from gateway.sessions.lanes import Lane, Lanes
from gateway.sessions.policy import effective
from gateway.sessions.state import SessionState
from gateway.settings import AgentPolicySettings, PolicySettings
from gateway.storage.base import Answer, EventQuery, EventRow
from rpc_schema.errors import StoreUnavailable
from tests.contract.stores import answer, ids_of, seqs_of
from tests.fakes import BEGINNING_MS, FakeClock, MemoryStore
from tests.unit.sessions.logs import assistant, born, created, fold, numbered, started, user

TOPIC = ("default", "k")
MINUTE_MS = 60_000


class Witness:
    """A follower that keeps what it was told, with what the store had by then."""

    def __init__(self) -> None:
        self.told: list[tuple[int | None, int, list[int]]] = []

    def committed(self, lane: Lane, before: SessionState | None, after: SessionState, rows: Sequence[EventRow]) -> None:
        assert lane.state is after
        self.told.append((before.head if before is not None else None, after.head, [row.seq for row in rows]))


class Room:
    """A journal with its surroundings."""

    def __init__(self) -> None:
        self.store, self.clock, self.witness = MemoryStore(), FakeClock(), Witness()
        self.lanes = Lanes(self.store)
        policy = effective(PolicySettings(), AgentPolicySettings()).policy
        self.journal = Journal(self.store, self.clock, lambda state: policy, followers=(self.witness,))

    async def begin(self) -> Lane:
        async with self.lanes.enter(TOPIC) as lane:
            await self.journal.append(lane, created(), onto=born())
            return lane

    async def stored(self) -> SessionState:
        """As another process would read it."""
        found = await self.store.load(*TOPIC)
        assert found is not None
        return states.decode(found.state, found.details)


async def test_append() -> None:
    """The events get their seq and time, are stored, folded and told, all of them together."""
    room = Room()
    lane = await room.begin()
    room.clock.advance(seconds=1)
    state = await room.journal.append(lane, user("t"), started("t"), assistant("t"))
    assert lane.state is state
    assert await room.stored() == state
    assert (state.head, state.message_count, state.details.title) == (4, 2, "hi")
    assert room.witness.told == [(None, 1, [1]), (1, 4, [2, 3, 4])]
    rows = (await room.store.events(EventQuery(session=1, after=0, before=9, limit=9, max_bytes=2**20))).events
    events = [msgspec.json.decode(row.body) for row in rows]
    assert [event["at"] for event in events] == [instant(BEGINNING_MS)] + [instant(BEGINNING_MS + 1000)] * 3
    assert [row.type for row in rows] == [event["type"] for event in events]


async def test_a_store_that_fails() -> None:
    """Nothing was stored, folded or told; the same events can be tried again."""
    room = Room()
    lane = await room.begin()
    before, event = lane.session, user("t")
    with room.store.failing():
        with pytest.raises(StoreUnavailable):
            await room.journal.append(lane, event)
        with pytest.raises(StoreUnavailable):
            await room.journal.delete(lane, None)
    assert lane.state is before
    assert len(room.witness.told) == 1
    await room.journal.append(lane, event)
    assert await seqs_of(room.store, 1) == [1, 2]


async def test_a_caller_that_gives_up() -> None:
    """What was on its way is stored, folded and told before the caller hears of the cancellation."""
    room = Room()
    lane = await room.begin()
    task = asyncio.create_task(room.journal.append(lane, user("t"), started("t")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await room.stored()).head == lane.session.head == 3
    assert room.witness.told[-1] == (1, 3, [2, 3])


async def test_what_goes_with_a_commit() -> None:
    """The answer and the purge are in the same transaction; the answer is made of the state after."""
    room = Room()
    lane = await room.begin()
    await room.journal.append(lane, user("t"))
    await room.journal.save_chunk(1, b"partial")
    made: list[int] = []

    def reply(state: SessionState) -> Answer:
        made.append(state.head)
        return answer(b"s", b"x", has_words=True)

    clear = lifecycle.clear(lane.session, "ann")
    await room.journal.append(lane, clear, answer=reply, purge_to=lane.session.head)
    assert (made, await seqs_of(room.store, 1), await room.store.chunks(1)) == ([3], [3], [])
    assert await room.store.answer(b"s") is not None
    assert (await room.stored()).details.title is None


async def test_two_sessions_at_once() -> None:
    """Both are stored and told, the new one first; or neither is, and the same can be tried again."""
    room = Room()
    lane = await room.begin()
    state = fold(born(id=2, key="new"), created())
    async with room.lanes.enter(("default", "new")) as target:
        change = Change(target, state, [row_of(event) for event in numbered(born(), [created()])])
        with room.store.failing(), pytest.raises(StoreUnavailable):
            await room.journal.append(lane, user("t"), also=change)
        assert (target.state, lane.session.head, len(room.witness.told)) == (None, 1, 1)
        await room.journal.append(lane, user("t"), also=change)
        assert target.state is state
    assert room.witness.told[1:] == [(None, 1, [1]), (1, 2, [2])]
    assert (await seqs_of(room.store, 1), await seqs_of(room.store, 2)) == ([1, 2], [1])


async def test_delete() -> None:
    """Leaves a tombstone without words; the key may be born again with another number and a log from 1."""
    room = Room()
    lane = await room.begin()
    await room.journal.append(lane, user("t"), started("t"))
    room.clock.advance(seconds=1)
    await room.journal.delete(lane, answer(b"s"))
    tombstone = await room.stored()
    assert (tombstone.deleted_at, tombstone.turn, tombstone.queue) == (BEGINNING_MS + 1000, None, ())
    assert tombstone.details == states.Details()
    assert await seqs_of(room.store, 1) == []
    assert await ids_of(room.store) == []
    again = await room.journal.append(lane, created(), onto=born(id=2, epoch="f"))
    assert (again.head, (await room.stored()).epoch) == (1, "f")


async def test_deadlines_are_stored() -> None:
    """A live session's warning and end are in its line; one that has ended has none."""
    room = Room()
    lane = await room.begin()
    assert await room.store.expiring(BEGINNING_MS + 25 * MINUTE_MS) == 1
    assert await room.store.expiring(BEGINNING_MS + 30 * MINUTE_MS) == 0
    policy = effective(PolicySettings(), AgentPolicySettings()).policy
    assert await room.store.due((0, 0), BEGINNING_MS + 5 * MINUTE_MS, 9) == [
        (BEGINNING_MS + 5 * MINUTE_MS, 1, BEGINNING_MS + 30 * MINUTE_MS)
    ]
    over = lifecycle.elapse(lane.session, policy, BEGINNING_MS + 30 * MINUTE_MS)
    await room.journal.append(lane, *over.events, onto=over.onto)
    assert await room.store.expiring(BEGINNING_MS + 25 * MINUTE_MS) == 0
    assert await room.store.counts() == {"ended": 1}


async def test_settled() -> None:
    """Waits for what is under way, told or refused, and for nothing that begins later."""
    room = Room()
    await room.journal.settled()
    lane = await room.begin()
    first = asyncio.create_task(room.journal.append(lane, user("t")))
    await asyncio.sleep(0)
    assert await room.stored() != lane.state
    await room.journal.settled()
    assert await room.stored() == lane.state
    assert room.witness.told[-1] == (1, 2, [2])
    await first
    with room.store.failing():
        refused = asyncio.create_task(room.journal.append(lane, user("u")))
        await asyncio.sleep(0)
        await room.journal.settled()
    with pytest.raises(StoreUnavailable):
        await refused
    assert room.witness.told[-1] == (1, 2, [2])
