"""The settings' part of the reference: every key with what it takes, its default and its variables."""

from collections.abc import Iterator

from msgspec import NODEFAULT

from gateway.config.environment import agent_name, names
from gateway.config.values import AGENT, AGENT_POLICY, SECTIONS, SETTINGS, Setting
from gateway.settings import AgentPolicySettings, AgentSettings

from .markdown import code, table


def sections() -> Iterator[str]:
    yield (
        "A key has its default unless the file says another value (`gateway.toml`, or the one that `--config` or"
        " `GATEWAY_CONFIG` names); the environment counts more than the file, and a flag more than the environment."
        " An unknown key, a wrong type or a value out of range stops the start."
    )
    for name, section in SECTIONS.items():
        yield f"### Section `[{name}]`"
        yield _first_line(section)
        yield table(
            ("key", "must be", "default", "environment", "meaning"),
            [
                (code(key), setting.allowed, _default(setting), _listed(names(name, key)), setting.sentence)
                for key, setting in SETTINGS[name].items()
            ],
        )
    yield "### Section `[[agents]]`"
    yield _first_line(AgentSettings)
    yield table(
        ("key", "must be", "default", "meaning"),
        [(code(key), setting.allowed, _default(setting), setting.sentence) for key, setting in AGENT.items()],
    )
    yield "### Section `[agents.policy]`"
    yield f"{_first_line(AgentPolicySettings)} In the variables `<ID>` is the id in capitals, other characters as `_`."
    yield table(
        ("key", "must be", "default", "environment", "meaning"),
        [
            (code(key), setting.allowed, "as in `[policy]`", _of_an_agent(key), setting.sentence)
            for key, setting in AGENT_POLICY.items()
        ],
    )


def _default(setting: Setting) -> str:
    if setting.default is NODEFAULT:
        return "required"
    match setting.default:
        case None:
            return code("none")
        case float() as number:
            return code(f"{number:g}")
        case value:
            return code(value)


def _of_an_agent(key: str) -> str:
    name = agent_name("id", key)
    return code(name.replace("_ID_", "_<ID>_", 1)) if name else ""


def _listed(variables: list[str]) -> str:
    return ", ".join(map(code, variables))


def _first_line(section: type) -> str:
    return (section.__doc__ or "").splitlines()[0]
