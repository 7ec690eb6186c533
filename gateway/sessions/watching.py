"""Who watches which list, and what a commit means for it. A Follower of the journal.

Whether a session is in a list is told by its state before and after, so no
table of what a client has is kept, and nobody hears of a session that was never
theirs to see. A watch is attached first, then its list is read, then all that
the reading may have seen is awaited: what it is told afterwards is never older
than its list.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from gateway.storage.base import EventRow, SessionQuery, Store
from gateway.storage.matching import is_asked_for, is_hidden
from rpc_schema.types import Session

from .changes import Line, Step
from .empties import Empties, Shift
from .journal import Journal
from .lanes import Lane
from .state import SessionState
from .watches import Watch

_Audience = tuple[str | None, str | None, str | None]
_ANY = ""  # no agent's id


class View:
    """A list as a question; watches that ask for the same share it. `ask` asks anew."""

    def __init__(self, query: SessionQuery, ask: Callable[[], SessionQuery]) -> None:
        self.query, self.ask = query, ask
        self.watches: dict[Watch, None] = {}

    @property
    def hides(self) -> bool:
        """Whether empty sessions are left out."""
        return not self.query.include_empty

    def has(self, state: SessionState | None, newest: int | None) -> bool:
        """Whether a session is in the list; `newest` is the id of its user's newest empty one."""
        return state is not None and self._asks_for(state) and not (self.hides and is_hidden(state, newest))

    def tell(self, shift: Shift, line: Line) -> None:
        """Tell everybody what it means here, if anything.

        A watch whose list is being read may find there what was so in between.
        """
        had, has = self.has(shift.before, shift.newest_before), self.has(shift.after, shift.newest_after)
        is_told = had != has if shift.is_bystander else had or has
        for watch in self.watches:
            if watch.live.is_set():
                if is_told:
                    watch.tell(Step(line, had, has))
            elif had or has or any(map(self._asks_for, shift.course)):
                watch.tell(Step(line, had and not shift.course, has))

    def _asks_for(self, state: SessionState) -> bool:
        return is_asked_for(self.query, state, state.details.title or "", state.details.labels)

    def audiences(self) -> Iterator[_Audience]:
        """Of whose sessions it may have some: a tenant's, a user's, an agent's."""
        query = self.query
        if query.visible_to is None:
            yield query.tenant, None, None
        else:
            yield query.tenant, query.visible_to, None
            for agent in (*query.owned_agents, *([_ANY] if query.owned_agents else [])):
                yield query.tenant, None, agent


class Watching:
    """All watches of this process."""

    def __init__(self, store: Store, summary: Callable[[SessionState], Session]) -> None:
        self._summary = summary
        self._journal: Journal
        self._empties = Empties(store, self._committed_is_told, self._tell_hiding)
        self._views: dict[bytes, View] = {}
        self._by_audience: dict[_Audience, dict[View, None]] = {}

    def settle_with(self, journal: Journal) -> None:
        """Take the journal, which in turn has this as a follower."""
        self._journal = journal

    def attach(self, watch: Watch, ask: Callable[[], SessionQuery]) -> View:
        """From now on it is told what changes in this list, once it is live."""
        query = ask()
        name = _name(query)
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = View(query, ask)
            for audience in view.audiences():
                self._by_audience.setdefault(audience, {})[view] = None
        view.watches[watch] = None
        return view

    def detach(self, watch: Watch, view: View) -> None:
        """It is told nothing more."""
        del view.watches[watch]
        if view.watches:
            return
        del self._views[_name(view.query)]
        for audience in view.audiences():
            views = self._by_audience[audience]
            del views[view]
            if not views:
                del self._by_audience[audience]

    async def settled(self) -> None:
        """Wait until the watches have been told of all that anybody may have read by now."""
        await self._committed_is_told()
        await self._empties.told()

    def committed(self, lane: Lane, before: SessionState | None, after: SessionState, rows: Sequence[EventRow]) -> None:
        """Tell every list that had it or has it now."""
        if not self._views:
            return
        if before is not None and before.id != after.id:
            if (held := self._empties.withdraw(before)) is not None:
                self._tell_hiding([held])
            before = None
        self._hear(before, after)

    def touched(self, state: SessionState) -> None:
        """Tell of a session whose summary changed without a commit: by another policy or name of its agent, say."""
        if self._views:
            self._hear(state, state)

    def outdated(self) -> list[Watch]:
        """The watches of lists that ask for something else by now: other agents are theirs, or have the name."""
        return [watch for view in self._views.values() if view.ask() != view.query for watch in view.watches]

    async def close(self) -> None:
        """Tell nothing more."""
        await self._empties.close()

    async def _committed_is_told(self) -> None:
        await self._journal.settled()

    def _hear(self, before: SessionState | None, after: SessionState) -> None:
        waits = self._is_hiding(after) and self._empties.concerns(before, after)
        if waits:
            self._empties.add(before, after)
        shift, line = Shift(before, after), Line(after, self._summary)
        for view in self._views_of(after):
            if not (waits and view.hides):
                view.tell(shift, line)

    def _tell_hiding(self, shifts: list[Shift]) -> None:
        for shift in shifts:
            line = Line(shift.after, self._summary)
            for view in self._views_of(shift.after):
                if view.hides:
                    view.tell(shift, line)

    def _views_of(self, state: SessionState) -> dict[View, None]:
        """Those whose watchers may see the session."""
        found: dict[View, None] = {}
        for audience in self._audiences(state, state.agent):
            found.update(self._by_audience.get(audience, ()))
        return found

    def _is_hiding(self, state: SessionState) -> bool:
        """Whether somebody may see sessions of this user and leaves out empty ones.

        It need not be somebody who may see this one: it displaces others that
        are with another agent.
        """
        audiences = self._audiences(state, _ANY)
        return any(view.hides for audience in audiences for view in self._by_audience.get(audience, ()))

    @staticmethod
    def _audiences(state: SessionState, agent: str) -> Iterator[_Audience]:
        for tenant in (state.tenant, None):
            yield tenant, None, None
            yield tenant, state.user, None
            yield tenant, None, agent


def _name(query: SessionQuery) -> bytes:
    return msgspec.json.encode(query, order="deterministic")
