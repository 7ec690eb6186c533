"""Which of a user's empty sessions lists show, and which that puts in its place.

Lists without empty sessions show a user's newest one: its first message lets
the one before it back in, a new one displaces it. Which one that is only the
store knows. So what is committed to empty sessions is gathered for each user,
and told together once the newest of those that nothing was committed to is
known: the newest before and after is the newest of that one and of those
gathered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from msgspec import Struct

from gateway.storage.base import Store, StoredSession, StoreFault
from gateway.storage.matching import may_be_newest

from . import state as states
from .state import SessionState

RETRY_S = 0.5
FIRST_MORE = 4
User = tuple[str, str]
log = structlog.get_logger(__name__)


class Shift(Struct, frozen=True):
    """A session before and after, with the id of its user's newest empty one then.

    `course` are the states it had from before to after, where several commits
    are told together. A bystander is one that nothing was committed to.
    """

    before: SessionState | None
    after: SessionState
    newest_before: int | None = None
    newest_after: int | None = None
    course: Sequence[SessionState] = ()
    is_bystander: bool = False


class _Batch:
    """What was committed to sessions of one user since the last time: all their states, the first maybe none."""

    def __init__(self) -> None:
        self.courses: dict[int, list[SessionState | None]] = {}
        self.withdrawn: set[int] = set()
        self.told = asyncio.Event()

    def add(self, before: SessionState | None, after: SessionState) -> None:
        self.courses.setdefault(after.id, [before]).append(after)

    def shifts(self, other: SessionState | None) -> list[Shift]:
        """First of the newest that is not here, `other`; then in the order in which the sessions were made."""
        newest = self._newest(0, other), self._newest(-1, other)
        shifts = []
        if other is not None:
            shifts.append(Shift(other, other, *newest, course=[other], is_bystander=True))
        for id, course in sorted(self.courses.items()):
            if id in self.withdrawn:
                continue
            before, after = course[0], course[-1]
            assert after is not None
            shifts.append(Shift(before, after, *newest, course=[state for state in course if state is not None]))
        return shifts

    def _newest(self, when: int, other: SessionState | None) -> int | None:
        """Of those here and the other one, at the beginning (0) or at the end (-1)."""
        states = [other, *(course[when] for course in self.courses.values())]
        return max((state.id for state in states if state is not None and may_be_newest(state)), default=None)


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

    def withdraw(self, state: SessionState) -> Shift | None:
        """What is held of a deleted session whose key is used again, to be told before that is."""
        batch = self._batches.get((state.tenant, state.user))
        if batch is None or state.id not in batch.courses or state.id in batch.withdrawn:
            return None
        batch.withdrawn.add(state.id)
        course = batch.courses[state.id]
        return Shift(course[0], state, newest_before=state.id, course=[each for each in course if each is not None])

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
        """The newest that is not in the batch, which meanwhile grows by all that the reading saw.

        The more grew in, the more are read the next time, so that it ends
        however many are made meanwhile.
        """
        more = FIRST_MORE
        while True:
            limit = len(batch.courses) + more
            found = await self._read(user, limit)
            await self._settled()
            others = (state for state in map(_decode, found) if state.id not in batch.courses)
            other = next(others, None)
            if other is not None or len(found) < limit:
                return other
            more *= 2

    async def _read(self, user: User, limit: int) -> list[StoredSession]:
        while True:
            try:
                return await self._store.empty(*user, limit)
            except StoreFault:
                await asyncio.sleep(RETRY_S)


def _decode(stored: StoredSession) -> SessionState:
    return states.decode(stored.state, stored.details)
