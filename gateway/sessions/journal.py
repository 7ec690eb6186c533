"""The single writer of a session's log.

Everything that changes a session passes through `Journal.append`: it folds the
events into the state, commits both in one transaction and tells the followers,
in that order. Reading is elsewhere (`directory`, `transcript`).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from gateway.clock import Clock, instant
from gateway.storage.base import Answer, Commit, EventRow, SessionRow, Store, StoreFault
from rpc_schema.errors import StoreUnavailable
from rpc_schema.events import AnyEvent, Event
from rpc_schema.types import Policy

from . import deadlines
from . import state as states
from .lanes import Lane
from .state import Details, SessionState

_encode = msgspec.json.encode
log = structlog.get_logger(__name__)


class Follower(Protocol):
    """Whoever wants to know what was committed."""

    def committed(self, lane: Lane, before: SessionState | None, after: SessionState, rows: Sequence[EventRow]) -> None:
        """Called once for each commit, after it is durable, before anything else happens in the lane."""


class Change(Struct, frozen=True):
    """New events of the session in a lane, and the state after them; for a copy all of its log."""

    lane: Lane
    state: SessionState
    rows: Sequence[EventRow]


class Journal:
    """Appends to the logs of all sessions; the caller is inside the session's lane."""

    def __init__(
        self, store: Store, clock: Clock, policy_of: Callable[[SessionState], Policy], followers: Sequence[Follower]
    ) -> None:
        self._store, self._clock, self._policy_of = store, clock, policy_of
        self._followers = followers
        self._under_way: set[asyncio.Future[None]] = set()

    async def append(
        self,
        lane: Lane,
        *events: AnyEvent,
        onto: SessionState | None = None,
        answer: Callable[[SessionState], Answer | None] | None = None,
        drop_chunks: bool = False,
        purge_to: int | None = None,
        also: Change | None = None,
    ) -> SessionState:
        """Commit events and return the state after them.

        All or none are stored, with consecutive seq, and the followers have
        been told. `onto` is the state to start from where it is not the lane's.
        `also` is stored with them or not at all; the caller is in its lane, too.
        Safe to cancel: a cancelled append either happened in full or not at all.

        Raises:
            StoreUnavailable: nothing was stored.
        """
        before = lane.state
        state = onto if onto is not None else lane.session
        at = instant(self._clock.now_ms())
        rows = []
        for event in events:
            event.seq, event.at = state.head + 1, at
            state = states.apply(state, event)
            rows.append(row_of(event))
        is_changed = before is None or state.details is not before.details
        commit = Commit(
            session=state.id,
            row=self._project(state),
            events=rows,
            details=_encode(state.details) if is_changed else None,
            drop_chunks=drop_chunks,
            purge_to=purge_to,
            forget=purge_to is not None,
            answer=answer(state) if answer is not None else None,
            also=self._arriving(also) if also is not None else None,
        )
        if commit.forget and commit.details is None:
            commit.details = _encode(state.details)
        await self._commit(Change(lane, state, rows), commit, also)
        return state

    async def arrive(self, arrival: Change, answer: Answer | None) -> SessionState:
        """Commit a session with the log it comes with, and return its state.

        Raises:
            StoreUnavailable: nothing was stored.
        """
        commit = self._arriving(arrival)
        commit.answer = answer
        await self._commit(arrival, commit)
        return arrival.state

    async def delete(self, lane: Lane, answer: Answer | None) -> None:
        """Erase all that was said in the session and leave a tombstone.

        Raises:
            StoreUnavailable: nothing was changed.
        """
        state = replace(
            lane.session, details=Details(), project=None, deleted_at=self._clock.now_ms(), turn=None, queue=()
        )
        commit = Commit(
            session=state.id,
            row=self._project(state),
            purge_to=state.head,
            forget=True,
            drop_chunks=True,
            answer=answer,
        )
        await self._commit(Change(lane, state, ()), commit)

    def save_chunk(self, session: int, chunk: bytes) -> asyncio.Future[None]:
        """Keep a piece of a running turn, so that a crash loses little of it."""
        return self._store.commit(Commit(session=session, chunks=(chunk,)))

    def _arriving(self, arrival: Change) -> Commit:
        state = arrival.state
        details = _encode(state.details)
        return Commit(session=state.id, row=self._project(state), events=arrival.rows, details=details)

    async def settled(self) -> None:
        """Wait until the followers have been told of all that anybody may have read by now."""
        if self._under_way:
            await asyncio.wait(tuple(self._under_way))

    async def _commit(self, change: Change, commit: Commit, also: Change | None = None) -> None:
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way.add(told)
        try:
            await self._commit_and_tell(change, commit, also)
        finally:
            self._under_way.discard(told)
            told.set_result(None)

    async def _commit_and_tell(self, change: Change, commit: Commit, also: Change | None) -> None:
        """Wait until it is durable, whatever happens meanwhile; then fold and tell; then be cancelled."""
        done = self._store.commit(commit)
        is_cancelled = False
        while not done.done():
            try:
                await asyncio.shield(done)
            except asyncio.CancelledError:
                is_cancelled = True
            except StoreFault:
                break
        if (fault := done.exception()) is not None:
            raise (asyncio.CancelledError if is_cancelled else StoreUnavailable) from fault
        for each in (also, change) if also is not None else (change,):
            self._tell(each)
        if is_cancelled:
            raise asyncio.CancelledError

    def _tell(self, change: Change) -> None:
        lane, before = change.lane, change.lane.state
        lane.state = change.state
        for follower in self._followers:
            try:
                follower.committed(lane, before, change.state, change.rows)
            except Exception:  # it is in the log: the other followers must hear of it
                log.exception("follower_broke", session=lane.topic[1], follower=type(follower).__name__)

    def _project(self, state: SessionState) -> SessionRow:
        moments = deadlines.moments(state, self._policy_of(state), self._clock.now_ms())
        return SessionRow(
            id=state.id,
            tenant=state.tenant,
            key=state.key,
            user=state.user,
            agent=state.agent,
            model=state.model,
            channel=state.channel,
            source=state.source,
            project=state.project,
            lifecycle=state.lifecycle,
            pinned=state.pinned,
            is_empty=state.is_empty,
            is_busy=state.is_busy,
            message_count=state.message_count,
            tokens=state.input_tokens + state.output_tokens,
            cost_usd=state.cost_usd,
            created_at=state.created_at,
            last_activity_at=state.last_activity_at,
            archived_at=state.archived_at,
            deleted_at=state.deleted_at,
            warn_at=moments.warn_at,
            expires_at=moments.expires_at,
            due_at=moments.due_at,
            state=states.encode(state),
        )


def row_of(event: Event) -> EventRow:
    """An event that has its seq and time, as the store takes it."""
    return EventRow(event.seq, str(event.__struct_config__.tag), _encode(event))
