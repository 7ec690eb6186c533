"""What agents are shown, what they may do, and what is kept of it when they are stopped."""

import asyncio
from pathlib import Path

from gateway.agents.base import Finish, Output, Turn
from tests.e2e.calls import words
from tests.e2e.inside import client_of, gateway_of
from tests.e2e.scripted import KEY, check_well, send, sent, talk
from tests.fakes import ScriptedAgent, forever
from tests.raw import said, text_of


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
        await words(client, "tool_input")
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
