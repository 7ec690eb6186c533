"""Agents that are taken out of the settings: their sessions stay, readable and clear about it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.agents.base import Finish, Output, Turn
from gateway.app import Gateway
from tests.e2e.calls import words
from tests.e2e.inside import client_of, gateway_of, settings_of
from tests.fakes import ScriptedAgent, forever
from tests.raw import Json, RawClient, text_of

KEY = "agent:gone:1"


async def answer(turn: Turn, out: Output) -> Finish:
    """What it was asked, said back; `wait` waits."""
    asked = turn.messages[-1]
    out.text(f"you said {asked.content}")
    if asked.content == "wait":
        await forever()
    return "stop"


@asynccontextmanager
async def house(data_dir: Path) -> AsyncIterator[tuple[Gateway, RawClient]]:
    """A gateway that knows the agent, with a session that was held with it."""
    async with gateway_of(data_dir, ScriptedAgent("gone", answer)) as gateway, client_of(gateway) as client:
        await client.call(
            "session.send", key=KEY, content="hello", create={"agent": "gone", "title": "Ours"}, wait=True
        )
        yield gateway, client


async def check_kept(client: RawClient, log: list[Json]) -> None:
    """Everything that reads works, everything that asks the agent says why not, and the session can be let go."""
    assert (await client.call("session.history", key=KEY))["events"] == log
    session = (await client.call("session.status", key=KEY))["session"]
    assert session.items() >= {"title": "Ours", "agent": "gone", "agentName": "Gone", "state": "live"}.items()
    assert [found["key"] for found in (await client.call("session.list"))["sessions"]] == [KEY]
    assert "you said hello" in (await client.call("session.export", key=KEY))["data"]
    assert (await client.call("session.subscribe", key=KEY, since={"seq": 0}))["replay"]["complete"]
    assert (await client.call("session.update", key=KEY, pinned=True))["session"]["pinned"]
    for method, params in {
        "session.send": {"key": KEY, "content": "still there?"},
        "session.create": {"key": "new", "agent": "gone"},
        "agent.get": {"agent": "gone"},
    }.items():
        error = await client.fail(method, **params)
        assert (error["code"], error["data"]["code"], error["data"]["agent"]) == (404, "agent_not_found", "gone")
        assert "agent.list" in error["message"]
    assert (await client.call("session.status", key=KEY))["session"]["messageCount"] == 2
    assert [agent["id"] for agent in (await client.call("agent.list"))["agents"]] == ["echo"]
    await client.call("session.reset", key=KEY)
    await client.call("session.delete", key=KEY)


async def test_gone_after_a_restart(tmp_path: Path) -> None:
    """The settings of the next start do not name it."""
    async with house(tmp_path) as (_, client):
        log = (await client.call("session.history", key=KEY))["events"]
    async with gateway_of(tmp_path) as gateway, client_of(gateway) as client:
        await check_kept(client, log)


async def test_gone_while_it_runs(tmp_path: Path) -> None:
    """Settings that are read again do not name it."""
    async with house(tmp_path) as (gateway, client):
        log = (await client.call("session.history", key=KEY))["events"]
        await gateway.reload(settings_of(tmp_path))
        await check_kept(client, log)


async def test_gone_in_the_middle_of_a_turn(tmp_path: Path) -> None:
    """The turn goes on and can be stopped; the one that waits fails and says why; nothing is stuck."""
    async with house(tmp_path) as (gateway, client):
        await client.call("session.subscribe", key=KEY)
        running = (await client.call("session.send", key=KEY, content="wait"))["turn"]
        waiting = (await client.call("session.send", key=KEY, content="and I"))["turn"]
        await words(client, turn=running)
        await gateway.reload(settings_of(tmp_path))
        assert (await client.call("session.stop", key=KEY, turn=running))["stopped"]
        assert (await client.seen("turn.failed", turn=waiting))["code"] == "agent_unavailable"
        assert text_of(client.deltas(turn=running)) == "you said wait"
        session = (await client.call("session.status", key=KEY))["session"]
        assert (session.get("turn"), session["queued"]) == (None, 0)


async def test_back_again(tmp_path: Path) -> None:
    """Its sessions go on as if nothing had been."""
    async with house(tmp_path):
        pass
    async with gateway_of(tmp_path) as gateway, client_of(gateway) as client:
        await client.fail("session.send", key=KEY, content="still there?")
    async with gateway_of(tmp_path, ScriptedAgent("gone", answer)) as gateway, client_of(gateway) as client:
        result = await client.call("session.send", key=KEY, content="still there?", wait=True)
        assert result["message"]["content"] == "you said still there?"


async def test_settings_that_cannot_be_taken(tmp_path: Path) -> None:
    """An agent that cannot be built changes nothing: the others are as they were."""
    async with house(tmp_path) as (gateway, client):
        broken = settings_of(tmp_path, ScriptedAgent("other", answer))
        broken.agents[1].options["no such option"] = 1
        with pytest.raises(ValueError, match="no such option"):
            await gateway.reload(broken)
        assert [agent["id"] for agent in (await client.call("agent.list"))["agents"]] == ["echo", "gone"]
        assert (await client.call("session.send", key=KEY, content="hi", wait=True))["finishReason"] == "stop"
