"""Finding sessions: filters, order and pages, answered from the projection alone."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from gateway.agents.roster import Roster
from gateway.storage.base import COUNT_LIMIT, SessionQuery, Store, StoreFault
from gateway.storage.matching import matches
from rpc_schema.directory import Filter, ListParams, ViewParams
from rpc_schema.errors import StoreUnavailable

from . import state as states
from .cursors import Cursors
from .state import SessionState

_COLUMNS = {
    "agent": "agent",
    "channel": "channel",
    "project": "project",
    "user": "user",
    "state": "lifecycle",
    "source": "source",
    "model": "model",
}


class Found(Struct, frozen=True):
    """A page of sessions; `total` is exact unless it is a lower bound."""

    sessions: list[SessionState]
    next_cursor: str | None
    total: int
    total_is_lower_bound: bool


class Visibility(Struct, frozen=True):
    """Whose sessions a caller may see: a tenant's (None: all), narrowed to a user unless that is None."""

    tenant: str | None
    user: str | None


class Directory:
    """Lists sessions without touching transcripts."""

    def __init__(self, store: Store, roster: Roster, cursors: Cursors) -> None:
        self._store, self._roster, self._cursors = store, roster, cursors

    async def list(self, params: ListParams, seen: Visibility) -> Found:
        """One page.

        Raises:
            InvalidCursor: the cursor is not one of this question's.
            StoreUnavailable: it could not be read.
        """
        query, asked = self.query(params, seen), question(params, seen)
        if params.cursor is not UNSET:
            query.after = self._cursors.open(asked, params.cursor)
        try:
            page = await self._store.sessions(query)
        except StoreFault as error:
            raise StoreUnavailable from error
        return Found(
            sessions=[states.decode(stored.state, stored.details) for stored in page.sessions],
            next_cursor=self._cursors.make(asked, page.last) if page.last is not None else None,
            total=min(page.total, COUNT_LIMIT),
            total_is_lower_bound=page.total > COUNT_LIMIT,
        )

    def view(self, params: ViewParams, seen: Visibility) -> SessionQuery:
        """Which sessions the params ask for; two that ask for the same are equal, whatever their order and limit."""
        query = self.query(params, seen)
        query.by, query.descending, query.limit = "default", True, 0
        return query

    def query(self, params: ViewParams, seen: Visibility) -> SessionQuery:
        """The question in the store's words, from the first page on."""
        asked = params.filter if params.filter is not UNSET else Filter()
        columns: dict[str, Sequence[Any]] = {
            column: _values(value) for name, column in _COLUMNS.items() if (value := getattr(asked, name)) is not UNSET
        }
        if asked.tenant is not UNSET:
            columns["tenant"] = _values(asked.tenant)
        if asked.pinned is not UNSET:
            columns["pinned"] = (asked.pinned,)
        if params.view == "scheduled":
            columns["source"] = [s for s in columns.get("source", ("scheduled",)) if s == "scheduled"]
        search = params.search if params.search is not UNSET and params.search else None
        return SessionQuery(
            tenant=seen.tenant,
            visible_to=seen.user,
            owned_agents=self._roster.owned_by(seen.user) if seen.user is not None else (),
            columns=columns,
            labels=asked.label if asked.label is not UNSET else {},
            archived={"archived": True, "all": None}.get(params.view, False),
            updated_since=round(asked.updated_since.timestamp() * 1000) if asked.updated_since is not UNSET else None,
            search=search,
            search_agents=[id for id in self._roster.ids() if matches(self._roster.name(id), search)] if search else (),
            include_empty=params.include_empty or params.view != "active",
            by=params.sort.by if params.sort is not UNSET else "default",
            descending=params.sort.direction == "desc" if params.sort is not UNSET else True,
            limit=params.limit,
        )


def _values(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else (value,)


def question(params: ListParams, seen: Visibility) -> bytes:
    """What a cursor belongs to: all but the page's place and size."""
    parts = (params.view, params.filter, params.search, params.sort, params.include_empty, seen)
    return msgspec.json.encode([None if part is UNSET else part for part in parts], order="deterministic")
