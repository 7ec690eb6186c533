"""Which of a user's empty sessions lists show, and which that puts in its place.

Lists without empty sessions show a user's newest one: its first message lets
the one before it back in, a new one displaces it. Which one that is only the
store knows. So what is committed to empty sessions is gathered for each user,
and told together once the newest of those that nothing was committed to is
known: the newest before and after is the newest of that one and of those
gathered.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from msgspec import Struct

from gateway.storage.base import Store, StoredSession, StoreFault
from gateway.storage.matching import may_be_newest

from . import state as states
from .state import SessionState

RETRY_S = 0.5
User = tuple[str, str]
log = structlog.get_logger(__name__)


class Shift(Struct, frozen=True):
    """A session before and after, with the id of its user's newest empty one then."""

    before: SessionState | None
    after: SessionState
    newest_before: int | None
    newest_after: int | None


class _Batch:
    """What was committed to sessions of one user since the last time: their first and last state."""

    def __init__(self) -> None:
        self.ends: dict[int, tuple[SessionState | None, SessionState]] = {}
        self.told = asyncio.Event()

    def add(self, before: SessionState | None, after: SessionState) -> None:
        first = self.ends[after.id][0] if after.id in self.ends else before
        self.ends[after.id] = (first, after)

    def shifts(self, other: SessionState | None) -> list[Shift]:
        """In the order in which the sessions were made; `other` is the newest that is not among them."""
        rest = [] if other is None else [other.id]
        before = [id for id, (state, _) in self.ends.items() if state is not None and may_be_newest(state)]
        after = [id for id, (_, state) in self.ends.items() if may_be_newest(state)]
        newest = max(before + rest, default=None), max(after + rest, default=None)
        if other is not None and not other.pinned and newest[0] != newest[1] and other.id in newest:
            self.ends[other.id] = (other, other)
        return [Shift(*self.ends[id], *newest) for id in sorted(self.ends)]


class Empties:
    """Holds what is committed to sessions of users with empty ones until it can be told.

    `settled` waits until all that a reader may have seen was added.
    """

    def __init__(
        self, store: Store, settled: Callable[[], Awaitable[None]], tell: Callable[[list[Shift]], None]
    ) -> None:
        self._store, self._settled, self._tell = store, settled, tell
        self._batches: dict[User, _Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def concerns(self, before: SessionState | None, after: SessionState) -> bool:
        """Whether what shows depends on the store, or comes after something that does."""
        is_empty = may_be_newest(after) or (before is not None and may_be_newest(before))
        return is_empty or (after.tenant, after.user) in self._batches

    def add(self, before: SessionState | None, after: SessionState) -> None:
        """Tell it later."""
        user = after.tenant, after.user
        batch = self._batches.get(user)
        if batch is None:
            batch = self._batches[user] = _Batch()
            task = asyncio.create_task(self._see_to(user, batch), name=f"empty sessions of {after.user}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        batch.add(before, after)

    async def told(self) -> None:
        """Wait until all that was added by now is told."""
        for batch in list(self._batches.values()):
            await batch.told.wait()

    async def close(self) -> None:
        """Tell nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _see_to(self, user: User, batch: _Batch) -> None:
        try:
            other = await self._newest_other(user, batch)
            del self._batches[user]
            self._tell(batch.shifts(other))
        except Exception:  # other users' go on
            self._batches.pop(user, None)
            log.exception("empty_sessions_broke", user=user[1])
        finally:
            batch.told.set()

    async def _newest_other(self, user: User, batch: _Batch) -> SessionState | None:
        """The newest that is not in the batch, which meanwhile grows by all that the reading saw."""
        while True:
            limit = len(batch.ends) + 1
            found = await self._read(user, limit)
            await self._settled()
            others = (state for state in map(_decode, found) if state.id not in batch.ends)
            other = next(others, None)
            if other is not None or len(found) < limit:
                return other

    async def _read(self, user: User, limit: int) -> list[StoredSession]:
        while True:
            try:
                return await self._store.empty(*user, limit)
            except StoreFault:
                await asyncio.sleep(RETRY_S)


def _decode(stored: StoredSession) -> SessionState:
    return states.decode(stored.state, stored.details)
