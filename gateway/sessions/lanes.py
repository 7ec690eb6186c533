"""One lane a session: whoever is in it decides alone, in the order of arrival.

A lane is made when somebody wants in and kept while somebody is in it, a turn
runs in it or somebody follows it; beyond that a bounded number of sessions is
remembered, the rest is in the store.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from types import TracebackType

from gateway.hub.hub import Topic
from gateway.storage.base import Store, StoredSession, StoreFault
from rpc_schema.errors import StoreUnavailable

from . import state as states
from .state import SessionState

REMEMBERED = 4096


class Lane:
    """A session that is being used; `state` is None where there is none. Touch it only from inside `Lanes.enter`.

    `pins` keep it in memory: running turns, followers.
    """

    __slots__ = ("_found", "_loaded", "_lock", "_users", "pins", "state", "topic")

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.state: SessionState | None = None
        self.pins = 0
        self._loaded = False
        self._found: StoredSession | None = None
        self._users = 0
        self._lock = asyncio.Lock()

    @property
    def session(self) -> SessionState:
        """The state, where the caller knows that there is one."""
        assert self.state is not None
        return self.state

    @property
    def is_free(self) -> bool:
        """Whether the key may be used; a deleted session's may be used again."""
        return self.state is None or self.state.deleted_at is not None


class Lanes:
    """All lanes of this process."""

    def __init__(self, store: Store, remembered: int = REMEMBERED) -> None:
        self._store = store
        self._remembered = remembered
        self._lanes: dict[Topic, Lane] = {}
        self._at_rest: OrderedDict[Topic, None] = OrderedDict()

    def enter(self, topic: Topic) -> "_Entry":
        """`async with lanes.enter(topic) as lane`: alone with the session, first come first served.

        Joining the line is the first thing that happens, so calls keep the order
        in which their tasks were made.

        Raises:
            StoreUnavailable: the session could not be read.
        """
        return _Entry(self, topic)

    @asynccontextmanager
    async def preloaded(self, topics: Iterable[Topic]) -> AsyncIterator[None]:
        """Meanwhile entering one of these needs no read of its own: all are read at once.

        Raises:
            StoreFault: they could not be read.
        """
        lanes = [self._join(topic) for topic in topics]
        try:
            # Nobody can change and leave a lane from here on without loading it.
            unread = [lane for lane in lanes if not lane._loaded]
            found = await self._store.load_many([lane.topic for lane in unread]) if unread else {}
            for lane in unread:
                lane._found = found.get(lane.topic)
            yield
        finally:
            for lane in lanes:
                lane._found = None
                self._leave(lane)

    def pin(self, lane: Lane) -> None:
        """Keep it in memory until `unpin`."""
        lane.pins += 1

    def unpin(self, lane: Lane) -> None:
        """Undo one `pin`."""
        lane.pins -= 1
        self._rest(lane)

    async def _arrive(self, topic: Topic) -> Lane:
        lane = self._join(topic)
        try:
            await lane._lock.acquire()
        except BaseException:
            self._leave(lane)
            raise
        if not lane._loaded:
            try:
                stored = lane._found or await self._store.load(*topic)
            except BaseException as error:
                lane._lock.release()
                self._leave(lane)
                if isinstance(error, StoreFault):
                    raise StoreUnavailable from error
                raise
            lane.state = states.decode(stored.state, stored.details) if stored is not None else None
            lane._loaded = True
        return lane

    def _join(self, topic: Topic) -> Lane:
        """Be one of those who use the lane, so that it stays."""
        lane = self._lanes.get(topic)
        if lane is None:
            lane = self._lanes[topic] = Lane(topic)
        lane._users += 1
        self._at_rest.pop(topic, None)
        return lane

    def _depart(self, lane: Lane) -> None:
        lane._lock.release()
        self._leave(lane)

    def _leave(self, lane: Lane) -> None:
        lane._users -= 1
        self._rest(lane)

    def _rest(self, lane: Lane) -> None:
        """Remember a lane that nobody uses, and forget the one that rested longest."""
        if lane._users or lane.pins or self._lanes.get(lane.topic) is not lane:
            return
        if lane.state is None:
            del self._lanes[lane.topic]
            return
        self._at_rest[lane.topic] = None
        if len(self._at_rest) > self._remembered:
            forgotten, _ = self._at_rest.popitem(last=False)
            del self._lanes[forgotten]


class _Entry:
    """The `async with` of one caller."""

    __slots__ = ("_lane", "_lanes", "_topic")

    def __init__(self, lanes: Lanes, topic: Topic) -> None:
        self._lanes, self._topic = lanes, topic

    async def __aenter__(self) -> Lane:
        self._lane = await self._lanes._arrive(self._topic)
        return self._lane

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lanes._depart(self._lane)
