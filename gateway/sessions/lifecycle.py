"""What may happen to a session, and the events it happens by. Pure: no I/O, no clock of its own.

Each decision takes the state and returns events, or raises the error that a
client gets. Writing them down is the journal's.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from msgspec import UNSET, Struct
from msgspec.structs import replace

from gateway.clock import instant
from rpc_schema import errors
from rpc_schema import events as ev
from rpc_schema.lifecycle import UpdateParams
from rpc_schema.types import EndReason, Policy, Source

from .deadlines import archive_ms, cap_ms, deadline_ms, idle_ms, next_end_ms, threshold_ms, timeout_ms
from .policy import Overrides, patch_of
from .state import Details, SessionState, active

EPOCH_BYTES = 6
Busy = Literal["enqueue", "reject", "interrupt"]
Who = Literal["user", "admin"]
PolicyOf = Callable[[SessionState], Policy]


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


class Decision(NamedTuple):
    """The state that the events are folded onto: what time and activity did is not in the log."""

    onto: SessionState
    events: Sequence[ev.AnyEvent] = ()


class Change(Struct, frozen=True, kw_only=True):
    """An update that has been checked: `model`, `policy` and the two after them are as they will be."""

    asked: UpdateParams
    model: str
    is_model_override: bool
    policy: Overrides
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


def check_open(state: SessionState) -> None:
    """Refuse to go on with a session that has ended or is archived."""
    if state.lifecycle == "ended":
        raise _gone(state)
    if state.is_archived:
        raise errors.SessionArchived


def check_talking(state: SessionState) -> None:
    """Refuse what a session takes only while it is live or idle."""
    check_open(state)
    if state.lifecycle == "paused":
        raise errors.SessionPaused


def check_quiet(state: SessionState) -> None:
    """Refuse while a turn runs or is about to; what waits in a paused session does neither."""
    if state.is_busy and state.is_timed:
        raise _busy(state)


def _gone(state: SessionState) -> errors.RpcError:
    ended_at = state.ended_at or state.last_activity_at
    match state.end_reason:
        case "idle_timeout" | "expired" | "max_duration" as reason:
            return errors.SessionExpired(expires_at=instant(state.expired_at or ended_at), reason=reason)
        case "transferred":
            return errors.SessionEnded(
                ended_at=instant(ended_at), reason="transferred", transferred_to=state.transferred_to
            )
        case "admin":
            return errors.SessionEnded(ended_at=instant(ended_at), reason="admin")
        case _:
            return errors.SessionEnded(ended_at=instant(ended_at), reason="user")


def elapse(state: SessionState, policy: Policy, now_ms: int) -> Decision:
    """What time alone has brought about by now: idle, a warning, the end, the archive; mostly nothing."""
    if state.deleted_at is not None:
        return Decision(state)
    if state.lifecycle == "ended":
        archive_at = archive_ms(state, policy)
        is_due = archive_at is not None and archive_at <= now_ms
        return Decision(state, [ev.SessionUpdated(archived_at=instant(now_ms))] if is_due else [])
    if (reason := _run_out(state, policy, now_ms)) is not None:
        end = ev.SessionStateChanged(from_=state.lifecycle, to="ended", reason=reason)
        expired_at = cap_ms(state, policy) if reason == "max_duration" else timeout_ms(state, policy)
        return Decision(replace(state, expired_at=expired_at), [end])
    if not state.is_timed:
        return Decision(state)
    return Decision(state, [*_fall_idle(state, policy, now_ms), *_warn(state, policy, now_ms)])


def _run_out(state: SessionState, policy: Policy, now_ms: int) -> EndReason | None:
    """Why the session's time is up, the earlier reason where there are two; None when it is not."""
    inactive, cap = timeout_ms(state, policy), cap_ms(state, policy)
    if state.is_timed and not state.is_busy and inactive <= now_ms and inactive < cap:
        return "idle_timeout" if policy.auto_renew else "expired"
    return "max_duration" if cap <= now_ms else None


def _fall_idle(state: SessionState, policy: Policy, now_ms: int) -> list[ev.AnyEvent]:
    if state.lifecycle != "live" or state.is_busy or now_ms < idle_ms(state, policy):
        return []
    return [ev.SessionStateChanged(from_="live", to="idle", reason="idle")]


def _warn(state: SessionState, policy: Policy, now_ms: int) -> list[ev.AnyEvent]:
    end = next_end_ms(state, policy, now_ms)
    remaining = end - now_ms
    if state.warned_for == end or not 0 < remaining <= threshold_ms(policy):
        return []
    warning = ev.SessionExpiring(
        cause="max_duration" if end == cap_ms(state, policy) else "timeout",
        expires_at=instant(end),
        minutes_remaining=round(remaining / 60_000, 3),
        time_remaining_ms=remaining,
    )
    return [warning]


def touch(state: SessionState, policy: Policy, now_ms: int) -> Decision:
    """A sign of life: wakes an idle session, and renews unless the end is the longest duration already.

    Raises:
        SessionExpired, SessionEnded, SessionArchived, SessionPaused.
    """
    check_talking(state)
    is_renewed = policy.auto_renew and deadline_ms(state, policy) < cap_ms(state, policy)
    after = active(state, now_ms)
    if not is_renewed:
        return Decision(after, _wake(state))
    after = replace(after, renewal_count=state.renewal_count + 1)
    return Decision(after, [*_wake(state), *_take_back_warning(after, policy, now_ms, auto=True)])


def renew(state: SessionState, policy: Policy, by: str, now_ms: int) -> Decision:
    """A renewal by hand: the whole timeout from now, within the longest duration.

    Raises:
        SessionExpired, SessionEnded, SessionArchived, SessionPaused.
        RenewalFailed: the longest duration is the end already.
    """
    check_talking(state)
    if deadline_ms(state, policy) >= cap_ms(state, policy):
        raise errors.RenewalFailed(
            max_duration_minutes=policy.max_duration_minutes, created_at=instant(state.created_at)
        )
    after = replace(active(state, now_ms), renewed_at=now_ms, paused_ms=0, renewal_count=state.renewal_count + 1)
    end = instant(deadline_ms(after, policy))
    renewed = ev.SessionRenewed(author=by, expires_at=end, renewal_count=after.renewal_count, auto=False)
    return Decision(after, [*_wake(state), renewed])


def reconsider(state: SessionState, policy: Policy, now_ms: int) -> Sequence[ev.AnyEvent]:
    """What a policy that has changed by itself brings about: a warning that came too early is void."""
    return _take_back_warning(state, policy, now_ms, auto=False)


def _wake(state: SessionState) -> list[ev.AnyEvent]:
    return [ev.SessionStateChanged(from_="idle", to="live", reason="activity")] if state.lifecycle == "idle" else []


def _take_back_warning(state: SessionState, policy: Policy, now_ms: int, *, auto: bool) -> list[ev.AnyEvent]:
    """The event by which a warning is void, where the end has moved out since."""
    end = next_end_ms(state, policy, now_ms)
    if state.warned_for is None or not state.is_timed or end <= state.warned_for:
        return []
    return [ev.SessionRenewed(expires_at=instant(end), renewal_count=state.renewal_count, auto=auto)]


def pause(state: SessionState, by: str, who: Who) -> Decision:
    """Stop the clock of inactivity; the caller has stopped the running turn."""
    if state.lifecycle == "paused":
        return Decision(state)
    return Decision(state, [ev.SessionStateChanged(author=by, from_=state.lifecycle, to="paused", reason=who)])


def resume(state: SessionState, by: str, who: Who) -> Decision:
    """Let the clock go on, with what was left."""
    if state.lifecycle != "paused":
        return Decision(state)
    return Decision(state, [ev.SessionStateChanged(author=by, from_="paused", to="live", reason=who)])


def end(state: SessionState, by: str, who: Who) -> Decision:
    """End it; the caller has stopped its turns."""
    if state.lifecycle == "ended":
        return Decision(state)
    return Decision(state, [ev.SessionStateChanged(author=by, from_=state.lifecycle, to="ended", reason=who)])


def archive(state: SessionState, by: str, now_ms: int) -> Decision:
    """Put it away.

    Raises:
        SessionPinned: people want it at hand.
        TurnRunning: it is being written to.
    """
    if state.is_archived:
        return Decision(state)
    if state.pinned:
        raise errors.SessionPinned
    check_quiet(state)
    return Decision(state, [ev.SessionUpdated(author=by, archived_at=instant(now_ms))])


def restore(state: SessionState, by: str) -> Decision:
    """Take it out of the archive."""
    return Decision(state, [ev.SessionUpdated(author=by, archived_at=None)] if state.is_archived else [])


def admit(state: SessionState, if_busy: Busy, queue_limit: int) -> Literal["run", "queue", "interrupt"]:
    """What becomes of a message now.

    Raises:
        TurnRunning: a turn runs and the caller would rather be refused.
        QueueFull: as many messages wait as may.
    """
    if not state.is_busy:
        return "run"
    if if_busy == "reject":
        raise _busy(state)
    if if_busy == "interrupt":
        return "interrupt"
    if len(state.queue) >= queue_limit:
        raise errors.QueueFull(limit=queue_limit)
    return "queue"


def _busy(state: SessionState) -> errors.TurnRunning:
    return errors.TurnRunning(turn=state.turn.id if state.turn is not None else state.queue[0].id)


def update(state: SessionState, change: Change, by: str, policy_of: PolicyOf, now_ms: int) -> Decision:
    """What really changes; no event when nothing does.

    Raises:
        SessionArchived: pin, model and policy of an archived session do not change.
        SessionExpired, SessionEnded: the model and policy of one that has ended do not.
    """
    changes = _changes(state, change)
    if changes.keys() & {"model", "policy"}:
        check_open(state)
    if "pinned" in changes and state.is_archived:
        raise errors.SessionArchived
    if not changes:
        return Decision(state)
    after = replace(state, is_model_override=change.is_model_override, clamped=change.clamped)
    decided: list[ev.AnyEvent] = [ev.SessionUpdated(author=by, **changes)]
    if "policy" in changes:
        ruled = replace(after, details=replace(after.details, policy=change.policy))
        decided += _take_back_warning(ruled, policy_of(ruled), now_ms, auto=False)
    return Decision(after, decided)


def _changes(state: SessionState, change: Change) -> dict[str, Any]:
    """The fields of the event."""
    asked, current = change.asked, state.details
    changes: dict[str, Any] = {}
    if asked.title is not UNSET and (asked.title, "user") != (current.title, current.title_source):
        changes["title"] = asked.title
    if changes.get("title", UNSET) is None and current.title is None:
        del changes["title"]
    if asked.pinned is not UNSET and bool(asked.pinned) != state.pinned:
        changes["pinned"] = bool(asked.pinned)
    if asked.labels is not UNSET and (asked.labels or {}) != current.labels:
        changes["labels"] = asked.labels or {}
    if asked.metadata is not UNSET and (asked.metadata or {}) != current.metadata:
        changes["metadata"] = asked.metadata or {}
    if change.model != state.model:
        changes["model"] = change.model
    if change.policy != current.policy:
        changes["policy"] = patch_of(change.policy)
    return changes


def clear(state: SessionState, by: str) -> ev.Reset:
    """The event that clears everything before it."""
    return ev.Reset(author=by, messages_cleared=state.message_count, cleared_to=state.head)
