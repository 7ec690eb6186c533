"""Finding sessions and reading what is in them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from . import errors
from .descriptors import Method
from .events import EventType, LoggedEvent
from .lifecycle import Keys
from .types import Instant, Key, MaxBytes, Params, Part, Policy, Seq, Session, SessionParams, Source, State, Usage, Wire

Words = str | Annotated[list[str], Meta(max_length=100)]


class Filter(Part, kw_only=True):
    """Each member narrows the list; a list of values means any of them."""

    agent: Words | UnsetType = UNSET
    channel: Words | UnsetType = UNSET
    tenant: Words | UnsetType = UNSET
    project: Words | UnsetType = UNSET
    user: Words | UnsetType = UNSET
    state: State | list[State] | UnsetType = UNSET
    source: Source | list[Source] | UnsetType = UNSET
    model: Words | UnsetType = UNSET
    label: Annotated[dict[str, str], Meta(max_length=64, description="All of them must match.")] | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET
    updated_since: Annotated[datetime, Meta(tz=True)] | UnsetType = UNSET


class Sort(Part, kw_only=True):
    """An order; ties are broken so that pages never overlap."""

    by: Literal[
        "lastActivityAt", "createdAt", "title", "key", "agent", "channel", "state", "messageCount", "tokens", "costUsd"
    ]
    direction: Literal["asc", "desc"] = "desc"


class ViewParams(Params, kw_only=True):
    """Which sessions, in which order, how many."""

    view: Annotated[
        Literal["active", "archived", "scheduled", "all"],
        Meta(description="active: all that is not archived, ended ones included."),
    ] = "active"
    filter: Filter | UnsetType = UNSET
    search: (
        Annotated[
            str,
            Meta(
                max_length=200,
                description="Any part of key, title, agent name or channel; under 3 characters the start of a word.",
            ),
        ]
        | UnsetType
    ) = UNSET
    sort: (
        Annotated[Sort, Meta(description="Without one: pinned first, then lastActivityAt descending.")] | UnsetType
    ) = UNSET
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    include_empty: Annotated[bool, Meta(description="Also sessions that never had a message.")] = False


class ListParams(ViewParams, kw_only=True):
    """Which sessions, in which order, how many, and from where on."""

    cursor: Annotated[str, Meta(description="`nextCursor` of the page before.")] | UnsetType = UNSET


class ListResult(Wire, kw_only=True):
    """A page of summaries; `total` is exact up to 10,000."""

    sessions: list[Session]
    next_cursor: str | None = None
    total: int
    total_is_lower_bound: bool = False


class SearchParams(Params, kw_only=True):
    """What to look for, in which sessions; archived and ended ones are searched too."""

    query: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=200,
            description=(
                'All words must be there, in any case, with or without accents; `"in quotes"` they follow each'
                " other; `begin*` stands for every word that begins so (3 characters or more). At most 20 words and"
                " phrases. Every other character only separates words; without any word nothing matches."
            ),
        ),
    ]
    filter: Filter | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(description="`nextCursor` of the page before.")] | UnsetType = UNSET


class Match(Wire, kw_only=True):
    """An event that holds all the words."""

    key: Key
    seq: Seq
    type: Annotated[
        Literal["message.user", "message.assistant", "message.system", "tool.call", "tool.result"],
        Meta(description="Of a tool call its name and input are searched, of its result output and error."),
    ]
    snippet: Annotated[
        str,
        Meta(
            description=(
                "The text around the first match: one line of plain text without any markup, about 160 characters,"
                " `…` where it was cut."
            )
        ),
    ]
    at: Instant


class SearchResult(Wire, kw_only=True):
    """A page of matches, the newest first; with `nextCursor` there may be more, even if the page is not full."""

    matches: list[Match]
    next_cursor: Annotated[
        str | None, Meta(description="A search that looks at very much answers in time with what it has found.")
    ] = None
    incomplete: Annotated[
        bool, Meta(description="True while older messages are still being indexed and cannot be found yet.")
    ] = False


class StatusParams(SessionParams, kw_only=True):
    """Which session, with how many of its newest messages."""

    key: Key
    messages: Annotated[int, Meta(ge=0, le=200)] = 20


class CacheUse(Wire, kw_only=True):
    """How much of the input came from the provider's cache."""

    hit_rate: float
    read_tokens: int
    write_tokens: int
    saved_usd: float | None = None


class StatusResult(Wire, kw_only=True):
    """Everything about a session but its history."""

    session: Session
    metadata: dict[str, Any]
    policy: Policy
    policy_sources: Annotated[
        dict[str, str],
        Meta(
            description="For each policy field `session`, `agent`, `agent, set` (by agent.setPolicy) or `gateway`;"
            " `session, clamped` where a new session asked for what is out of range."
        ),
    ]
    messages: Annotated[list[LoggedEvent], Meta(description="The newest message events, ascending.")]
    usage: Usage
    cache: CacheUse


class HistoryParams(SessionParams, kw_only=True):
    """Which part of the log; without `before` and `after` the newest page."""

    key: Key
    before: Seq | UnsetType = UNSET
    after: Seq | UnsetType = UNSET
    types: Annotated[list[EventType], Meta(max_length=32)] | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    max_bytes: MaxBytes = 1024 * 1024


class HistoryResult(Wire, kw_only=True):
    """A page of events, ascending; `hasMore` in the direction of the page."""

    events: Annotated[list[LoggedEvent], Meta(description="Events, ascending.")]
    has_more: bool
    head: int
    epoch: str


class ExportParams(SessionParams, kw_only=True):
    """Which sessions: `key`, `keys` or `filter`; call again with `nextCursor` until there is none."""

    key: Key | UnsetType = UNSET
    keys: Keys | UnsetType = UNSET
    filter: (
        Annotated[
            Filter,
            Meta(description="All that match, archived ones too, in the order they were made; a tenant stands in it."),
        ]
        | UnsetType
    ) = UNSET
    format: Annotated[
        Literal["jsonl", "markdown", "openai"],
        Meta(
            description="jsonl: header, events, checksum, as session.import takes it. markdown: for people. openai: a"
            ' Chat Completions message list; with `keys` or `filter` a line `{"messages":[…]}` for each session.'
        ),
    ] = "jsonl"
    cursor: str | UnsetType = UNSET
    max_bytes: MaxBytes = 1024 * 1024


class ExportResult(Wire, kw_only=True):
    """A piece of the file; the pieces joined are the whole."""

    data: str
    media_type: str
    filename: str
    next_cursor: str | None = None


LIST = Method(
    name="session.list",
    params=ListParams,
    result=ListResult,
    summary="List sessions, page by page.",
    errors=(errors.InvalidCursor, errors.Forbidden, errors.StoreUnavailable),
)
SEARCH = Method(
    name="session.search",
    params=SearchParams,
    result=SearchResult,
    summary="Search all that was said, by people, agents and tools.",
    errors=(errors.InvalidCursor, errors.Forbidden, errors.StoreUnavailable),
)
STATUS = Method(
    name="session.status",
    params=StatusParams,
    result=StatusResult,
    summary="Read a session's summary, metadata, policy, usage and newest messages.",
    errors=errors.REACHING_A_SESSION,
)
HISTORY = Method(
    name="session.history",
    params=HistoryParams,
    result=HistoryResult,
    summary="Read a session's log, page by page.",
    errors=errors.REACHING_A_SESSION,
)
EXPORT = Method(
    name="session.export",
    params=ExportParams,
    result=ExportResult,
    summary="Export sessions: as JSON Lines with a checksum, for people, or as messages for a model.",
    errors=(
        *errors.REACHING_A_SESSION,
        errors.InvalidCursor,
    ),
)
METHODS = (LIST, SEARCH, STATUS, HISTORY, EXPORT)
