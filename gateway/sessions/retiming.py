"""After a policy or a name has changed: new moments and another look for the sessions that go by it.

What people are told follows the policy at once, being reckoned anew each time.
The moments in the store and the wheel are brought up to it here, agent by
agent, page by page, beside everything else. What the moments were reckoned by is
noted in the store, so that a policy that changed while the gateway was down, or
a pass that was cut, is made good after a start.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from gateway.agents.roster import Roster
from gateway.clock import Clock
from gateway.storage.base import Retimed, Store, StoredSession, StoreFault
from rpc_schema.errors import StoreUnavailable

from . import deadlines, lifecycle
from . import state as states
from .journal import Journal
from .lanes import Lanes
from .rules import Rules
from .state import SessionState

PAGE: Final = 500
RETRY_S: Final = 1.0
_KIND: Final = "policy_timed_by"
Touched = Callable[[SessionState], None]
log = structlog.get_logger(__name__)


class Retiming:
    """Follows the rules; `run` it in a task. `touched` hears of each session that was looked at."""

    def __init__(
        self,
        *,
        store: Store,
        lanes: Lanes,
        journal: Journal,
        rules: Rules,
        roster: Roster,
        clock: Clock,
        touched: Sequence[Touched],
    ) -> None:
        self._store, self._lanes, self._journal, self._rules = store, lanes, journal, rules
        self._roster, self._clock, self._touched = roster, clock, touched
        self._wanted = asyncio.Event()

    def want(self) -> None:
        """Some policy may have changed."""
        self._wanted.set()

    async def run(self) -> None:
        """Look after what was wanted, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._catch_up()
            except (StoreFault, StoreUnavailable) as error:
                log.warning("retiming_failed", error=str(error))
                self._wanted.set()
                await asyncio.sleep(RETRY_S)

    async def _catch_up(self) -> None:
        timed_by = await self._store.notes(_KIND)
        for agent in sorted({*timed_by, *self._roster.ids()}):
            digest = self._rules.digest(agent)
            if timed_by.get(agent) != digest:
                count = await self._retime(agent)
                await self._store.note(_KIND, agent, digest)
                if count:
                    log.info("sessions_retimed", agent=agent, sessions=count)

    async def _retime(self, agent: str) -> int:
        last = count = 0
        while page := await self._store.timed(agent, last, PAGE):
            found = [(stored, states.decode(stored.state, stored.details)) for _, stored in page]
            await self._store.retime([self._reckon(stored, state) for stored, state in found])
            topics = [(state.tenant, state.key) for _, state in found]
            async with self._lanes.preloaded(topics):
                for _, state in found:
                    await self._tell(state)
            last, count = page[-1][0], count + len(page)
        return count

    def _reckon(self, stored: StoredSession, state: SessionState) -> Retimed:
        moments = deadlines.moments(state, self._rules.policy_of(state), self._clock.now_ms())
        return Retimed(state.id, stored.state, *moments)

    async def _tell(self, state: SessionState) -> None:
        """Void a warning that came too early now; else let others have another look."""
        async with self._lanes.enter((state.tenant, state.key)) as lane:
            if lane.state is None or lane.state.id != state.id or lane.state.deleted_at is not None:
                return
            if events := lifecycle.reconsider(lane.state, self._rules.policy_of(lane.state), self._clock.now_ms()):
                await self._journal.append(lane, *events)
                return
            for touched in self._touched:
                touched(lane.state)
