"""Agents that misbehave: whatever they do, their turn ends once, says so, and the session goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.agents.base import AgentFailure, Finish, Output, Turn
from tests.e2e.inside import client_of, gateway_of
from tests.fakes import Script, ScriptedAgent, forever
from tests.raw import Json, RawClient, said, text_of

KEY = "agent:odd"


@asynccontextmanager
async def talk(data_dir: Path, script: Script) -> AsyncIterator[RawClient]:
    """A connection that follows a new session with an agent that does this, and afterwards just answers."""
    turns = 0

    async def once(turn: Turn, out: Output) -> Finish | None:
        nonlocal turns
        turns += 1
        if turns == 1:
            return await script(turn, out)
        out.text("I am well")
        return "stop"

    async with gateway_of(data_dir, ScriptedAgent("odd", once)) as gateway, client_of(gateway) as client:
        await client.call("session.create", agent="odd", key=KEY, subscribe=True)
        yield client


async def send(client: RawClient) -> str:
    """Send, do not wait."""
    return (await client.call("session.send", key=KEY, content="go"))["turn"]


async def sent(client: RawClient) -> Json:
    """Send and wait for the end."""
    return await client.call("session.send", key=KEY, content="go", wait=True)


async def check_well(client: RawClient, turn: str) -> None:
    """The turn ended once, all it said is in messages, and the next turn is like any other."""
    ends = [event for event in client.events(turn=turn) if event["type"] in ENDS]
    assert len(ends) == 1
    assert text_of(client.deltas(turn=turn)) == said(client.events(turn=turn))
    answer = await sent(client)
    assert (answer["message"]["content"], answer["finishReason"]) == ("I am well", "stop")
    assert "turn" not in (await client.call("session.status", key=KEY))["session"]


ENDS = ("turn.completed", "turn.stopped", "turn.failed")


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
        await client.delta()
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


async def test_stopped_between_a_call_and_its_result(tmp_path: Path) -> None:
    """Text and tool work are kept, and the call is answered, so that the conversation can go on."""

    async def script(turn: Turn, out: Output) -> Finish:
        await out.generation(provider="p", model="m")
        out.text("let me see")
        await out.tool_call("c1", "look", {"q": 1})
        await out.tool_call("c2", "look", {"q": 2})
        await out.tool_result("c1", "found", duration_ms=1)
        await forever()
        return "stop"

    async with talk(tmp_path, script) as client:
        turn = await send(client)
        await client.seen("tool.result", callId="c1")
        assert (await client.call("session.stop", key=KEY, turn=turn))["stopped"]
        end = await client.seen("turn.stopped")
        events = client.events(turn=turn)
        assert [event["type"] for event in events[-7:]] == [
            *("tool.call", "tool.call", "tool.result", "tool.result", "generation.end", "message.assistant"),
            "turn.stopped",
        ]
        assert (events[-4]["callId"], events[-1]) == ("c2", end)
        assert events[-4]["error"]
        assert said(events) == "let me see"
        await check_well(client, turn)


async def test_stopped_in_reasoning_and_in_silence(tmp_path: Path) -> None:
    """Nothing that was only thought is in the answer."""

    async def script(turn: Turn, out: Output) -> Finish:
        out.reasoning("hm")
        out.tool_input("c1", "{")
        await forever()
        return "stop"

    async with talk(tmp_path, script) as client:
        turn = await send(client)
        await client.delta("tool_input")
        assert (await client.call("session.stop", key=KEY))["turn"] == turn
        assert [event["type"] for event in client.events(turn=turn)][-2:] == ["message.assistant", "turn.stopped"]
        assert said(client.events(turn=turn)) == ""
        await check_well(client, turn)


async def test_one_that_cannot_be_cut_short(tmp_path: Path) -> None:
    """Past the bytes of a turn it ends with `length`, complete up to there."""

    async def script(turn: Turn, out: Output) -> Finish:
        while True:
            out.text("é" * 100)
            await asyncio.sleep(0)

    agent = ScriptedAgent("odd", script)
    async with gateway_of(tmp_path, agent, limits_output_bytes=1025) as gateway, client_of(gateway) as client:
        await client.call("session.create", agent="odd", key=KEY, subscribe=True)
        answer = await sent(client)
        assert (answer["finishReason"], answer["message"]["partial"]) == ("length", False)
        assert answer["message"]["content"] == text_of(client.deltas()) == "é" * 512
        assert client.events()[-1]["type"] == "turn.completed"


async def test_what_the_agent_is_shown(tmp_path: Path) -> None:
    """The conversation as it went, the newest message last: a queued one where its turn began."""

    async def script(turn: Turn, out: Output) -> Finish:
        is_first = len(agent.turns) == 1
        out.text(f"answer {len(agent.turns)}")
        if is_first:
            await out.tool_call("c1", "look", {"q": 1})
            await out.tool_result("c1", {"found": True}, duration_ms=1)
            await go_on.wait()
        return "stop"

    agent, go_on = ScriptedAgent("odd", script), asyncio.Event()
    async with gateway_of(tmp_path, agent) as gateway, client_of(gateway) as client:
        await client.call("session.create", agent="odd", key=KEY, subscribe=True)
        await client.call("session.send", key=KEY, content="one")
        await client.call("session.send", key=KEY, content="two")
        taken_back = await client.call("session.send", key=KEY, content="never mind")
        await client.call("session.stop", key=KEY, turn=taken_back["turn"])
        go_on.set()
        await client.call("session.send", key=KEY, content="three", wait=True)
    last = agent.turns[-1]
    assert (last.session, last.user, last.model) == (KEY, "local", "fake-1")
    assert [type(message).__name__.removesuffix("Message") for message in last.messages] == [
        *("User", "Assistant", "Tool", "User", "Assistant", "User")
    ]
    assert [message.content for message in last.messages] == [
        *("one", "answer 1", '{"found":true}', "two", "answer 2", "three")
    ]


async def test_one_that_is_not_available(tmp_path: Path) -> None:
    """The turn fails with its reason; nothing was asked; once it is available the session goes on."""

    async def script(turn: Turn, out: Output) -> Finish:
        return "stop"

    agent = ScriptedAgent("odd", script)
    agent.why_not = "OPENAI_API_KEY is not set."
    async with gateway_of(tmp_path, agent) as gateway, client_of(gateway) as client:
        await client.call("session.create", agent="odd", key=KEY, subscribe=True)
        assert not (await client.call("agent.get", agent="odd"))["available"]
        answer = await sent(client)
        assert answer["failure"] == {"code": "agent_unavailable", "message": "OPENAI_API_KEY is not set."}
        assert client.events(type="generation.start") == []
        agent.why_not = None
        assert (await sent(client))["finishReason"] == "stop"
