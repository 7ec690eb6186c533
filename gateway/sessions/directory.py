"""Finding sessions: filters, order and pages, answered from the projection alone."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct

from gateway.agents.roster import Roster
from gateway.storage.base import COUNT_LIMIT, SessionQuery, Store, StoreFault
from gateway.storage.matching import matches
from rpc_schema.directory import Filter, ListParams
from rpc_schema.errors import InvalidCursor, StoreUnavailable

from . import state as states
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


class _Cursor(Struct, array_like=True):
    """Where a page ended, with a seal that only this store can make and that holds for one question alone."""

    seal: str
    last: list[Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float | str]


class Directory:
    """Lists sessions without touching transcripts."""

    def __init__(self, store: Store, roster: Roster) -> None:
        self._store, self._roster = store, roster
        self._secret = b""

    async def list(self, params: ListParams, seen: Visibility) -> Found:
        """One page.

        Raises:
            InvalidCursor: the cursor is not one of this question's.
            StoreUnavailable: it could not be read.
        """
        query = self._query(params, seen)
        try:
            self._secret = self._secret or await self._store.secret()
            question = _question(params, seen)
            if params.cursor is not UNSET:
                query.after = _open_cursor(self._secret, question, params.cursor)
            page = await self._store.sessions(query)
        except StoreFault as error:
            raise StoreUnavailable from error
        return Found(
            sessions=[states.decode(stored.state, stored.details) for stored in page.sessions],
            next_cursor=_make_cursor(self._secret, question, page.last) if page.last is not None else None,
            total=min(page.total, COUNT_LIMIT),
            total_is_lower_bound=page.total > COUNT_LIMIT,
        )

    def _query(self, params: ListParams, seen: Visibility) -> SessionQuery:
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


def _question(params: ListParams, seen: Visibility) -> bytes:
    """What a cursor belongs to: all but the page's place and size."""
    question = (params.view, params.filter, params.search, params.sort, params.include_empty, seen)
    return msgspec.json.encode([None if part is UNSET else part for part in question], order="deterministic")


def _make_cursor(secret: bytes, question: bytes, last: Sequence[Any]) -> str:
    sealed = _Cursor(_seal(secret, question, last), list(last))
    return base64.urlsafe_b64encode(msgspec.json.encode(sealed)).decode().rstrip("=")


def _open_cursor(secret: bytes, question: bytes, cursor: str) -> list[Any]:
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        opened = msgspec.json.decode(raw, type=_Cursor)
        seal = _seal(secret, question, opened.last)
    except (binascii.Error, ValueError) as error:
        raise InvalidCursor(reason="it is not a cursor of this gateway") from error
    if not hmac.compare_digest(seal.encode(), opened.seal.encode()):
        raise InvalidCursor(reason="it belongs to a list with another view, filter, search or sort, or was changed")
    return opened.last


def _seal(secret: bytes, question: bytes, last: Sequence[Any]) -> str:
    return hashlib.blake2b(question + msgspec.json.encode(last), digest_size=16, key=secret).hexdigest()
