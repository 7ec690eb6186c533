"""The file: which one, its syntax, and the keys it says.

What a key takes is in `values`; a value is looked at by `config`.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from .values import AGENT, AGENT_POLICY, SETTINGS, ConfigError, Refused, Setting, hint, shown

DEFAULT: Final = Path("gateway.toml")


class Said(NamedTuple):
    """A key that the file says."""

    key: str
    setting: Setting
    value: Any


class File(NamedTuple):
    """What a file says, the ids of its agents in order, and what is wrong with its keys."""

    name: str
    said: list[Said]
    agents: list[str]
    problems: list[str]


def read(path: Path | None, environ: Mapping[str, str]) -> File:
    """Read the file named by `path`, else by GATEWAY_CONFIG, else ./gateway.toml if it is there.

    Raises:
        ConfigError: the file cannot be read or is not TOML.
    """
    if path is not None:
        return _sorted_out(str(path), _parse(path, "--config: "))
    if named := environ.get("GATEWAY_CONFIG"):
        return _sorted_out(named, _parse(Path(named), "GATEWAY_CONFIG: "))
    if DEFAULT.exists():
        return _sorted_out(str(DEFAULT), _parse(DEFAULT))
    return _sorted_out(str(DEFAULT), {})


def _parse(path: Path, named_by: str = "") -> dict[str, Any]:
    try:
        text = path.read_bytes().decode()
        return tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{named_by}{path} must be a file that can be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: must be UTF-8, byte {error.start} is not") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}, {_place(str(error), text)}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: a number is too long or arrays are nested too deep") from error


def _place(message: str, text: str) -> str:
    """Put the place in front: tomllib says it last, and names the end of the document only as that."""
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message, re.DOTALL)
    if found is None:
        return message
    what, line, column = found.groups()
    lines = text.split("\n")
    return f"line {line or len(lines)}, column {column or len(lines[-1]) + 1}: {what[:1].lower()}{what[1:]}"


def _sorted_out(name: str, document: Mapping[str, Any]) -> File:
    file = File(name, [], [], [])
    for section, table in document.items():
        if section == "agents":
            _take_agents(file, table)
        elif section in SETTINGS:
            _take_table(file, section, table, SETTINGS[section])
        else:
            file.problems.append(f"{name}: there is no section {section}; {_section_hint(section)}")
    return file


def _section_hint(word: str) -> str:
    home = next((section for section, settings in SETTINGS.items() if word in settings), None)
    return f"did you mean `{home}.{word}`?" if home else hint(word, [*SETTINGS, "agents"])


def _take_agents(file: File, tables: Any) -> None:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        file.problems.append(f"{file.name}: agents must be tables, each under [[agents]], got {shown(tables)}")
        return
    for place, table in enumerate(tables, start=1):
        if agent := _agent_id(file, place, table):
            _take_agent(file, agent, table)


def _agent_id(file: File, place: int, table: Mapping[str, Any]) -> str | None:
    try:
        agent: str = AGENT["id"].accept(table.get("id"))
    except Refused as refused:
        file.problems.append(f"{file.name}: id of agent {place} must be {refused}, got {shown(table.get('id'))}")
        return None
    if agent in file.agents:
        file.problems.append(f"{file.name}: agents.{agent} is there twice; each id must be another")
        return None
    return agent


def _take_agent(file: File, agent: str, table: Mapping[str, Any]) -> None:
    file.agents.append(agent)
    if "kind" not in table:
        file.problems.append(f"{file.name}: agents.{agent}.kind must be {AGENT['kind'].allowed}, got nothing")
    own = {key: value for key, value in table.items() if key != "policy"}
    _take_table(file, f"agents.{agent}", own, AGENT)
    _take_table(file, f"agents.{agent}.policy", table.get("policy", {}), AGENT_POLICY)


def _take_table(file: File, place: str, table: Any, known: Mapping[str, Setting]) -> None:
    if not isinstance(table, dict):
        file.problems.append(f"{file.name}: {place} must be a table, got {shown(table)}")
        return
    for key, value in table.items():
        if key in known:
            file.said.append(Said(f"{place}.{key}", known[key], value))
        else:
            file.problems.append(f"{file.name}: there is no setting {place}.{key}; {hint(key, known)}")
