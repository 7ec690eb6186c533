"""Stopping a turn: whatever the agent is at, it ends at once, keeps what it said and frees the session."""

import asyncio
from typing import Any

import pytest

from tests.conftest import Connect
from tests.raw import Json, RawClient, said, text_of

KEY = "agent:echo:web:stop"
PROMPT_S = 1.0
MANY_WORDS = " ".join(f"w{n}" for n in range(500))


@pytest.fixture
async def talk(client: RawClient) -> RawClient:
    """A connection that follows a new session."""
    await client.call("session.create", agent="echo", key=KEY, subscribe=True)
    return client


async def send(client: RawClient, content: str) -> str:
    """Send and return the turn."""
    return (await client.call("session.send", key=KEY, content=content))["turn"]


async def stop(client: RawClient, **params: Any) -> Json:
    """Stop, promptly."""
    async with asyncio.timeout(PROMPT_S):
        return await client.call("session.stop", key=KEY, **params)


async def check_stopped(client: RawClient, turn: str) -> str:
    """The turn ended as every stopped turn does, and the next one runs; what the stopped one said."""
    end = await client.seen("turn.stopped", turn=turn)
    assert (end["by"], end["reason"]) == ("local", "stopped")
    again = await client.call("session.send", key=KEY, content="and now this", wait=True)
    assert (again["finishReason"], again["message"]["content"]) == ("stop", "and now this")
    await client.silence()
    events = client.events(turn=turn)
    assert events[-1] == end, "nothing of a turn comes after its end"
    assert [event["type"] for event in events].count("turn.stopped") == 1
    last = events[-2]
    assert (last["type"], last["finishReason"], last["partial"]) == ("message.assistant", "stopped", True)
    assert text_of(client.deltas(turn=turn)) == said(events)
    return said(events)


async def test_before_the_first_token(talk: RawClient) -> None:
    """An agent that has said nothing yet leaves an empty message."""
    turn = await send(talk, "/sleep 5000")
    await talk.seen("generation.start")
    assert await stop(talk) == {"stopped": True, "turn": turn}
    assert await check_stopped(talk, turn) == ""
    assert [event["type"] for event in talk.events(turn=turn)] == [
        "message.user",
        "turn.started",
        "generation.start",
        "generation.end",
        "message.assistant",
        "turn.stopped",
    ]


async def test_before_the_agent_has_started(talk: RawClient) -> None:
    """A stop right behind the send, its answer not awaited, stops that turn."""
    sent, stopped = (
        await talk.ask("session.send", key=KEY, content="/sleep 5000"),
        await talk.ask("session.stop", key=KEY),
    )
    turn = (await talk.answer(sent))["result"]["turn"]
    assert (await talk.answer(stopped))["result"] == {"stopped": True, "turn": turn}
    assert await check_stopped(talk, turn) == ""


async def test_in_its_text(talk: RawClient) -> None:
    """The words that were said are the partial message, and none comes after it."""
    turn = await send(talk, "/words 500")
    for _ in range(3):
        await talk.delta()
    assert await stop(talk) == {"stopped": True, "turn": turn}
    assert (await check_stopped(talk, turn)).startswith("w1 w2 w3 ")


async def test_in_its_reasoning(talk: RawClient) -> None:
    """Thinking that led to nothing leaves an empty message; the thoughts end with the turn."""
    turn = await send(talk, f"/think {MANY_WORDS}\nDone thinking.")
    await talk.delta("reasoning")
    assert await stop(talk, turn=turn) == {"stopped": True, "turn": turn}
    assert await check_stopped(talk, turn) == ""
    assert MANY_WORDS.startswith(text_of(talk.deltas("reasoning")))


async def test_while_it_writes_a_tool_call(talk: RawClient) -> None:
    """The text before the call is kept, the call that was not made is not in the log."""
    turn = await send(talk, f'Let me look.\n/tool search {{"query": "{MANY_WORDS}"}}\nFound.')
    await talk.delta("tool_input")
    assert await stop(talk) == {"stopped": True, "turn": turn}
    assert await check_stopped(talk, turn) == "Let me look."
    assert talk.events(type="tool.call") == []


async def test_after_a_tool_call(talk: RawClient) -> None:
    """What it said before and did with a tool stays as it is; the rest is a partial message of its own."""
    turn = await send(talk, f'First.\n/tool search {{"query": 1}}\n{MANY_WORDS}')
    await talk.seen("tool.result")
    await talk.delta()
    await stop(talk)
    whole = await check_stopped(talk, turn)
    first, last = [event for event in talk.events(turn=turn) if event["type"] == "message.assistant"]
    assert (first["content"], first["finishReason"], first["partial"]) == ("First.", "tool_use", False)
    assert last["content"].startswith("w0 ")
    assert whole == first["content"] + last["content"]


async def test_a_queued_turn_is_taken_back(talk: RawClient) -> None:
    """It ends without a message of the agent, its question stays; the running turn does not notice, the next runs."""
    running = await send(talk, "/words 30")
    queued, next_ = await send(talk, "never mind"), await send(talk, "but this")
    assert await stop(talk, turn=queued) == {"stopped": True, "turn": queued}
    await talk.seen("turn.completed", turn=next_)
    assert [event["type"] for event in talk.events(turn=queued)] == ["message.user", "turn.queued", "turn.stopped"]
    assert said(talk.events(turn=running)) == " ".join(f"w{n}" for n in range(1, 31))
    assert said(talk.events(turn=next_)) == "but this"
    ends = [event["turn"] for event in talk.events() if event["type"] in ("turn.stopped", "turn.completed")]
    assert ends == [queued, running, next_]


async def test_an_unknown_turn(talk: RawClient) -> None:
    """Nothing is stopped, least of all the turn that runs."""
    turn = await send(talk, "/words 5")
    assert await stop(talk, turn="t_nobody") == {"stopped": False}
    assert await stop(talk, turn="") == {"stopped": False}
    await talk.seen("turn.completed", turn=turn)


async def test_an_earlier_turn_while_a_later_one_runs(talk: RawClient) -> None:
    """A stop that comes too late for its turn does not touch the one after it."""
    earlier = (await talk.call("session.send", key=KEY, content="first", wait=True))["turn"]
    later = await send(talk, "/words 5")
    assert await stop(talk, turn=earlier) == {"stopped": False}
    await talk.seen("turn.completed", turn=later)
    assert said(talk.events(turn=later)) == "w1 w2 w3 w4 w5"


async def test_twice(talk: RawClient) -> None:
    """Of two stops of one turn the first stops it, the second finds nothing more to do."""
    turn = await send(talk, "/words 500")
    await talk.delta()
    asked = [await talk.ask("session.stop", key=KEY, turn=turn) for _ in range(2)]
    assert (await talk.answer(asked[0]))["result"] == {"stopped": True, "turn": turn}
    assert (await talk.answer(asked[1]))["result"] == {"stopped": False}
    await check_stopped(talk, turn)


async def test_by_two_people_at_once(talk: RawClient, connect: Connect) -> None:
    """One of them has stopped it, and the turn ends once."""
    turn = await send(talk, "/words 500")
    await talk.delta()
    async with connect() as other:
        answers = await asyncio.gather(stop(talk), stop(other))
    assert sorted(answer["stopped"] for answer in answers) == [False, True]
    await check_stopped(talk, turn)


async def test_when_nothing_runs(talk: RawClient) -> None:
    """On an empty session, and after a turn is over: stopped is false, and nothing is written."""
    assert await stop(talk) == {"stopped": False}
    await talk.call("session.send", key=KEY, content="hi", wait=True)
    before = await talk.call("session.history", key=KEY)
    assert await stop(talk) == {"stopped": False}
    assert await talk.call("session.history", key=KEY) == before


async def test_again_and_again(talk: RawClient) -> None:
    """Stops that race with the turn's own end: each turn ends exactly once, and its deltas are its message."""
    for words in range(6):
        turn = await send(talk, f"/words {words}" if words else "x")
        if words:
            await talk.delta()
        answer = await stop(talk, turn=turn)
        end = await talk.seen("turn.stopped" if answer["stopped"] else "turn.completed", turn=turn)
        await talk.silence()
        events = talk.events(turn=turn)
        assert [event["type"] for event in events if event["type"].startswith("turn.")] == ["turn.started", end["type"]]
        assert text_of(talk.deltas(turn=turn)) == said(events)


async def test_a_session_that_is_not_there(client: RawClient) -> None:
    """404, as for every method."""
    error = await client.fail("session.stop", key="nobody")
    assert (error["code"], error["data"]["code"]) == (404, "session_not_found")
