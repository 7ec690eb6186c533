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
from msgspec import Struct
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
_NAME: Final = "leap"
log = structlog.get_logger(__name__)


class _Leap(Struct):
    """By how much the wall clock was ahead at last, and the last session, by id, that was given as much."""

    ms: int
    given_to: int = 0


class Drift:
    """How far the clock that is counted and the one on the wall have come apart."""

    def __init__(self, clock: SteadyClock, store: Store, lanes: Lanes, journal: Journal) -> None:
        self._clock, self._store, self._lanes, self._journal = clock, store, lanes, journal

    async def make_good(self) -> None:
        """Give sessions the time that the last gateway had not counted; before anything else is done with them.

        A start that is cut goes on where it was; up to PAGE sessions may get the time twice then.

        Raises:
            StoreFault, StoreUnavailable: it could not be read or written.
        """
        noted = (await self._store.notes(_KIND)).get(_NAME)
        if noted is None:
            return
        leap = msgspec.json.decode(noted, type=_Leap)
        log.warning("wall_clock_leapt", ms=leap.ms)
        while page := await self._store.timed(None, leap.given_to, PAGE):
            sessions = [states.decode(stored.state, stored.details) for _, stored in page]
            await asyncio.gather(*(self._give(state, leap.ms) for state in sessions))
            leap.given_to = page[-1][0]
            await self._note(leap)
        await self._store.note(_KIND, _NAME, None)

    async def run(self) -> None:
        """Note how far they are apart whenever that changes, until cancelled."""
        noted_ms = 0
        while True:
            await asyncio.sleep(LOOK_S)
            behind_ms = self._clock.behind_ms
            if abs(behind_ms - noted_ms) < NOTED_MS:
                continue
            try:
                await self._note(_Leap(behind_ms))
            except StoreFault as error:
                log.warning("leap_not_noted", error=str(error))
            else:
                log.warning("wall_clock_leaps", behind_ms=behind_ms)
                noted_ms = behind_ms

    async def _note(self, leap: "_Leap") -> None:
        await self._store.note(_KIND, _NAME, msgspec.json.encode(leap))

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
