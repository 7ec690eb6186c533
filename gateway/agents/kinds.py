"""From an entry of the settings to its agent. The one place that knows the kinds."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from gateway.agents.base import Agent
from gateway.agents.echo import EchoAgent
from gateway.settings import AgentSettings

MAX_DELAY_MS = 60_000
MAX_SILENCE_S = 86_400

_OPENAI_URL = "https://api.openai.com/v1"
_NOT_OPTIONS = ("model", "messages", "stream")  # members of a request that the gateway itself writes


def build(settings: AgentSettings) -> Agent:
    """Make the agent; nothing is connected yet.

    Raises:
        ValueError: a sentence that names the agent, what is wrong and what is allowed.
    """
    return _KINDS[settings.kind](settings)


def _echo(settings: AgentSettings) -> Agent:
    for option in settings.options:
        if option != "delay_ms":
            raise ValueError(f"Agent {settings.id!r}: unknown option {option!r}; kind echo has delay_ms.")
    return EchoAgent(
        id=settings.id,
        provider=settings.provider or settings.kind,
        model=settings.model or "echo",
        delay_ms=_number(settings, "delay_ms", default=20, least=0, most=MAX_DELAY_MS),
    )


def _openai(settings: AgentSettings) -> Agent:
    # Imported here because aiohttp takes 220 ms, which a gateway without such an agent need not pay.
    from gateway.agents.openai import OpenAIAgent

    for option in _NOT_OPTIONS:
        if option in settings.options:
            raise ValueError(
                f"Agent {settings.id!r}: option {option!r} is written by the gateway; "
                f"allowed is any other member of a Chat Completions request, and silence_s."
            )
    return OpenAIAgent(
        id=settings.id,
        provider=settings.provider or settings.kind,
        model=settings.model,
        base_url=_base_url(settings),
        api_key_env=settings.api_key_env,
        system=settings.system,
        silence_s=_number(settings, "silence_s", default=120, least=0.01, most=MAX_SILENCE_S),
        members={name: value for name, value in settings.options.items() if name != "silence_s"},
    )


def _number(settings: AgentSettings, option: str, *, default: float, least: float, most: float) -> float:
    value: Any = settings.options.get(option, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"Agent {settings.id!r}: option {option!r} must be a number from {least:g} to {most:g}.")
    return value


def _base_url(settings: AgentSettings) -> str:
    url = settings.base_url or _OPENAI_URL
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValueError(
            f"Agent {settings.id!r}: base_url must be http:// or https:// with a host, without user or password."
        )
    return url


_KINDS: dict[str, Callable[[AgentSettings], Agent]] = {"echo": _echo, "openai": _openai}
