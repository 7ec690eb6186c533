"""A gateway in this process, with a clock and agents of the test's own."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from gateway.agents import kinds
from gateway.agents.base import Agent
from gateway.app import Gateway, running
from gateway.clock import Clock
from gateway.config import load
from gateway.settings import AgentSettings, Settings
from tests.fakes import ScriptedAgent
from tests.raw import RawClient, raw_client


def settings_of(data_dir: Path, *agents: ScriptedAgent, **flags: Any) -> Settings:
    """Echo without delay, and these; a flag `limits_queued_turns` says `limits.queued_turns`."""
    said = {name.replace("_", ".", 1): value for name, value in flags.items()}
    settings = load(None, {}, {"server.port": 0, "server.data_dir": str(data_dir)} | said).settings
    echo = AgentSettings(id="echo", kind="echo", name="Echo", options={"delay_ms": 0})
    scripted = [AgentSettings(id=agent.id, kind="echo", name=agent.id) for agent in agents]
    return replace(settings, agents=[echo, *scripted])


@asynccontextmanager
async def gateway_of(
    data_dir: Path, *agents: ScriptedAgent, clock: Clock | None = None, **flags: Any
) -> AsyncIterator[Gateway]:
    """Running, until it is left."""
    by_id: dict[str, Agent] = {agent.id: agent for agent in agents}
    build = kinds.build
    with patch.object(kinds, "build", lambda settings: by_id.get(settings.id) or build(settings)):
        async with running(settings_of(data_dir, *agents, **flags), clock) as gateway:
            yield gateway


def client_of(gateway: Gateway) -> AbstractAsyncContextManager[RawClient]:
    """A connection to it."""
    return raw_client(f"ws://{gateway.authority}/rpc")
