"""The exchange with a Chat Completions server, on a real socket: what is asked and with which key."""

import os

import pytest

from gateway.agents.base import AgentFailure, AssistantMessage, SystemMessage, ToolMessage, ToolUse, UserMessage
from gateway.agents.kinds import build
from gateway.settings import AgentSettings
from tests.chat_completions import DONE, stream
from tests.openai_agent import HELLO, KEY, serving
from tests.recording import RecordingOutput, turn_of


async def test_request() -> None:
    """One POST with the model, the system prompt first, the stream with its usage asked for, and the options."""
    async with serving(stream(*HELLO, DONE), system="Be kind.", options={"temperature": 0.5, "silence_s": 9}) as (
        server,
        agent,
    ):
        await agent.run(turn_of("hi"), RecordingOutput())
    [exchange] = server.exchanges
    assert exchange.path == "/v1/chat/completions"
    assert exchange.headers["Authorization"] == f"Bearer {KEY}"
    assert exchange.headers["Content-Type"] == "application/json"
    assert exchange.body == {
        "model": "fake-1",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
    }


async def test_conversation() -> None:
    """Every kind of message in the server's words; arguments are JSON text again."""
    messages = (
        SystemMessage("a note"),
        UserMessage("what time is it?"),
        AssistantMessage("", (ToolUse(call_id="c1", name="now", input={"zone": "CET"}),)),
        ToolMessage("c1", "12:00"),
        AssistantMessage("noon", (ToolUse(call_id="c2", name="ring", input="{broken"),)),
        ToolMessage("c2", "rang"),
        AssistantMessage("bim bam"),
        UserMessage("thanks"),
    )
    async with serving(stream(*HELLO, DONE)) as (server, agent):
        await agent.run(turn_of("", messages=messages, model="other"), RecordingOutput())
    assert server.exchanges[0].body["model"] == "other"
    assert server.exchanges[0].body["messages"] == [
        {"role": "system", "content": "a note"},
        {"role": "user", "content": "what time is it?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "now", "arguments": '{"zone":"CET"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "12:00"},
        {
            "role": "assistant",
            "content": "noon",
            "tool_calls": [{"id": "c2", "type": "function", "function": {"name": "ring", "arguments": '"{broken"'}}],
        },
        {"role": "tool", "tool_call_id": "c2", "content": "rang"},
        {"role": "assistant", "content": "bim bam"},
        {"role": "user", "content": "thanks"},
    ]


async def test_without_key_and_model() -> None:
    """A local server needs neither: no header, no member."""
    async with serving(stream(*HELLO, DONE), api_key_env="", model="") as (server, agent):
        await agent.run(turn_of("hi"), RecordingOutput())
    assert "Authorization" not in server.exchanges[0].headers
    assert "model" not in server.exchanges[0].body


@pytest.mark.parametrize(
    ("suffix", "path"), [("/", "/v1/chat/completions"), ("?api-version=7", "/v1/chat/completions?api-version=7")]
)
async def test_base_url(suffix: str, path: str) -> None:
    """A slash at the end is one too many, a query stays a query."""
    async with serving(stream(*HELLO, DONE)) as (server, _):
        agent = build(AgentSettings(id="b", kind="openai", base_url=server.base_url + suffix))
        await agent.run(turn_of("hi"), RecordingOutput())
        await agent.close()
    assert server.exchanges[0].path == path


async def test_long_conversation() -> None:
    """Several megabytes go out without a warning."""
    async with serving(stream(*HELLO, DONE)) as (server, agent):
        await agent.run(turn_of("x" * 3_000_000), RecordingOutput())
    assert len(server.exchanges[0].said) == 3_000_000


@pytest.mark.parametrize("value", ["", "  ", "two\nlines", "klíč"])
async def test_unusable_key(value: str) -> None:
    """The variable is named, its value is not, and the server is not asked."""
    async with serving(stream(*HELLO, DONE)) as (server, agent):
        assert agent.unavailable() is None
        os.environ["FAKE_KEY"] = value
        reason = agent.unavailable()
        out = RecordingOutput()
        with pytest.raises(AgentFailure) as caught:
            await agent.run(turn_of("hi"), out)
    assert reason is not None
    assert "FAKE_KEY" in reason
    assert not value.strip() or value not in reason
    assert (caught.value.code, caught.value.message) == ("agent_unavailable", reason)
    assert out.entries == []
    assert server.exchanges == []


async def test_key_is_read_for_each_turn() -> None:
    """A key that was replaced counts at once, also with white space around it."""
    async with serving(stream(*HELLO, DONE)) as (server, agent):
        await agent.run(turn_of("hi"), RecordingOutput())
        os.environ["FAKE_KEY"] = " new-key\n"
        await agent.run(turn_of("hi"), RecordingOutput())
    assert [exchange.headers["Authorization"] for exchange in server.exchanges] == [f"Bearer {KEY}", "Bearer new-key"]
