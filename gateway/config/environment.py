"""The environment's names for the settings.

Names only: which variable says which key, and whether a name that nobody knows
is somebody else's or a slip. What the texts stand for is in `values`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from .values import AGENT_POLICY, SETTINGS, Setting, hint, nearest

COMMAND_LINE: Final = ("GATEWAY_CONFIG", "GATEWAY_TOKEN", "GATEWAY_URL")

_SESSION: Final = {
    "SESSION_DEFAULT_TIMEOUT_MINUTES": "timeout_minutes",
    "SESSION_MIN_TIMEOUT_MINUTES": "min_timeout_minutes",
    "SESSION_MAX_TIMEOUT_MINUTES": "max_timeout_minutes",
    "SESSION_MAX_DURATION_MINUTES": "max_duration_minutes",
    "SESSION_WARNING_THRESHOLD_MINUTES": "warning_threshold_minutes",
}
_AGENT_KEYS: Final = ("timeout_minutes", "max_duration_minutes", "warning_threshold_minutes", "auto_renew")
_AGENT: Final = re.compile(rf"AGENT_(.+)_SESSION_({'|'.join(_AGENT_KEYS).upper()})")


class Said(NamedTuple):
    """A variable that says a key."""

    variable: str
    key: str
    setting: Setting
    text: str


def names(section: str, key: str) -> list[str]:
    """All variables that say a key of a section."""
    return [variable for variable, known in _KEYS.items() if known == (section, key)]


def agent_name(agent: str, key: str) -> str | None:
    """Give the variable for one key of one agent's policy, if there is one."""
    return f"AGENT_{_capitals(agent)}_SESSION_{key.upper()}" if key in _AGENT_KEYS else None


def read(environ: Mapping[str, str], agents: Iterable[str]) -> tuple[list[Said], list[str]]:
    """Give what the environment says, and what is wrong with its names.

    Agents whose ids differ only in characters that become `_` share a variable.
    """
    said: list[Said] = []
    problems: list[str] = []
    known = list(agents)
    for variable in sorted(environ.keys() - set(COMMAND_LINE)):
        settings = _settings_of(variable, known)
        said += [Said(variable, key, setting, environ[variable]) for key, setting in settings.items()]
        if not settings and (slip := _slip(variable, known)):
            problems.append(slip)
    return said, problems + list(_contradictions(said))


def _settings_of(variable: str, agents: list[str]) -> dict[str, Setting]:
    if variable in _KEYS:
        section, key = _KEYS[variable]
        return {f"{section}.{key}": SETTINGS[section][key]}
    if match := _AGENT.fullmatch(variable):
        key = match[2].lower()
        named = [agent for agent in agents if _capitals(agent) == match[1]]
        return {f"agents.{agent}.policy.{key}": AGENT_POLICY[key] for agent in named}
    return {}


def _slip(variable: str, agents: list[str]) -> str | None:
    """Say what is wrong with a name that says no key; None when it is none of ours."""
    if match := _AGENT.fullmatch(variable):
        return f"{variable}: there is no such agent; {hint(match[1], sorted(map(_capitals, agents)))}"
    if variable.startswith("GATEWAY_"):
        near = nearest(variable, [*_KEYS, *COMMAND_LINE], cutoff=0.8)
        advice = f"did you mean `{near}`?" if near else "allowed: GATEWAY_<SECTION>_<KEY> of a setting"
        return f"{variable}: there is no such setting; {advice}"
    if variable.startswith("SESSION_") and (near := nearest(variable, _SESSION, cutoff=0.85)):
        return f"{variable}: there is no such setting; did you mean `{near}`?"
    return None


def _contradictions(said: list[Said]) -> Iterator[str]:
    first: dict[str, Said] = {}
    for word in said:
        other = first.setdefault(word.key, word)
        if other.text != word.text:
            yield f"{other.variable} and {word.variable}: both say {word.key}; set one of them"


def _capitals(agent: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", agent.upper())


def _variables() -> Iterator[tuple[str, tuple[str, str]]]:
    for section, settings in SETTINGS.items():
        for key in settings:
            yield f"GATEWAY_{section}_{key}".upper(), (section, key)
            if section == "server":
                yield f"GATEWAY_{key}".upper(), (section, key)
    for variable, key in _SESSION.items():
        yield variable, ("policy", key)


_KEYS: Final = dict(_variables())
