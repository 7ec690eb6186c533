"""Agents that misbehave: whatever they do, their turn ends once, says so, and the session goes on."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.agents.base import AgentFailure, Finish, Output, Turn
from tests.e2e.calls import words
from tests.e2e.inside import client_of, gateway_of
from tests.e2e.scripted import KEY, check_well, send, sent, talk
from tests.fakes import ScriptedAgent, forever
from tests.raw import said


async def test_one_that_breaks(tmp_path: Path) -> None:
    """A bug is told as one, with an id for the log and without its text."""

    async def script(turn: Turn, out: Output) -> Finish:
        out.text("so far")
        raise RuntimeError("the secret of the house")

    async with talk(tmp_path, script) as client:
        answer = await sent(client)
        assert (answer["finishReason"], answer["failure"]["code"]) == ("failed", "agent_failed")
        assert (answer["message"]["content"], answer["message"]["partial"]) == ("so far", True)
        assert "secret" not in str(client.heard)
        await check_well(client, answer["turn"])


@pytest.mark.parametrize("message", ["half \ud800 a character", "", "\x00", "x" * 100_000])
async def test_one_that_fails_with_any_message(tmp_path: Path, message: str) -> None:
    """Its message reaches the client as valid text."""

    async def script(turn: Turn, out: Output) -> Finish:
        raise AgentFailure("agent_timeout", message, retry_after_ms=5)

    async with talk(tmp_path, script) as client:
        answer = await sent(client)
        expected = message.replace("\ud800", "?")
        assert answer["failure"] == {"code": "agent_timeout", "message": expected}
        end = await client.seen("turn.failed")
        assert (end["message"], end["retryAfterMs"]) == (expected, 5)
        await check_well(client, answer["turn"])


async def test_one_that_gives_up(tmp_path: Path) -> None:
    """A cancellation that nobody asked for is a failure."""

    async def script(turn: Turn, out: Output) -> Finish:
        raise asyncio.CancelledError

    async with talk(tmp_path, script) as client:
        answer = await sent(client)
        assert answer["failure"]["code"] == "agent_failed"
        await check_well(client, answer["turn"])


@pytest.mark.parametrize("finish", [None, "done", 7])
async def test_one_that_ends_in_its_own_way(tmp_path: Path, finish: Any) -> None:
    """What is no finish is a failure; the log can still be read."""

    class Odd(ScriptedAgent):
        async def run(self, turn: Turn, out: Output) -> Finish:
            self.turns.append(turn)
            out.text("so far")
            return finish if len(self.turns) == 1 else "stop"

    async with gateway_of(tmp_path, Odd("odd", lambda turn, out: forever())) as gateway, client_of(gateway) as client:
        await client.call("session.create", agent="odd", key=KEY)
        answer = await sent(client)
        assert (answer["finishReason"], answer["failure"]["code"]) == ("failed", "agent_failed")
        assert (await sent(client))["finishReason"] == "stop"


@pytest.mark.parametrize("usage", [2**63, 2**200, -1])
async def test_one_that_counts_wrong(tmp_path: Path, usage: int) -> None:
    """Usage is a number of tokens, whatever it says."""

    async def script(turn: Turn, out: Output) -> Finish:
        await out.generation(provider="p", model="m")
        out.usage(input_tokens=usage, output_tokens=usage, cache_read_tokens=usage, cache_write_tokens=usage)
        return "stop"

    async with talk(tmp_path, script) as client:
        answer = await sent(client)
        assert answer["finishReason"] == "stop"
        assert 0 <= answer["usage"]["inputTokens"] <= 2**53
        await check_well(client, answer["turn"])
        assert (await client.call("session.list"))["sessions"][0]["inputTokens"] == answer["usage"]["inputTokens"]


@pytest.mark.parametrize("input", ["half \ud800", {"a": object()}, {"half \udfff": 1}])
async def test_one_that_says_what_is_no_json(tmp_path: Path, input: Any) -> None:
    """It is told, at its call, and fails of it unless it minds."""

    async def script(turn: Turn, out: Output) -> Finish:
        out.text("let me see")
        await out.tool_call("c1", "look", input)
        return "stop"

    async with talk(tmp_path, script) as client:
        answer = await sent(client)
        assert (answer["failure"]["code"], answer["message"]["content"]) == ("agent_failed", "let me see")
        assert client.events(type="tool.call") == []
        await check_well(client, answer["turn"])


async def test_one_that_will_not_be_stopped(tmp_path: Path) -> None:
    """The turn ends all the same and the next one runs; what the old one still does has no effect."""
    is_stopping, may_end, is_over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def script(turn: Turn, out: Output) -> Finish:
        await out.generation(provider="p", model="m")
        out.text("mine")
        try:
            await forever()
        except asyncio.CancelledError:
            is_stopping.set()
        await may_end.wait()
        out.text(" and mine")
        out.usage(input_tokens=99, output_tokens=99)
        await out.tool_call("c1", "look", {})
        await out.tool_result("c1", "found", duration_ms=1)
        is_over.set()
        return "stop"

    async with talk(tmp_path, script) as client:
        turn = await send(client)
        await words(client, turn=turn)
        assert await client.call("session.stop", key=KEY) == {"stopped": True, "turn": turn}
        await is_stopping.wait()
        await check_well(client, turn)
        before = await client.call("session.history", key=KEY)
        may_end.set()
        await is_over.wait()
        await client.silence()
        assert await client.call("session.history", key=KEY) == before
        assert said(client.events(turn=turn)) == "mine"


async def test_one_that_speaks_from_the_grave(tmp_path: Path) -> None:
    """What is said into a turn after its end is not heard."""
    outs: list[Output] = []

    async def script(turn: Turn, out: Output) -> Finish:
        outs.append(out)
        return "stop"

    async with talk(tmp_path, script) as client:
        turn = (await sent(client))["turn"]
        before = await client.call("session.history", key=KEY)
        outs[0].text("boo")
        outs[0].reasoning("boo")
        await outs[0].tool_call("c1", "boo", {})
        await outs[0].generation(provider="boo", model="boo")
        await client.silence()
        assert await client.call("session.history", key=KEY) == before
        await check_well(client, turn)


async def test_one_that_leaves_calls_open(tmp_path: Path) -> None:
    """A turn that ends by itself may; the next turn is shown a result all the same."""

    async def script(turn: Turn, out: Output) -> Finish:
        await out.tool_call("c1", "look", {"q": 1})
        return "tool_use"

    async with talk(tmp_path, script) as client:
        answer = await sent(client)
        assert answer["finishReason"] == "tool_use"
        await check_well(client, answer["turn"])
