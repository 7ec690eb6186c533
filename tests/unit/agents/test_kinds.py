"""From an entry of the settings to its agent."""

from typing import Any

import pytest

from gateway.agents.kinds import build
from gateway.settings import AgentSettings


def test_echo_with_nothing_said() -> None:
    """The defaults of the documentation."""
    agent = build(AgentSettings(id="echo", kind="echo"))
    assert (agent.id, agent.kind, agent.provider, agent.model) == ("echo", "echo", "echo", "echo")
    assert agent.unavailable() is None


def test_openai() -> None:
    """Labels come from the settings; without a key variable no key is needed."""
    agent = build(AgentSettings(id="support", kind="openai", provider="groq", model="llama", options={"top_p": 1}))
    assert (agent.id, agent.kind, agent.provider, agent.model) == ("support", "openai", "groq", "llama")
    assert agent.unavailable() is None


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("echo", {"options": {"delay": 1}}, "Agent 'a': unknown option 'delay'; kind echo has delay_ms."),
        ("echo", {"options": {"delay_ms": "1"}}, "Agent 'a': option 'delay_ms' must be a number from 0 to 60000."),
        ("echo", {"options": {"delay_ms": True}}, "Agent 'a': option 'delay_ms' must be a number from 0 to 60000."),
        ("echo", {"options": {"delay_ms": -1}}, "Agent 'a': option 'delay_ms' must be a number from 0 to 60000."),
        (
            "echo",
            {"options": {"delay_ms": float("nan")}},
            "Agent 'a': option 'delay_ms' must be a number from 0 to 60000.",
        ),
        ("openai", {"options": {"silence_s": 0}}, "Agent 'a': option 'silence_s' must be a number from 0.01 to 86400."),
        (
            "openai",
            {"options": {"stream": False}},
            "Agent 'a': option 'stream' is written by the gateway; "
            "allowed is any other member of a Chat Completions request, and silence_s.",
        ),
    ],
)
def test_bad_options(kind: Any, fields: dict[str, Any], message: str) -> None:
    """The sentence names the agent, the option and what is allowed."""
    with pytest.raises(ValueError) as caught:
        build(AgentSettings(id="a", kind=kind, **fields))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "url",
    ["localhost:11434/v1", "ftp://host/v1", "http://", "http://me:secret@host/v1", "http://host:port", "http://["],
)
def test_bad_base_url(url: str) -> None:
    """Caught at start, and a password in it is not repeated."""
    with pytest.raises(ValueError, match="Agent 'a': base_url must be") as caught:
        build(AgentSettings(id="a", kind="openai", base_url=url))
    assert "secret" not in str(caught.value)
