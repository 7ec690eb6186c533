"""Where the settings come from: defaults < file < environment < flags.

Read once, at start and again on reload. Whatever is wrong is said at once, a
problem a line, each with the file, variable or flag that said it, the key and
what is allowed. What a key takes is in `values`, what the two sources
say in `file` and `environment`, what only settings together can get wrong
in `checks`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import UNSET, Struct, structs

from gateway.settings import AgentPolicySettings, AgentSettings, PolicySettings, Settings

from . import environment, file
from .checks import disagreements
from .values import AGENT, AGENT_POLICY, SECTIONS, SETTINGS, ConfigError, Refused, shown

__all__ = ["ConfigError", "Loaded", "describe", "flag_name", "load"]

_ECHO: Final = {"id": "echo", "kind": "echo", "name": "Echo", "options": {"delay_ms": 20}}
_SECRETS: Final = ("key", "token", "secret", "password", "authorization")


class Loaded(Struct, frozen=True):
    """The settings, and for each dotted key its source: default, file NAME, environment VAR or flag --x.

    An agent's keys are `agents.<id>.<key>`.
    """

    settings: Settings
    sources: dict[str, str]


def load(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Loaded:
    """Read the settings anew.

    `path` is the file that the command line names; without one GATEWAY_CONFIG
    does, else it is ./gateway.toml if that is there. `flags` maps dotted keys to
    values; None is a flag that was not given.

    Raises:
        ConfigError: the settings cannot be used; the message says all that is wrong.
    """
    draft = _Draft()
    draft.take_file(file.read(path, environ))
    draft.take_environment(environ)
    draft.take_flags(flags)
    return draft.finish()


def describe(loaded: Loaded) -> list[tuple[str, Any, str]]:
    """Give every key with its value and its source, secrets masked."""
    return [(key, _masked(value), loaded.sources[key]) for key, value in _flat(loaded.settings).items()]


def flag_name(key: str) -> str:
    """Give the flag that says a dotted key."""
    section, name = key.split(".")
    words = {"server": name, "store": section}.get(section, f"{section}_{name}")
    return "--" + words.replace("_", "-")


class _Draft:
    """What was said so far: the last word on a key counts, and each wrong one is a problem."""

    def __init__(self) -> None:
        self.agents: list[str] = []
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.problems: list[str] = []

    def take_file(self, read: file.File) -> None:
        self.problems += read.problems
        self.agents += read.agents
        if "echo" not in self.agents:
            self.agents.insert(0, "echo")
            self.values |= {f"agents.echo.{key}": value for key, value in _ECHO.items()}
        for said in read.said:
            self._say(said.key, f"file {read.name}", said.setting.accept, said.value)

    def take_environment(self, environ: Mapping[str, str]) -> None:
        everything, problems = environment.read(environ, self.agents)
        self.problems += problems
        for said in everything:
            self._say(said.key, f"environment {said.variable}", said.setting.read, said.text)

    def take_flags(self, flags: Mapping[str, Any]) -> None:
        for key, value in flags.items():
            section, name = key.split(".")
            setting = SETTINGS[section][name]
            if value is not None:
                take = setting.read if isinstance(value, str) else setting.accept
                self._say(key, f"flag {flag_name(key)}", take, value)

    def _say(self, key: str, source: str, take: Callable[[Any], Any], value: Any) -> None:
        try:
            self.values[key] = take(value)
        except Refused as refused:
            who = source.partition(" ")[2]
            self.problems.append(f"{who}: {key} must be {refused}, got {shown(value)}")
        else:
            self.sources[key] = source

    def finish(self) -> Loaded:
        _refuse(self.problems)
        sections: dict[str, Any] = {
            name: section(**self._table(name, SETTINGS[name])) for name, section in SECTIONS.items()
        }
        sections["policy"] = self._within_bounds(sections["policy"])
        settings = Settings(**sections, agents=[self._agent(agent) for agent in self.agents])
        loaded = Loaded(settings, {key: self.sources.get(key, "default") for key in _flat(settings)})
        _refuse(disagreements(loaded.settings, loaded.sources))
        return loaded

    def _within_bounds(self, policy: PolicySettings) -> PolicySettings:
        """Let the defaults give way to bounds that were said; what was said itself is checked, not moved."""
        low, high = policy.min_timeout_minutes, policy.max_timeout_minutes
        highest = {"timeout_minutes": high, "max_duration_minutes": 2 * high}
        unsaid = {key: most for key, most in highest.items() if f"policy.{key}" not in self.values}
        return structs.replace(policy, **{key: min(max(getattr(policy, key), low), unsaid[key]) for key in unsaid})

    def _agent(self, agent: str) -> AgentSettings:
        place = f"agents.{agent}"
        policy = AgentPolicySettings(**self._table(f"{place}.policy", AGENT_POLICY))
        said = {key: value for key, value in self._table(place, AGENT).items() if value != ""}
        by_default = {"name": agent.capitalize(), "provider": said["kind"]}
        return AgentSettings(**by_default | said, policy=policy)

    def _table(self, place: str, known: Iterable[str]) -> dict[str, Any]:
        return {key: self.values[f"{place}.{key}"] for key in known if f"{place}.{key}" in self.values}


def _flat(settings: Settings) -> dict[str, Any]:
    values = {
        f"{section}.{key}": getattr(getattr(settings, section), key)
        for section in SETTINGS
        for key in SETTINGS[section]
    }
    for agent in settings.agents:
        place = f"agents.{agent.id}"
        values |= {f"{place}.{key}": getattr(agent, key) for key in AGENT}
        policy = {f"{place}.policy.{key}": getattr(agent.policy, key) for key in AGENT_POLICY}
        values |= {key: value for key, value in policy.items() if value is not UNSET}
    return values


def _masked(value: Any) -> Any:
    match value:
        case dict():
            return {key: "***" if key.lower().endswith(_SECRETS) else _masked(member) for key, member in value.items()}
        case list():
            return [_masked(item) for item in value]
        case str():
            return re.sub(r"(?<=://)[^/@]+(?=@)", "***", value)
        case _:
            return value


def _refuse(problems: Iterable[str]) -> None:
    if text := "\n".join(problems):
        raise ConfigError(text)
