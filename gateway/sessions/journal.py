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
from msgspec.structs import replace

from gateway.clock import Clock, instant
from gateway.storage.base import Answer, Commit, EventRow, SessionRow, Store, StoreFault
from rpc_schema.errors import StoreUnavailable
from rpc_schema.events import AnyEvent, Event

from . import policy as policies
from . import state as states
from .lanes import Lane
from .policy import Effective
from .state import Details, SessionState

_encode = msgspec.json.encode
log = structlog.get_logger(__name__)


class Follower(Protocol):
    """Whoever wants to know what was committed."""

    def committed(self, lane: Lane, before: SessionState | None, after: SessionState, rows: Sequence[EventRow]) -> None:
        """Called once for each commit, after it is durable, before anything else happens in the lane."""


class Journal:
    """Appends to the logs of all sessions; the caller is inside the session's lane."""

    def __init__(
        self, store: Store, clock: Clock, policy_of: Callable[[SessionState], Effective], followers: Sequence[Follower]
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
    ) -> SessionState:
        """Commit events and return the state after them.

        All or none are stored, with consecutive seq, and the followers have
        been told. `onto` is the state to start from where it is not the lane's.
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
            rows.append(_row(event))
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
        )
        if commit.forget and commit.details is None:
            commit.details = _encode(state.details)
        await self._commit(lane, commit, state, rows)
        return state

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
        await self._commit(lane, commit, state, ())

    def save_chunk(self, session: int, chunk: bytes) -> asyncio.Future[None]:
        """Keep a piece of a running turn, so that a crash loses little of it."""
        return self._store.commit(Commit(session=session, chunks=(chunk,)))

    async def settled(self) -> None:
        """Wait until the followers have been told of all that anybody may have read by now."""
        if self._under_way:
            await asyncio.wait(tuple(self._under_way))

    async def _commit(self, lane: Lane, commit: Commit, state: SessionState, rows: Sequence[EventRow]) -> None:
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way.add(told)
        try:
            await self._commit_and_tell(lane, commit, state, rows)
        finally:
            self._under_way.discard(told)
            told.set_result(None)

    async def _commit_and_tell(self, lane: Lane, commit: Commit, state: SessionState, rows: Sequence[EventRow]) -> None:
        """Wait until it is durable, whatever happens meanwhile; then fold and tell; then be cancelled."""
        done = self._store.commit(commit)
        is_cancelled = False
        while not done.done():
            try:
                await asyncio.wait((done,))
            except asyncio.CancelledError:
                is_cancelled = True
        try:
            done.result()
        except StoreFault as error:
            if is_cancelled:
                raise asyncio.CancelledError from error
            raise StoreUnavailable from error
        before, lane.state = lane.state, state
        for follower in self._followers:
            try:
                follower.committed(lane, before, state, rows)
            except Exception:  # it is in the log: the other followers must hear of it
                log.exception("follower_broke", session=lane.topic[1], follower=type(follower).__name__)
        if is_cancelled:
            raise asyncio.CancelledError

    def _project(self, state: SessionState) -> SessionRow:
        policy = self._policy_of(state).policy
        is_timed = state.lifecycle in ("live", "idle") and state.deleted_at is None
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
            warn_at=policies.warn_ms(state, policy) if is_timed else None,
            expires_at=policies.deadline_ms(state, policy) if is_timed else None,
            state=states.encode(state),
        )


def _row(event: Event) -> EventRow:
    return EventRow(event.seq, str(event.__struct_config__.tag), _encode(event))
