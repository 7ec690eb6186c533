"""When time alone will change a session. Pure; milliseconds UTC.

The inactivity clock counts from the last activity where activity renews, else
from the creation or the last renewal by hand. It stands still while the session
is paused, and a turn holds it off.
"""

from typing import NamedTuple

from gateway.clock import DAY_MS
from rpc_schema.types import Policy

from .state import SessionState


class Moments(NamedTuple):
    """What the store keeps of a session's time: when to look after it, from when it is near its end, and that end."""

    due_at: int | None
    warn_at: int | None
    expires_at: int | None


def timeout_ms(state: SessionState, policy: Policy) -> int:
    """When inactivity ends the session, if nothing more happens."""
    if policy.auto_renew:
        base = state.last_activity_at + state.paused_since_activity_ms
    else:
        base = (state.renewed_at or state.created_at) + state.paused_ms
    return base + _ms(policy.timeout_minutes)


def cap_ms(state: SessionState, policy: Policy) -> int:
    """When the session ends whatever happens."""
    return state.created_at + state.uncounted_ms + _ms(policy.max_duration_minutes)


def deadline_ms(state: SessionState, policy: Policy) -> int:
    """When the session ends if nothing more happens."""
    return min(timeout_ms(state, policy), cap_ms(state, policy))


def is_held(state: SessionState, policy: Policy) -> bool:
    """Whether activity goes on and moves the end: a turn runs or is about to."""
    return policy.auto_renew and state.is_busy


def threshold_ms(policy: Policy) -> int:
    """How long before its end a session is near it."""
    return _ms(policy.warning_threshold_minutes)


def idle_ms(state: SessionState, policy: Policy) -> int:
    """When a live session becomes idle, if nothing more happens."""
    since = max(state.last_activity_at + state.paused_since_activity_ms, state.resumed_at or 0)
    return since + _ms(policy.idle_after_minutes)


def archive_ms(state: SessionState, policy: Policy) -> int | None:
    """When a session that has ended goes into the archive; a restored one stays out as long again."""
    if state.lifecycle != "ended" or state.is_archived or state.pinned or policy.auto_archive_days is None:
        return None
    since = max(state.ended_at or 0, state.restored_at or 0)
    return since + round(policy.auto_archive_days * DAY_MS)


def remaining_ms(state: SessionState, policy: Policy, now_ms: int) -> int | None:
    """Time left, as people are told it; what was left when a session was paused; None for one that has ended."""
    if state.lifecycle == "ended":
        return None
    if state.paused_at is None:
        return max(_told_end_ms(state, policy, now_ms) - now_ms, 0)
    frozen = timeout_ms(state, policy) - state.paused_at
    return max(min(frozen, cap_ms(state, policy) - now_ms), 0)


def shown_end_ms(state: SessionState, policy: Policy, now_ms: int) -> int | None:
    """The end as people are told it: none for a paused session, unless its longest duration comes first."""
    if state.lifecycle == "ended":
        return None
    if state.paused_at is None:
        return _told_end_ms(state, policy, now_ms)
    cap = cap_ms(state, policy)
    return cap if now_ms + timeout_ms(state, policy) - state.paused_at >= cap else None


def is_near_end(state: SessionState, policy: Policy, now_ms: int) -> bool:
    """0 < remaining <= threshold: a function of time alone."""
    remaining = remaining_ms(state, policy, now_ms)
    return remaining is not None and 0 < remaining <= threshold_ms(policy)


def _told_end_ms(state: SessionState, policy: Policy, now_ms: int) -> int:
    """When the session ends; the longest duration, once a turn holds off an end that has passed."""
    end = deadline_ms(state, policy)
    return cap_ms(state, policy) if state.is_busy and end <= now_ms else end


def next_end_ms(state: SessionState, policy: Policy, now_ms: int) -> int:
    """The end that a session is warned of: the longest duration alone, while a turn holds off the other."""
    return cap_ms(state, policy) if is_held(state, policy) else _told_end_ms(state, policy, now_ms)


def due_ms(state: SessionState, policy: Policy, now_ms: int) -> int | None:
    """When somebody has to look after the session next: the first moment at which time changes it, or how it looks."""
    if state.deleted_at is not None:
        return None
    if state.lifecycle == "ended":
        return archive_ms(state, policy)
    looks = (moment for moment in _turning_points(state, policy) if moment > now_ms)
    moments = [cap_ms(state, policy), *looks]
    if not state.is_timed:
        return min(moments)
    end = next_end_ms(state, policy, now_ms)
    if not state.is_busy:
        moments.append(end)
        if state.lifecycle == "live":
            moments.append(idle_ms(state, policy))
    warning = end - threshold_ms(policy)
    if state.warned_for != end and warning < end and now_ms < end:
        moments.append(warning)
    return min(moments)


def moments(state: SessionState, policy: Policy, now_ms: int) -> Moments:
    """All of them; a session that inactivity cannot end is near no end."""
    due_at = due_ms(state, policy, now_ms)
    if not state.is_timed:
        return Moments(due_at, None, None)
    end = deadline_ms(state, policy)
    return Moments(due_at, end - threshold_ms(policy), end)


def _turning_points(state: SessionState, policy: Policy) -> list[int]:
    """When the summary changes though nothing happens: the end that is told, and whether it is near."""
    cap, threshold = cap_ms(state, policy), threshold_ms(policy)
    if state.paused_at is not None:
        return [cap - (timeout_ms(state, policy) - state.paused_at), cap - threshold]
    if not state.is_busy:
        return []
    end = deadline_ms(state, policy)
    return [end - threshold, end, cap - threshold]


def _ms(minutes: float) -> int:
    return round(minutes * 60_000)
