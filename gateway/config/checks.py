"""What settings can only get wrong together, or with the rest of the gateway.

Pure: settings in, sentences out. What the options of a kind of agent may be is
known to `agents.kinds`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import UNSET

from gateway.settings import AgentSettings, Settings


def disagreements(settings: Settings, sources: Mapping[str, str]) -> list[str]:
    """Give a sentence for each, none of them twice."""
    problems = [*_policy(_Effective(settings, sources))]
    for agent in settings.agents:
        problems += _policy(_Effective(settings, sources, agent))
        problems += _agent(agent, sources)
    return list(dict.fromkeys(problems))


class _Effective:
    """The policy of the gateway or of one agent: each value, and who said it where."""

    def __init__(self, settings: Settings, sources: Mapping[str, str], agent: AgentSettings | None = None) -> None:
        self._settings, self._sources, self._agent = settings, sources, agent

    def value(self, key: str) -> Any:
        own = self._own(key)
        return getattr(self._settings.policy, key) if own is UNSET else own

    def named(self, key: str) -> str:
        place = "policy" if self._agent is None or self._own(key) is UNSET else f"agents.{self._agent.id}.policy"
        return f"{place}.{key} ({self._sources[f'{place}.{key}']})"

    def _own(self, key: str) -> Any:
        return getattr(self._agent.policy, key, UNSET) if self._agent else UNSET


def _policy(policy: _Effective) -> Iterator[str]:
    low, high = policy.value("min_timeout_minutes"), policy.value("max_timeout_minutes")
    smallest, largest = policy.named("min_timeout_minutes"), policy.named("max_timeout_minutes")
    if low > high:
        yield f"{smallest} must be at most {high:.10g}, which is {largest}, got {low:.10g}"
        return
    timeout, duration, idle = map(policy.value, ("timeout_minutes", "max_duration_minutes", "idle_after_minutes"))
    if not low <= timeout <= high:
        allowed = f"from {low:.10g} to {high:.10g}, which are {smallest} and {largest}"
        yield f"{policy.named('timeout_minutes')} must be {allowed}, got {timeout:.10g}"
    if not low <= duration <= 2 * high:
        allowed = f"from {low:.10g} to {2 * high:.10g}, which are {smallest} and twice {largest}"
        yield f"{policy.named('max_duration_minutes')} must be {allowed}, got {duration:.10g}"
    if idle is not None and idle > timeout:
        allowed = f"at most {timeout:.10g}, which is {policy.named('timeout_minutes')}"
        yield f"{policy.named('idle_after_minutes')} must be {allowed}, got {idle:.10g}"


def _agent(agent: AgentSettings, sources: Mapping[str, str]) -> Iterator[str]:
    def named(key: str) -> str:
        place = f"agents.{agent.id}"
        source = sources[f"{place}.{key}"]
        return f"{place}.{key} ({sources[f'{place}.kind'] if source == 'default' else source})"

    if agent.kind == "openai" and not agent.model:
        yield f"{named('model')} must be set: kind openai has no model of its own"
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*|", agent.api_key_env):
        # Not shown: it may be the key itself.
        yield f"{named('api_key_env')} must be the name of an environment variable, not the key"
