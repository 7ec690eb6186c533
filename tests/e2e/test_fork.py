"""A fork: the conversation up to a point, in a session of its own."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.agents.base import AssistantMessage, Finish, Output, Turn, UserMessage
from tests.e2e.calls import code_of, log_of, say, status
from tests.e2e.inside import client_of, gateway_of
from tests.fakes import ScriptedAgent, forever
from tests.raw import Json, RawClient


async def slow(turn: Turn, out: Output) -> Finish:
    """Answers at once, unless it is asked to wait for ever."""
    asked = turn.messages[-1]
    out.text("well")
    if isinstance(asked, UserMessage) and asked.content == "wait":
        await out.tool_call("c1", "look", {})
        await forever()
    return "stop"


@pytest.fixture
def agent() -> ScriptedAgent:
    return ScriptedAgent("slow", slow)


@pytest.fixture
async def client(tmp_path: Path, agent: ScriptedAgent) -> AsyncIterator[RawClient]:
    async with gateway_of(tmp_path, agent) as gateway, client_of(gateway) as opened:
        await opened.call("session.create", key="k", agent="slow", labels={"a": "b"}, metadata={"m": 1}, project="p")
        yield opened


async def fork(client: RawClient, key: str = "k", **params: Any) -> Json:
    return (await client.call("session.fork", key=key, **params))["session"]


async def test_the_agent_goes_on_from_there(client: RawClient, agent: ScriptedAgent) -> None:
    """The next message's agent sees what was copied, and neither session hears of the other."""
    for content in ("one", "two", "three"):
        await say(client, content, key="k")
    log = await log_of(client, "k")
    second = next(event["seq"] for event in log if event.get("content") == "two")
    forked = await fork(client, atSeq=second - 1, title="Mine")
    assert (forked["title"], forked["messageCount"], forked["forkedFrom"]) == (
        "Mine",
        2,
        {"key": "k", "seq": second - 1},
    )
    assert (forked["labels"], forked["project"], forked["user"]) == ({"a": "b"}, "p", "local")
    assert (await status(client, forked["key"]))["metadata"] == {"m": 1}
    await say(client, "other", key=forked["key"])
    shown = (UserMessage("one"), AssistantMessage("well"), UserMessage("other"))
    assert (agent.turns[-1].session, agent.turns[-1].messages) == (forked["key"], shown)
    assert await log_of(client, "k") == log
    copies = [{**event, "seq": 0} for event in (await log_of(client, forked["key"]))[1:4]]
    assert copies == [{**event, "seq": 0} for event in log[1:4]]


async def test_while_a_turn_runs(client: RawClient) -> None:
    """From the last completed turn; not from inside the one that runs, and nothing of what waits."""
    await say(client, "one", key="k")
    head = (await status(client, "k"))["session"]["head"]
    await client.call("session.send", key="k", content="wait", subscribe=True)
    await client.seen("tool.call")
    await client.call("session.send", key="k", content="later")
    forked = await fork(client)
    assert [e["content"] for e in await log_of(client, forked["key"]) if "content" in e] == ["one", "well"]
    assert forked["queued"] == 0
    now = (await status(client, "k"))["session"]["head"]
    for seq in range(head + 1, now + 1):
        assert await code_of(client, "session.fork", key="k", atSeq=seq) == (409, "turn_running")
    assert (await fork(client, atSeq=head))["messageCount"] == 2
    await client.call("session.stop", key="k")


async def test_what_was_cut_open(client: RawClient, agent: ScriptedAgent) -> None:
    """A fork in the middle of an old turn: the agent is shown its call with a result, and no turn runs."""
    await client.call("session.send", key="k", content="wait", subscribe=True)
    call = await client.seen("tool.call")
    await client.call("session.stop", key="k")
    forked = await fork(client, atSeq=call["seq"])
    assert "turn" not in forked
    await say(client, "go on", key=forked["key"])
    _, asked, answered, last = agent.turns[-1].messages
    assert (asked.tool_calls[0].call_id, answered.call_id) == ("c1", "c1")  # type: ignore[union-attr]
    assert answered.content == "Error: The turn ended before the tool answered."  # type: ignore[union-attr]
    assert last == UserMessage("go on")


async def test_after_a_reset(client: RawClient) -> None:
    """What was cleared is not to be had; the rest is."""
    await say(client, "secret", key="k")
    cleared = (await client.call("session.reset", key="k"))["session"]["head"]
    await say(client, "new", key="k")
    for seq in (1, cleared - 1):
        assert await code_of(client, "session.fork", key="k", atSeq=seq) == (-32602, "invalid_params")
    assert (await fork(client, atSeq=cleared))["messageCount"] == 0
    forked = await fork(client)
    assert (forked["messageCount"], forked["resets"]) == (2, 0)
    assert "secret" not in str(await log_of(client, forked["key"]))


@pytest.mark.parametrize("at", [0, -1, 1.5, "1", None, True, 2**53, 2**70])
async def test_no_seq(client: RawClient, at: Any) -> None:
    """Refused by the member's name; nothing is made."""
    error = await client.fail("session.fork", key="k", atSeq=at)
    assert (error["code"], error["data"]["path"]) == (-32602, "$.atSeq")
    assert (await client.call("session.list", includeEmpty=True))["total"] == 1


async def test_the_same_call_twice(client: RawClient) -> None:
    """One fork, also where both are on their way at once; the answer stays, and goes with the fork's words."""
    await say(client, "one", key="k")
    asked = [await client.ask("session.fork", key="k", idempotencyKey="once") for _ in range(2)]
    first, second = [(await client.answer(id))["result"] for id in asked]
    assert first == second
    assert (await client.call("session.list"))["total"] == 2
    assert await code_of(client, "session.fork", key="k", atSeq=1, idempotencyKey="once") == (
        409,
        "idempotency_conflict",
    )
    await client.call("session.reset", key=first["session"]["key"])
    assert (await fork(client, idempotencyKey="once"))["messageCount"] == 0
    await client.call("session.delete", key=first["session"]["key"])
    assert await code_of(client, "session.fork", key="k", idempotencyKey="once") == (410, "session_deleted")
    await fork(client, idempotencyKey="twice")


async def test_what_cannot_be_forked(client: RawClient) -> None:
    """What is not there, is there no more, or has no name."""
    assert await code_of(client, "session.fork", key="none") == (404, "session_not_found")
    assert await code_of(client, "session.fork", key="a b") == (400, "invalid_key")
    assert await code_of(client, "session.fork", key="k", title="") == (-32602, "invalid_params")
    await client.call("session.delete", key="k")
    assert await code_of(client, "session.fork", key="k") == (410, "session_deleted")


async def test_a_fork_outlives_its_origin(client: RawClient) -> None:
    """It is a copy: deleting the origin leaves it whole."""
    await say(client, "one", key="k")
    forked = await fork(client)
    await client.call("session.delete", key="k")
    assert (await log_of(client, forked["key"]))[1]["content"] == "one"


async def test_many_at_once(client: RawClient) -> None:
    """Forks of forks and of the same session, all together: each is one of its own."""
    await say(client, "one", key="k")
    keys = [(await fork(client))["key"] for _ in range(3)]
    asked = [await client.ask("session.fork", key=key) for key in [*keys, "k"] * 4]
    answers = [await client.hear() for _ in asked]
    made = {answer["result"]["session"]["key"] for answer in answers}
    assert len(made) == 16
    assert (await client.call("session.list", limit=200))["total"] == 20
