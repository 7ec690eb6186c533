"""Looks after sessions when time has changed them: idle, warned, ended, archived.

What is due is decided by `lifecycle.elapse`, in the session's lane, whether the
timer comes first or somebody who wants the session: both find the same. The
store knows every session's next moment; the wheel holds those before a moment
that moves on (`HORIZON_MS`, at most `MOST` of them), so that sleeping sessions
cost no memory. A session that is looked at too early is put back.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from msgspec.structs import replace

from gateway.clock import SteadyClock
from gateway.hub.hub import Topic
from gateway.storage.base import EventRow, Store, StoreFault
from gateway.timers import TimerWheel
from rpc_schema.errors import StoreUnavailable

from . import deadlines, lifecycle
from .journal import Journal
from .lanes import Lane, Lanes
from .rules import Rules
from .state import SessionState
from .turns import Turns

HORIZON_MS: Final = 60 * 60 * 1000
MOST: Final = 200_000
PAGE: Final = 10_000
BATCH: Final = 128
A_TICK: Final = 1024
RETRY_MS: Final = 1000
LOOK_S: Final = 0.25
_BEGINNING: Final = (-(1 << 62), 0)
log = structlog.get_logger(__name__)


class Expiry:
    """The deadlines of all sessions. A Follower; `run` it in a task.

    `touched` hears of sessions that look different by now though nothing happened.
    """

    def __init__(
        self,
        *,
        clock: SteadyClock,
        store: Store,
        lanes: Lanes,
        journal: Journal,
        turns: Turns,
        rules: Rules,
        touched: Callable[[SessionState], None],
    ) -> None:
        self._clock, self._store, self._lanes = clock, store, lanes
        self._journal, self._turns, self._rules, self._touched = journal, turns, rules, touched
        self._wheel = TimerWheel(clock, self._fire, most=A_TICK)
        self._fired: deque[int] = deque()
        self._wake = asyncio.Event()
        # The wheel holds what is due up to here: a moment, and a session's id.
        self._until = _BEGINNING

    async def settle(self, lane: Lane) -> SessionState:
        """Bring a session up to now; the caller is in its lane.

        Raises:
            StoreUnavailable: it is due and could not be written.
        """
        decision = self._elapse(lane)
        if not decision.events:
            return lane.session
        onto, expired_at = decision.onto, decision.onto.expired_at
        if expired_at is not None and lane.session.is_busy:
            await self._turns.stop_all(lane, by="gateway", reason="ended")
            onto = replace(lane.session, expired_at=expired_at)  # what stopped its turns is what ends it
        return await self._journal.append(lane, *decision.events, onto=onto)

    def committed(self, lane: Lane, before: SessionState | None, after: SessionState, rows: Sequence[EventRow]) -> None:
        """Set the session's timer, unless its moment is beyond what the wheel holds."""
        self.arm(after)

    def arm(self, state: SessionState) -> None:
        """Look after the session when it is due."""
        due_ms = self._due_ms(state)
        if due_ms is not None and (due_ms, state.id) <= self._until:
            self._wheel.arm(state.id, due_ms)
        else:
            self._wheel.cancel(state.id)

    def _put_back(self, state: SessionState) -> None:
        """Look again when it is due: nothing was written, so the store still has a moment that has been read past."""
        if (due_ms := self._due_ms(state)) is not None:
            self._wheel.arm(state.id, due_ms)

    def _due_ms(self, state: SessionState) -> int | None:
        return deadlines.due_ms(state, self._rules.policy_of(state), self._clock.now_ms())

    async def begin(self) -> None:
        """Take up the first page of what is due, overdue first.

        Raises:
            StoreFault: it cannot be read.
        """
        await self._turn_page()

    async def run(self) -> None:
        """Keep time until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._wheel.run(), name="timer wheel")
            tasks.create_task(self._read_on(), name="timer pages")
            tasks.create_task(self._look_after_fired(), name="expiry")

    def _elapse(self, lane: Lane) -> lifecycle.Decision:
        state = lane.session
        return lifecycle.elapse(state, self._rules.policy_of(state), self._clock.now_ms())

    def _fire(self, session: int) -> None:
        self._fired.append(session)
        self._wake.set()

    async def _read_on(self) -> None:
        """Page in what comes within the horizon."""
        while True:
            try:
                is_complete = await self._turn_page()
            except StoreFault as error:
                log.warning("timers_not_read", error=str(error))
                is_complete = True
            await asyncio.sleep(LOOK_S if is_complete else 0)

    async def _turn_page(self) -> bool:
        """Arm the next page, if one is wanted; True when no other is for now."""
        now_ms = self._clock.now_ms()
        horizon = now_ms + HORIZON_MS
        if self._until[0] > now_ms + HORIZON_MS // 2 or len(self._wheel) >= MOST:
            return True
        before, self._until = self._until, (horizon, 0)  # what is committed meanwhile arms itself
        try:
            page = await self._store.due(before, horizon, PAGE)
        except StoreFault:
            self._until = before
            raise
        for due_ms, session, end_ms in page:
            if self._wheel.deadline(session) is None:
                self._wheel.arm(session, end_ms if end_ms is not None and end_ms <= now_ms else due_ms)
        if len(page) == PAGE:
            self._until = page[-1][:2]
        return len(page) < PAGE

    async def _look_after_fired(self) -> None:
        while True:
            await self._wake.wait()
            batch = [self._fired.popleft() for _ in range(min(len(self._fired), BATCH))]
            if not self._fired:
                self._wake.clear()
            try:
                await self._look_after(batch)
            except StoreFault as error:
                log.warning("timers_not_met", error=str(error))
                self._try_later(batch)

    async def _look_after(self, sessions: Sequence[int]) -> None:
        topics = await self._store.topics(sessions)
        async with self._lanes.preloaded(topics.values()):
            await asyncio.gather(*(self._look_at(session, topic) for session, topic in topics.items()))

    async def _look_at(self, session: int, topic: Topic) -> None:
        try:
            async with self._lanes.enter(topic) as lane:
                if lane.state is None or lane.state.id != session:
                    return
                before = lane.state
                if await self.settle(lane) is before:
                    self._put_back(before)
                    self._touched(before)
        except StoreUnavailable:
            self._try_later([session])
        except Exception:  # a bug in one must not stop the clock of all
            log.exception("expiry_broke", session=topic[1])
            self._try_later([session])

    def _try_later(self, sessions: Sequence[int]) -> None:
        for session in sessions:
            self._wheel.arm(session, self._clock.now_ms() + RETRY_MS)
