"""The seam between the domain and whatever keeps its data.

A store knows rows, not rules: it commits what it is given, all or nothing, and
reads it back. What people wrote is kept apart from what is known about it, so
that it can be erased (`Commit.purge_to`, `Commit.forget`) without a trace.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from .words import Term


class StoreFault(Exception):
    """The store could not do it; nothing was changed."""


class StoreRefused(Exception):
    """The store cannot be opened; the message says why and what to do."""


class SessionRow(Struct, kw_only=True):
    """A session's line in the projection: what lists filter and sort by, and the whole state in bytes.

    Instants are milliseconds UTC. `state` holds nothing that people wrote;
    that is in `Commit.details`.
    """

    id: int
    tenant: str
    key: str
    user: str
    agent: str
    model: str
    channel: str
    source: str
    project: str | None
    lifecycle: str
    pinned: bool
    is_empty: bool
    is_busy: bool
    message_count: int
    tokens: int
    cost_usd: float | None
    created_at: int
    last_activity_at: int
    archived_at: int | None
    deleted_at: int | None
    warn_at: int | None
    expires_at: int | None
    due_at: int | None
    state: bytes


class EventRow(Struct):
    """One event: `body` is the JSON that goes on the wire."""

    seq: int
    type: str
    body: bytes


class Answer(Struct, kw_only=True):
    """A stored answer: `scope` names the call, `fingerprint` its params, `result` is what was answered.

    One that `has_words` of people is erased by `Commit.forget`; another outlives it.
    """

    scope: bytes
    fingerprint: bytes
    at: int
    result: bytes
    has_words: bool


class Commit(Struct, kw_only=True):
    """One change of one session: all of it is stored, or none.

    `details` replaces the session's words (title, labels, metadata), None keeps
    them. `chunks` are pieces of a running turn, gone with `drop_chunks`.
    `purge_to` empties the events up to that seq; `forget` all words beside the
    log. After a purge or a forget the text is in no file when `commit` returns,
    unless another process reads the store for seconds: then soon after.
    `also` is the change of another session that belongs to this one: both are
    stored, or neither.
    """

    session: int
    row: SessionRow | None = None
    events: Sequence[EventRow] = ()
    details: bytes | None = None
    chunks: Sequence[bytes] = ()
    drop_chunks: bool = False
    purge_to: int | None = None
    forget: bool = False
    answer: Answer | None = None
    also: "Commit | None" = None


class StoredSession(Struct):
    """A session as it was last committed."""

    state: bytes
    details: bytes | None


class StoredAnswer(Struct):
    """An earlier answer; `result` is None when it was erased with its session's words."""

    fingerprint: bytes
    session: int
    result: bytes | None


class Retimed(Struct):
    """Another `due_at`, `warn_at` and `expires_at` for a session whose `state` is still this."""

    id: int
    state: bytes
    due_at: int | None
    warn_at: int | None
    expires_at: int | None


class TokenRow(Struct, frozen=True, kw_only=True):
    """A gateway token, of which only the hash is kept. Instants are milliseconds UTC."""

    id: str
    hash: bytes
    user: str
    tenant: str
    roles: list[str]
    scopes: list[str]
    created_at: int
    expires_at: int | None = None
    last_used_at: int | None = None
    revoked_at: int | None = None


class Tally(Struct):
    """Sessions by lifecycle state, how many are near their end, in how many an agent is at work."""

    states: dict[str, int]
    expiring: int
    busy: int


class EventQuery(Struct, kw_only=True):
    """Events of a session with `after < seq < before`; `newest` takes them from the end. Always ascending."""

    session: int
    after: int
    before: int
    limit: int
    max_bytes: int
    types: Sequence[str] = ()
    newest: bool = False


class EventPage(Struct):
    """What was found; `has_more` in the direction of the query."""

    events: list[EventRow]
    has_more: bool


SortBy = Literal[
    "default",
    "lastActivityAt",
    "createdAt",
    "title",
    "key",
    "agent",
    "channel",
    "state",
    "messageCount",
    "tokens",
    "costUsd",
]


class SessionQuery(Struct, kw_only=True):
    """Which sessions, in which order; each member that is there narrows. Deleted ones are in no list.

    `columns` maps a column of SessionRow to the values it may have: none, if
    there are none. `visible_to` limits to a user's own sessions and those of
    `owned_agents`. All `labels` must be there with these values. `archived`
    None: both. `updated_since` is inclusive. `search`: `matching.matches` on
    key, title or channel, or the agent is one of `search_agents`.

    Without `include_empty` a session that is empty, not pinned and `manual` is
    hidden, unless it has the highest id among its tenant's and user's sessions
    that are empty, manual, neither archived nor deleted (pinned ones count).

    Orders compare numbers as such (an unknown cost below all), titles by code
    point after case folding (none is ""), other text by code point; `default`
    is pinned, then last activity. Ties are broken by id, in the same direction.
    `after` is the sort position that a page before ended at, ids last.
    """

    tenant: str | None
    visible_to: str | None = None
    owned_agents: Sequence[str] = ()
    columns: dict[str, Sequence[Any]] = {}
    labels: dict[str, str] = {}
    archived: bool | None = None
    updated_since: int | None = None
    search: str | None = None
    search_agents: Sequence[str] = ()
    include_empty: bool = False
    by: SortBy = "default"
    descending: bool = True
    after: Sequence[Any] | None = None
    limit: int


class SessionPage(Struct):
    """Sessions found, where the page ended, and how many match (at most `COUNT_LIMIT` + 1)."""

    sessions: list[StoredSession]
    last: Sequence[Any] | None
    total: int


COUNT_LIMIT = 10_000


class SearchQuery(Struct, kw_only=True):
    """Messages and tool calls that hold all terms, of the sessions that `sessions` asks for, newest first.

    `before` is where a page before ended. Order, place and limit of `sessions`
    mean nothing here.
    """

    terms: Sequence[Term]
    sessions: SessionQuery
    before: int | None = None
    limit: int


class SearchHit(Struct, kw_only=True):
    """An event that was found, with the text around the first match."""

    key: str
    seq: int
    type: str
    snippet: str
    at: str


class SearchPage(Struct):
    """What was found, and where to go on: there may be more even where the page is not full.

    `is_incomplete` while older messages are still on their way into the index.
    """

    hits: list[SearchHit]
    before: int | None
    is_incomplete: bool = False


class Store(Protocol):
    """Everything durable. Errors are StoreFault; a commit that raised changed nothing."""

    async def next_session_id(self) -> int:
        """A number that no session had before."""

    async def load(self, tenant: str, key: str) -> StoredSession | None:
        """The newest session of this key, deleted ones included."""

    def commit(self, commit: Commit) -> "asyncio.Future[None]":
        """Queue it; done once it is durable. Commits take effect in the order of the calls."""

    async def events(self, query: EventQuery) -> EventPage:
        """Read a part of a log; erased events are not there."""

    async def chunks(self, session: int) -> list[bytes]:
        """The pieces of the running turn that were stored, in order."""

    async def sessions(self, query: SessionQuery) -> SessionPage:
        """Read a page of the projection."""

    async def empty(self, tenant: str, user: str, limit: int) -> list[StoredSession]:
        """A user's newest sessions that could be the one empty session that lists show, the newest first."""

    async def search(self, query: SearchQuery) -> SearchPage:
        """Look for words in what was said; finds all that was committed before the call, or says `is_incomplete`."""

    async def busy(self) -> list[StoredSession]:
        """Sessions with a turn that runs or waits."""

    async def counts(self) -> dict[str, int]:
        """Sessions by lifecycle state, deleted ones apart."""

    async def count_open(self, tenant: str, user: str, agent: str) -> int:
        """A user's sessions with an agent that have not ended."""

    async def expiring(self, now_ms: int) -> int:
        """Sessions within their warning threshold."""

    async def tally(self, tenant: str | None, user: str | None, owned_agents: Sequence[str], now_ms: int) -> Tally:
        """Count what somebody may see: a tenant's (None: all), of it a user's own and those of agents (None: all)."""

    async def load_many(self, topics: Sequence[tuple[str, str]]) -> dict[tuple[str, str], StoredSession]:
        """What `load` gives, for many at once; those that are not there are left out."""

    async def topics(self, sessions: Sequence[int]) -> dict[int, tuple[str, str]]:
        """The tenants and keys of sessions by id, in the order asked for."""

    async def due(self, after: tuple[int, int], until_ms: int, limit: int) -> list[tuple[int, int, int | None]]:
        """The next `due_at`, ids and `expires_at`, ascending, behind `after` and not beyond `until_ms`."""

    async def timed(self, agent: str | None, after: int, limit: int) -> list[tuple[int, StoredSession]]:
        """Sessions of an agent, or of all, that time can still change, by id, behind `after`."""

    async def retime(self, sessions: Sequence[Retimed]) -> None:
        """Take new moments for sessions that have not changed since they were read."""

    async def notes(self, kind: str) -> dict[str, bytes]:
        """Small things that the gateway keeps for itself, by name."""

    async def note(self, kind: str, name: str, value: bytes | None) -> None:
        """Keep one, or forget it; durable when this returns."""

    async def answer(self, scope: bytes) -> StoredAnswer | None:
        """What this call was answered before."""

    async def prune_answers(self, before_ms: int) -> None:
        """Forget answers older than that."""

    async def tokens(self) -> list[TokenRow]:
        """Every gateway token that was ever made, in that order."""

    async def add_token(self, token: TokenRow) -> None:
        """Keep a new one; durable when this returns."""

    async def revoke_token(self, id: str, at_ms: int) -> None:
        """Write down that it was revoked; the first time counts. Durable when this returns."""

    async def touch_tokens(self, used_ms: Mapping[str, int]) -> None:
        """Write down when tokens, by id, were last used."""

    async def writable(self) -> bool:
        """Whether a commit would go through now."""

    async def close(self) -> None:
        """Commit what is queued, let go of the files."""
