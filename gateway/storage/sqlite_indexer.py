"""When the full text index is brought up to date: soon after a commit, at once when somebody searches.

The index may lag, the answers may not: a search waits here until everything
committed before it is in the index. What takes longer (an old store that is
indexed for the first time, words of others in an erased part) it waits for
with some patience, then says so.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from .sqlite_indexing import Progress

LAG_S = 0.5
PATIENCE_S = 2.0
RETRY_S = 5.0
BACK_OFF_S = 0.25
"""After a fault so long nothing is tried, however many search; RETRY_S when nobody does."""
log = structlog.get_logger(__name__)


class _Search:
    """One that waits: `newest` is the event that it wants to see, as soon as that is known.

    `recent` is done when that can be found, `all` when everything can; False when it never will.
    """

    def __init__(self) -> None:
        self.newest: int | None = None
        self.recent: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.all: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class Indexer:
    """Decides when `step` runs; its owner calls `work` between commits, after at most `pause_s`."""

    def __init__(self, step: Callable[[], Awaitable[Progress]]) -> None:
        self._step = step
        self._due: float | None = time.monotonic()  # the last process may have left something
        self._not_before = 0.0
        self._searches: list[_Search] = []
        self._is_closed = False

    @property
    def pause_s(self) -> float | None:
        """How long there is nothing to do; None: until something is committed."""
        due = self._not_before if self._searches else self._due
        return max(0.0, due - time.monotonic()) if due is not None else None

    def notice(self) -> None:
        """Something was committed that belongs into the index, or no longer does."""
        if self._due is None:
            self._due = time.monotonic() + LAG_S

    async def work(self) -> None:
        """Do one step, if it is time."""
        if self.pause_s != 0:
            return
        try:
            progress = await self._step()
        except Exception as error:  # commits go on, whatever is wrong with the index
            log.error("indexing_failed", error=str(error))
            self._due, self._not_before = time.monotonic() + RETRY_S, time.monotonic() + BACK_OFF_S
            self._give_up()
            return
        is_done = progress.tail >= progress.newest and progress.is_complete
        self._due = None if is_done else time.monotonic()
        self._tell(progress)

    async def caught_up(self) -> bool:
        """Wait until all that was committed so far can be found; False while something cannot."""
        if self._is_closed or self._due is None:
            return True
        search = _Search()
        self._searches.append(search)
        try:
            if not await search.recent:
                return False
            async with asyncio.timeout(PATIENCE_S):
                return await search.all
        except TimeoutError:
            return False
        finally:
            self._searches = [other for other in self._searches if other is not search]

    def close(self) -> None:
        """Let nobody wait any more."""
        self._is_closed = True
        self._give_up()

    def _tell(self, progress: Progress) -> None:
        for search in self._searches:
            if search.newest is None:
                search.newest = progress.newest
            if progress.tail >= search.newest and not search.recent.done():
                search.recent.set_result(True)
            if progress.tail >= search.newest and progress.is_complete and not search.all.done():
                search.all.set_result(True)

    def _give_up(self) -> None:
        """The disk is full, or the store closes: those who wait get what can be found."""
        for search in self._searches:
            for waiting in (search.recent, search.all):
                if not waiting.done():
                    waiting.set_result(False)
        self._searches = []
