"""The rules a session lives by: session > agent > gateway, field by field. Pure.

Durations are minutes and days, as on the wire; deadlines are milliseconds UTC.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from msgspec import UNSET, Struct
from msgspec.structs import asdict

from gateway.settings import AgentPolicySettings, PolicySettings
from rpc_schema.errors import InvalidPolicy, InvalidTimeout
from rpc_schema.naming import camel
from rpc_schema.types import ContextPolicy, ContextPolicyPatch, Policy, PolicyPatch

Overrides = dict[str, Any]
"""Values by field, in the names of the code; `context` holds some of its own fields."""

DEFAULT_CONTEXT = ContextPolicy(policy="summarise", token_budget_ratio=0.7, keep_recent_turns=12)
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_CONTEXT_RANGES: Final = {"token_budget_ratio": (0.1, 0.95), "keep_recent_turns": (1, 1000)}
_TIMES: Final = ("idle_after_minutes", "timeout_minutes", "max_duration_minutes", "warning_threshold_minutes")
_NULL_IS_A_VALUE: Final = ("max_concurrent_per_user", "auto_archive_days")


class Effective(Struct, frozen=True):
    """A policy and, for each field by its wire name, where it comes from."""

    policy: Policy
    sources: dict[str, str]


class Misfit(Struct, frozen=True):
    """A value out of its range, and the nearest within."""

    name: str
    nearest: float
    range: tuple[float, float]


def effective(
    gateway: PolicySettings,
    agent: AgentPolicySettings,
    session: Mapping[str, Any] = _NOTHING,
    clamped: Sequence[str] = (),
    *,
    stored: Mapping[str, Any] = _NOTHING,
) -> Effective:
    """Lay the levels over each other and derive what depends on the result.

    `stored` is what agent.setPolicy has set: it wins over the agent's settings.
    """
    values = {name: getattr(gateway, name) for name in AgentPolicySettings.__struct_fields__}
    sources = dict.fromkeys((*values, "context"), "gateway")
    context = asdict(DEFAULT_CONTEXT)
    for source, overrides in (("agent", _given(agent)), ("agent, set", stored), ("session", session)):
        values |= {name: value for name, value in overrides.items() if name != "context"}
        context |= overrides.get("context", {})
        sources |= dict.fromkeys(overrides, source)
    timeout, longest = values["timeout_minutes"], values["max_duration_minutes"]
    timeout = values["timeout_minutes"] = min(timeout, longest)
    values["warning_threshold_minutes"] = min(values["warning_threshold_minutes"], timeout / 2, longest / 2)
    idle = values["idle_after_minutes"]
    values["idle_after_minutes"] = min(5.0, timeout / 2) if idle is None else min(idle, timeout)
    return Effective(
        Policy(**values, context=ContextPolicy(**context)),
        {camel(name): source for name, source in sources.items()} | dict.fromkeys(clamped, "session, clamped"),
    )


def clamp(patch: PolicyPatch, gateway: PolicySettings) -> tuple[Overrides, tuple[str, ...]]:
    """A new session's overrides, moved into range, and the fields that had to be."""
    given = overrides_of(patch)
    overrides = _without_nulls(given) | {name: given[name] for name in _NULL_IS_A_VALUE if name in given}
    if "context" in overrides:
        overrides["context"] = _without_nulls(overrides["context"])
    timeout = overrides.get("timeout_minutes", gateway.timeout_minutes)
    clamped = []
    for misfit in _misfits(overrides, gateway, timeout):
        _put(overrides, misfit.name, misfit.nearest)
        clamped.append(camel(misfit.name.partition(".")[0]))
    return overrides, tuple(clamped)


def merge(own: Mapping[str, Any], patch: PolicyPatch | None, gateway: PolicySettings, inherited: Policy) -> Overrides:
    """The overrides after a change: what is not said stays, null clears; `inherited` holds where there is none.

    Raises:
        InvalidTimeout, InvalidPolicy: a value is out of its range.
    """
    if patch is None:
        return {}
    given, merged = overrides_of(patch), dict(own)
    for name, value in given.items():
        is_part = name == "context" and value is not None
        kept = _without_nulls({**own.get("context", {}), **value}) or None if is_part else value
        if kept is None:
            merged.pop(name, None)
        else:
            merged[name] = kept
    timeout = min(
        merged.get("timeout_minutes", inherited.timeout_minutes),
        merged.get("max_duration_minutes", inherited.max_duration_minutes),
    )
    for misfit in _misfits({name: value for name, value in merged.items() if name in given}, gateway, timeout):
        low, high = misfit.range
        refusal = InvalidTimeout if misfit.name in _TIMES else InvalidPolicy
        path = ".".join(camel(part) for part in misfit.name.split("."))
        raise refusal(path=f"$.policy.{path}", reason=f"give {low:g} to {high:g}")
    return merged


def overrides_of(patch: PolicyPatch) -> Overrides:
    """What a patch says, null included."""
    return {
        name: _given(value) if isinstance(value, ContextPolicyPatch) else value for name, value in _given(patch).items()
    }


def patch_of(overrides: Mapping[str, Any]) -> PolicyPatch:
    """The patch that says this."""
    context = {"context": ContextPolicyPatch(**overrides["context"])} if "context" in overrides else {}
    return PolicyPatch(**{**overrides, **context})


def _misfits(overrides: Mapping[str, Any], gateway: PolicySettings, timeout: float) -> Iterator[Misfit]:
    """What is out of range; the idle time is measured by the timeout, which comes into its range first."""
    shortest, longest = gateway.min_timeout_minutes, gateway.max_timeout_minutes
    ranges: dict[str, tuple[float, float]] = {
        "timeout_minutes": (shortest, longest),
        "max_duration_minutes": (shortest, 2 * longest),
        "warning_threshold_minutes": (0, longest),
        "idle_after_minutes": (min(1 / 60, shortest), min(max(timeout, shortest), longest)),
        "max_concurrent_per_user": (1, 2**31),
        "auto_archive_days": (1 / 1440, 36500),
    }
    context = overrides.get("context", {})
    values = {f"context.{name}": value for name, value in context.items() if name in _CONTEXT_RANGES}
    ranges |= {f"context.{name}": bounds for name, bounds in _CONTEXT_RANGES.items()}
    values |= {name: value for name, value in overrides.items() if name in ranges and value is not None}
    for name, value in values.items():
        low, high = ranges[name]
        if not low <= value <= high:
            yield Misfit(name, min(max(value, low), high), (low, high))


def _put(overrides: Overrides, name: str, value: float) -> None:
    field, _, inside = name.partition(".")
    overrides[field] = {**overrides[field], inside: value} if inside else value


def _without_nulls(values: Mapping[str, Any]) -> Overrides:
    return {name: value for name, value in values.items() if value is not None}


def _given(values: Struct) -> Overrides:
    return {name: value for name, value in asdict(values).items() if value is not UNSET}
