"""An agent of kind `openai` and the loopback server it asks, for one test."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any
from unittest import mock

import pytest

from gateway.agents.base import Agent, AgentFailure, Finish
from gateway.agents.kinds import build
from gateway.settings import AgentSettings
from tests.chat_completions import ChatServer, Script, chunk
from tests.recording import RecordingOutput, turn_of

KEY = "sk-test-4242424242"
HELLO = (chunk(role="assistant", content=""), chunk(content="hello "), chunk(content="world"), chunk("stop"))


@contextlib.asynccontextmanager
async def serving(script: Script, **fields: Any) -> AsyncIterator[tuple[ChatServer, Agent]]:
    """A server with that script and an agent that asks it, with its key in FAKE_KEY; over in 10 seconds."""
    with mock.patch.dict(os.environ, FAKE_KEY=KEY):
        async with asyncio.timeout(10), ChatServer(script) as server:
            given = {"base_url": server.base_url, "api_key_env": "FAKE_KEY", "model": "fake-1", **fields}
            agent = build(AgentSettings(id="a", kind="openai", **given))
            try:
                yield server, agent
            finally:
                await agent.close()


async def answer_to(script: Script, **fields: Any) -> tuple[RecordingOutput, Finish]:
    """What one turn said, and how it ended."""
    out = RecordingOutput()
    async with serving(script, **fields) as (_, agent):
        return out, await agent.run(turn_of("hi"), out)


async def failure_of(script: Script, **fields: Any) -> tuple[AgentFailure, RecordingOutput]:
    """The failure that a turn ended with, fit to be shown: one line, not long, without the key."""
    out = RecordingOutput()
    async with serving(script, **fields) as (_, agent):
        with pytest.raises(AgentFailure) as caught:
            await agent.run(turn_of("hi"), out)
    failure = caught.value
    assert KEY not in str(failure)
    assert failure.message.isprintable()
    assert len(failure.message) < 400
    return failure, out
