"""What may happen to a session, and the events it happens by. Pure: no I/O, no clock of its own.

Each decision takes the state and returns events, or raises the error that a
client gets. Writing them down is the journal's.
"""

import secrets
from typing import Any, Literal

from msgspec import UNSET, Struct
from msgspec.structs import replace

from gateway.clock import instant
from rpc_schema import errors
from rpc_schema import events as ev
from rpc_schema.lifecycle import UpdateParams
from rpc_schema.types import Policy, Source

from .policy import cap_ms, deadline_ms
from .state import Details, SessionState

EPOCH_BYTES = 6
Busy = Literal["enqueue", "reject", "interrupt"]


class Birth(Struct, frozen=True, kw_only=True):
    """What a new session is made of, all checked."""

    id: int
    tenant: str
    key: str
    user: str
    agent: str
    provider: str
    model: str
    is_model_override: bool
    channel: str
    source: Source
    project: str | None
    pinned: bool
    details: Details
    clamped: tuple[str, ...]


def create(birth: Birth, by: str, now_ms: int) -> tuple[SessionState, ev.SessionCreated]:
    """The state before the first event, and that event."""
    state = SessionState(
        id=birth.id,
        tenant=birth.tenant,
        key=birth.key,
        epoch=secrets.token_urlsafe(EPOCH_BYTES),
        user=birth.user,
        agent=birth.agent,
        provider=birth.provider,
        model=birth.model,
        is_model_override=birth.is_model_override,
        channel=birth.channel,
        source=birth.source,
        project=birth.project,
        created_at=now_ms,
        last_activity_at=now_ms,
        pinned=birth.pinned,
        clamped=birth.clamped,
        details=birth.details,
    )
    created = ev.SessionCreated(
        author=by, agent=birth.agent, model=birth.model, source=birth.source, channel=birth.channel
    )
    return state, created


def check_revision(state: SessionState, if_revision: Any) -> None:
    """Refuse a caller who decided on an older state."""
    if if_revision is not UNSET and if_revision != state.revision:
        raise errors.RevisionMismatch(revision=state.revision)


def check_open(state: SessionState, policy: Policy) -> None:
    """Refuse what an ended or archived session does not take."""
    if state.archived_at is not None:
        raise errors.SessionArchived
    if state.lifecycle != "ended":
        return
    ended_at = instant(state.ended_at or state.last_activity_at)
    match state.end_reason:
        case "idle_timeout" | "expired" | "max_duration" as reason:
            raise errors.SessionExpired(expires_at=instant(deadline_ms(state, policy)), reason=reason)
        case "admin":
            raise errors.SessionEnded(ended_at=ended_at, reason="admin")
        case "transferred":
            raise errors.SessionEnded(ended_at=ended_at, reason="transferred", transferred_to=state.transferred_to)
        case _:
            raise errors.SessionEnded(ended_at=ended_at, reason="user")


def expire(state: SessionState, policy: Policy, now_ms: int) -> list[ev.AnyEvent]:
    """The end of a session whose time is up; nothing before that, or while a turn holds it off."""
    deadline, cap = deadline_ms(state, policy), cap_ms(state, policy)
    if state.lifecycle not in ("live", "idle") or state.deleted_at is not None or now_ms < deadline:
        return []
    if state.turn is None and deadline < cap:  # it came first, however late this is
        reason: Any = "idle_timeout" if policy.auto_renew else "expired"
    elif cap <= now_ms:
        reason = "max_duration"
    else:
        return []
    return [ev.SessionStateChanged(from_=state.lifecycle, to="ended", reason=reason)]


def renews(state: SessionState, policy: Policy) -> bool:
    """Whether activity moves the session's end: not once the end is the longest duration."""
    return policy.auto_renew and deadline_ms(state, policy) < cap_ms(state, policy)


def admit(state: SessionState, if_busy: Busy, queue_limit: int) -> Literal["run", "queue", "interrupt"]:
    """What becomes of a message now.

    Raises:
        TurnRunning: a turn runs and the caller would rather be refused.
        QueueFull: as many messages wait as may.
    """
    if not state.is_busy:
        return "run"
    if if_busy == "reject":
        raise errors.TurnRunning(turn=state.turn.id if state.turn is not None else state.queue[0].id)
    if if_busy == "interrupt":
        return "interrupt"
    if len(state.queue) >= queue_limit:
        raise errors.QueueFull(limit=queue_limit)
    return "queue"


def update(state: SessionState, params: UpdateParams, by: str) -> list[ev.AnyEvent]:
    """What really changes; no event when nothing does."""
    if params.pinned is not UNSET and state.archived_at is not None and params.pinned != state.pinned:
        raise errors.SessionArchived
    changes: dict[str, Any] = {}
    current = state.details
    if params.title is not UNSET and (params.title, "user") != (current.title, current.title_source):
        changes["title"] = params.title
    if params.pinned is not UNSET and params.pinned != state.pinned:
        changes["pinned"] = params.pinned
    if params.labels is not UNSET and (params.labels or {}) != current.labels:
        changes["labels"] = params.labels or {}
    if params.metadata is not UNSET and (params.metadata or {}) != current.metadata:
        changes["metadata"] = params.metadata or {}
    if changes.get("title", UNSET) is None and current.title is None:
        del changes["title"]
    return [ev.SessionUpdated(author=by, **changes)] if changes else []


def clear(state: SessionState, by: str) -> ev.Reset:
    """The event that clears everything before it."""
    return ev.Reset(author=by, messages_cleared=state.message_count, cleared_to=state.head)


def touch_renewal(state: SessionState) -> SessionState:
    """The state after a renewal that no event marks."""
    return replace(state, renewal_count=state.renewal_count + 1)
