"""The rules a session lives by: session > agent > gateway, field by field. Pure.

Durations are minutes and days, as on the wire; deadlines are milliseconds UTC.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from msgspec import UNSET, Struct
from msgspec.structs import asdict

from gateway.settings import AgentPolicySettings, PolicySettings
from rpc_schema.naming import camel
from rpc_schema.types import ContextPolicy, Policy, PolicyPatch

from .state import SessionState

DEFAULT_CONTEXT = ContextPolicy(policy="summarise", token_budget_ratio=0.7, keep_recent_turns=12)


class Effective(Struct, frozen=True):
    """A policy and, for each field by its wire name, where it comes from."""

    policy: Policy
    sources: dict[str, str]


def effective(
    gateway: PolicySettings,
    agent: AgentPolicySettings,
    session: Mapping[str, Any] = MappingProxyType({}),
    clamped: Sequence[str] = (),
) -> Effective:
    """Lay the levels over each other and derive what depends on the result."""
    values = {name: getattr(gateway, name) for name in AgentPolicySettings.__struct_fields__}
    sources = dict.fromkeys(values, "gateway")
    own = {name: value for name, value in asdict(agent).items() if value is not UNSET}
    for level, overrides in (("agent", own), ("session", session)):
        for name, value in overrides.items():
            if name in values:
                values[name], sources[name] = value, level
    timeout, longest = values["timeout_minutes"], values["max_duration_minutes"]
    timeout = values["timeout_minutes"] = min(timeout, longest)
    values["warning_threshold_minutes"] = min(values["warning_threshold_minutes"], timeout / 2, longest / 2)
    idle = values["idle_after_minutes"]
    values["idle_after_minutes"] = min(5.0, timeout / 2) if idle is None else min(idle, timeout)
    context = dict(session.get("context", {}))
    sources["context"] = "session" if context else "gateway"
    return Effective(
        Policy(**values, context=ContextPolicy(**{**asdict(DEFAULT_CONTEXT), **context})),
        {camel(name): source for name, source in sources.items()} | dict.fromkeys(clamped, "session, clamped"),
    )


def clamp(patch: PolicyPatch, gateway: PolicySettings) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A new session's overrides, moved into range, and the fields that had to be."""
    given = {name: value for name, value in asdict(patch).items() if value is not UNSET}
    ranges = {
        "timeout_minutes": (gateway.min_timeout_minutes, gateway.max_timeout_minutes),
        "max_duration_minutes": (gateway.min_timeout_minutes, 2 * gateway.max_timeout_minutes),
        "warning_threshold_minutes": (0.0, gateway.max_timeout_minutes),
        "idle_after_minutes": (1 / 60, gateway.max_timeout_minutes),
        "max_concurrent_per_user": (1, 2**31),
        "auto_archive_days": (1 / 1440, 36500.0),
    }
    overrides: dict[str, Any] = {}
    clamped = []
    for name, value in given.items():
        if name == "context":
            overrides[name], moved = _clamp_context(value)
        elif name in ranges and value is not None:
            low, high = ranges[name]
            overrides[name] = min(max(value, low), high)
            moved = overrides[name] != value
        else:
            overrides[name], moved = value, False
        if moved:
            clamped.append(camel(name))
    return overrides, tuple(clamped)


def _clamp_context(patch: Any) -> tuple[dict[str, Any], bool]:
    given = {name: value for name, value in asdict(patch).items() if value is not UNSET}
    kept = {name: value for name, value in given.items() if value is not None}
    if "token_budget_ratio" in kept:
        kept["token_budget_ratio"] = min(max(kept["token_budget_ratio"], 0.1), 0.95)
    if "keep_recent_turns" in kept:
        kept["keep_recent_turns"] = min(max(kept["keep_recent_turns"], 1), 1000)
    return kept, any(kept[name] != given[name] for name in kept)


def deadline_ms(state: SessionState, policy: Policy) -> int:
    """When the session ends if nothing more happens."""
    base = state.last_activity_at if policy.auto_renew else state.created_at
    return min(base + _ms(policy.timeout_minutes), cap_ms(state, policy))


def cap_ms(state: SessionState, policy: Policy) -> int:
    """When the session ends whatever happens."""
    return state.created_at + _ms(policy.max_duration_minutes)


def warn_ms(state: SessionState, policy: Policy) -> int:
    """From when on the session is near its end."""
    return deadline_ms(state, policy) - _ms(policy.warning_threshold_minutes)


def _ms(minutes: float) -> int:
    return round(minutes * 60_000)
