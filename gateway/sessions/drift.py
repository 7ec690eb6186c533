"""Makes good what the wall clock has leapt, once a restart has to go by it again.

A running gateway counts time and does not care what the wall clock does
(`SteadyClock`); a new one has to begin with it. So the one that runs notes how
far the two have come apart, and the next one gives that time to every session
that still has an end: as if it had been paused, its longest duration included.
"""

import asyncio
from typing import Final

import msgspec
import structlog
from msgspec.structs import replace

from gateway.clock import SteadyClock
from gateway.storage.base import Store, StoreFault

from . import state as states
from .journal import Journal
from .lanes import Lanes
from .state import SessionState

NOTED_MS: Final = 1000
LOOK_S: Final = 5.0
PAGE: Final = 500
_KIND: Final = "clock"
log = structlog.get_logger(__name__)


class Drift:
    """How far the clock that is counted and the one on the wall have come apart."""

    def __init__(self, clock: SteadyClock, store: Store, lanes: Lanes, journal: Journal) -> None:
        self._clock, self._store, self._lanes, self._journal = clock, store, lanes, journal

    async def make_good(self) -> None:
        """Give sessions the time that the last gateway had not counted; before anything else is done with them.

        A start that is cut goes on where it was.

        Raises:
            StoreFault, StoreUnavailable: it could not be read or written.
        """
        notes = await self._store.notes(_KIND)
        lost_ms = msgspec.json.decode(notes.get("behind_ms", b"0"), type=int)
        if not lost_ms:
            return
        last = msgspec.json.decode(notes.get("given_to", b"0"), type=int)
        log.warning("wall_clock_leapt", ms=lost_ms)
        while page := await self._store.timed(None, last, PAGE):
            sessions = [states.decode(stored.state, stored.details) for _, stored in page]
            await asyncio.gather(*(self._give(state, lost_ms) for state in sessions))
            last = page[-1][0]
            await self._store.note(_KIND, "given_to", msgspec.json.encode(last))
        await self._store.note(_KIND, "behind_ms", None)
        await self._store.note(_KIND, "given_to", None)

    async def run(self) -> None:
        """Note how far they are apart whenever that changes, until cancelled."""
        noted_ms = 0
        while True:
            await asyncio.sleep(LOOK_S)
            behind_ms = self._clock.behind_ms
            if abs(behind_ms - noted_ms) < NOTED_MS:
                continue
            try:
                await self._store.note(_KIND, "behind_ms", msgspec.json.encode(behind_ms))
            except StoreFault as error:
                log.warning("leap_not_noted", error=str(error))
            else:
                log.warning("wall_clock_leaps", behind_ms=behind_ms)
                noted_ms = behind_ms

    async def _give(self, state: SessionState, lost_ms: int) -> None:
        async with self._lanes.enter((state.tenant, state.key)) as lane:
            if lane.state is None or lane.state.id != state.id or lane.state.lifecycle == "ended":
                return
            await self._journal.append(lane, onto=_with_time(lane.state, lost_ms))


def _with_time(state: SessionState, lost_ms: int) -> SessionState:
    """The state with all of its clocks moved on; a frozen remainder stays what it is."""
    moved = {name: at + lost_ms for name in ("paused_at", "resumed_at") if (at := getattr(state, name)) is not None}
    return replace(
        state,
        paused_ms=state.paused_ms + lost_ms,
        paused_since_activity_ms=state.paused_since_activity_ms + lost_ms,
        uncounted_ms=state.uncounted_ms + lost_ms,
        **moved,
    )
