"""Finding sessions and reading what is in them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from . import errors
from .descriptors import Method
from .events import EventType, LoggedEvent
from .lifecycle import Keys
from .types import Key, MaxBytes, Params, Part, Policy, Seq, Session, SessionParams, Source, State, Usage, Wire

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


class ListParams(Params, kw_only=True):
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
    cursor: Annotated[str, Meta(description="`nextCursor` of the page before.")] | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    include_empty: Annotated[bool, Meta(description="Also sessions that never had a message.")] = False


class ListResult(Wire, kw_only=True):
    """A page of summaries; `total` is exact up to 10,000."""

    sessions: list[Session]
    next_cursor: str | None = None
    total: int
    total_is_lower_bound: bool = False


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
        Meta(description="For each policy field: session, agent or gateway; a clamped value says so."),
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
    """Which sessions; call again with `nextCursor` until there is none."""

    key: Key | UnsetType = UNSET
    keys: Keys | UnsetType = UNSET
    format: Literal["jsonl"] = "jsonl"
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
    summary="Export sessions as JSON Lines with a checksum.",
    errors=(
        *errors.REACHING_A_SESSION,
        errors.InvalidCursor,
    ),
)
METHODS = (LIST, STATUS, HISTORY, EXPORT)
