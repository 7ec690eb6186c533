"""Sessions brought back from files, whole or not at all."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.agents.base import AssistantMessage, Finish, Output, Turn, UserMessage
from tests.e2e.calls import code_of, log_of, say, status
from tests.e2e.inside import client_of, gateway_of
from tests.fakes import FakeClock, ScriptedAgent, forever
from tests.raw import Json, RawClient


async def reply(turn: Turn, out: Output) -> Finish:
    out.text("well")
    if turn.messages[-1] == UserMessage("wait"):
        await forever()
    return "stop"


@pytest.fixture
def polly() -> ScriptedAgent:
    return ScriptedAgent("polly", reply)


@pytest.fixture
async def client(tmp_path: Path, polly: ScriptedAgent, clock: FakeClock) -> AsyncIterator[RawClient]:
    async with gateway_of(tmp_path, polly, clock=clock) as gateway, client_of(gateway) as opened:
        yield opened


async def export(client: RawClient, key: str = "k") -> str:
    found = await client.call("session.export", key=key)
    assert "nextCursor" not in found
    data: str = found["data"]
    return data


async def bring(client: RawClient, data: str, **params: Any) -> Json:
    return (await client.call("session.import", data=data, **params))["session"]


COUNTERS = ("title", "titleSource", "labels", "messageCount", "inputTokens", "outputTokens", "costUsd", "toolCalls",
            "compactions", "resets", "renewalCount", "head", "project", "channel", "source", "pinned")  # fmt: skip


async def test_there_and_back(client: RawClient, clock: FakeClock) -> None:
    """The events byte for byte, words and counters as they were; a life of its own."""
    birth = {"agent": "echo", "labels": {"a": "b"}, "metadata": {"m": [1]}, "project": "p", "channel": "web"}
    await client.call("session.send", key="k", content='ü\u2028\n/tool look {"q":1}', create=birth, wait=True)
    await client.call("session.update", key="k", title="=1+1", pinned=True)
    await say(client, "more", "k")
    before, first = await status(client, "k"), await export(client)
    assert await export(client) == first
    clock.advance(minutes=4)
    made = await bring(client, first, onConflict="rename")
    assert (made["key"], made["createdAt"]) == ("k-2", "2026-11-20T09:34:00.123Z")
    found = await status(client, "k-2")
    assert {name: found["session"].get(name) for name in COUNTERS} == {n: before["session"].get(n) for n in COUNTERS}
    assert (found["metadata"], found["messages"]) == (before["metadata"], before["messages"])
    second = await export(client, "k-2")
    assert second.split("\n")[1:-2] == first.split("\n")[1:-2]
    assert await log_of(client, "k-2") == await log_of(client, "k")


async def test_it_goes_on(client: RawClient, polly: ScriptedAgent) -> None:
    """The agent sees what was said; reading, following and searching are as ever; a deleted key is free again."""
    await client.call("session.send", key="k", content="one", create={"agent": "polly"}, wait=True)
    data = await export(client)
    await client.call("session.delete", key="k")
    made = await bring(client, data)
    assert (made["key"], made["head"]) == ("k", 5)
    following = await client.call("session.subscribe", key="k", since={"seq": 2})
    assert following["replay"] == {"from": 3, "to": 5, "complete": True}
    await say(client, "two", "k")
    assert polly.turns[-1].messages == (UserMessage("one"), AssistantMessage("well"), UserMessage("two"))
    assert [event["seq"] for event in await log_of(client, "k")] == list(range(1, 10))


async def test_in_the_middle_of_a_turn(client: RawClient) -> None:
    """No turn runs in what was exported while one did; the next message is answered."""
    await client.call("session.send", key="k", content="wait", create={"agent": "polly"})
    await client.call("session.send", key="k", content="later")
    made = await bring(client, await export(client), key="new")
    assert (made.get("turn"), made["queued"], made["state"]) == (None, 0, "live")
    assert (await say(client, "now", "new"))["message"]["content"] == "well"
    await client.call("session.stop", key="k")


async def test_after_a_reset(client: RawClient) -> None:
    """A log that begins later keeps its numbers; what comes before its beginning is complete without it."""
    await client.call("session.send", key="k", content="secret", create={"agent": "echo"}, wait=True)
    await client.call("session.reset", key="k")
    await say(client, "new", "k")
    made = await bring(client, await export(client), key="new")
    assert (made["resets"], made["messageCount"], made["head"]) == (1, 2, 14)
    assert [event["seq"] for event in await log_of(client, "new")] == list(range(8, 15))
    following = await client.call("session.subscribe", key="new", since={"seq": 3})
    assert following["replay"] == {"from": 8, "to": 14, "complete": True}
    assert await code_of(client, "session.fork", key="new", atSeq=7) == (-32602, "invalid_params")


async def test_keys(client: RawClient) -> None:
    """Taken: an error, or the next number; wrong: refused, by the param or by the line."""
    await client.call("session.create", key="k", agent="echo")
    data = await export(client)
    assert await code_of(client, "session.import", data=data) == (409, "session_exists")
    assert [(await bring(client, data, onConflict="rename"))["key"] for _ in range(3)] == ["k-2", "k-3", "k-4"]
    assert await code_of(client, "session.import", data=data, key="a b") == (400, "invalid_key")
    assert await code_of(client, "session.import", data=data, key="k-2") == (409, "session_exists")
    error = await client.fail("session.import", data=data.replace('"key":"k"', '"key":"k k"'))
    assert error["data"]["reason"] == "line 1: key: character 2 is a space"
    assert await code_of(client, "session.import", data=data, onConflict="merge") == (-32602, "invalid_params")


async def test_agents_and_limits(client: RawClient) -> None:
    """The agent must be there, its limit holds, and what is kept beside the log has its bound."""
    policy = {"maxConcurrentPerUser": 1}
    await client.call("session.create", key="k", agent="echo", policy=policy, metadata={"m": "x" * 9000})
    data = await export(client)
    nobody, much = data.replace('"agent":"echo"', '"agent":"nobody"', 1), data.replace("x" * 9000, "x" * 11_000)
    assert await code_of(client, "session.import", data=nobody, key="new") == (404, "agent_not_found")
    assert await code_of(client, "session.import", data=much, key="new") == (413, "metadata_too_large")
    made = await bring(client, data, key="new")
    assert (await status(client, "new"))["policy"]["maxConcurrentPerUser"] is None
    assert made["state"] == "live"


async def test_the_limit_of_the_agent(tmp_path: Path) -> None:
    """One more session than the agent allows is not made."""
    config: dict[str, Any] = {"policy_max_concurrent_per_user": 1}
    async with gateway_of(tmp_path / "limited", **config) as gateway, client_of(gateway) as client:
        await client.call("session.create", key="k", agent="echo")
        data = await export(client)
        assert await code_of(client, "session.import", data=data, key="new") == (429, "session_limit")
        await client.call("session.delete", key="k")
        assert (await bring(client, data))["state"] == "live"


async def test_nothing_half_imported(client: RawClient, tmp_path: Path) -> None:
    """However a file is cut or changed: the reason names a line, and neither a row nor a word is left."""
    await client.call("session.send", key="k", content="xyzzy" * 3, create={"agent": "echo"}, wait=True)
    data = await export(client)
    lines = data.splitlines(keepends=True)
    broken = ["".join(lines[:n] + lines[n + 1 :]) for n in range(len(lines))]
    broken += [data.replace("xyzzy", "plugh"), data[:-1], data + data, "\ufeff" + data, data.replace("\n", "\r\n"), ""]
    for wrong in broken:
        error = await client.fail("session.import", data=wrong, key="new")
        assert (error["code"], error["data"]["path"]) == (-32602, "$.data")
        assert error["data"]["reason"].startswith("line ")
    assert await code_of(client, "session.status", key="new") == (404, "session_not_found")
    assert (await client.call("session.list", includeEmpty=True))["total"] == 1
    assert not any(b"plugh" in path.read_bytes() for path in tmp_path.rglob("gateway.db*"))


async def test_the_same_call_twice(client: RawClient) -> None:
    """One session, also where both are on their way at once and the key is taken."""
    await client.call("session.create", key="k", agent="echo")
    data = await export(client)
    params = {"data": data, "onConflict": "rename", "idempotencyKey": "once"}
    asked = [await client.ask("session.import", **params) for _ in range(3)]
    answers = [json.dumps((await client.hear())["result"]) for _ in asked]
    assert len(set(answers)) == 1
    assert (await client.call("session.list", includeEmpty=True))["total"] == 2
    assert await code_of(client, "session.import", **params | {"data": "x"}) == (-32602, "invalid_params")
    await client.call("session.delete", key="k-2")
    assert await code_of(client, "session.import", **params) == (410, "session_deleted")


async def test_the_same_call_after_a_reset(client: RawClient) -> None:
    """What was imported went with its answer, and so did the count of it: nothing is made up, nothing is made."""
    await client.call("session.send", key="k", content="hello", create={"agent": "echo"}, wait=True)
    data = await export(client)
    for conflict in ("fail", "rename"):
        params = {"data": data, "key": f"new-{conflict}", "onConflict": conflict, "idempotencyKey": "once"}
        made = await client.call("session.import", **params)
        assert (made["events"], await client.call("session.import", **params)) == (7, made)
        await client.call("session.reset", key=params["key"])
        assert await code_of(client, "session.import", **params) == (410, "session_deleted")
    assert (await client.call("session.list", includeEmpty=True))["total"] == 3


async def test_import_then_send(client: RawClient) -> None:
    """Calls on one session take effect in their order, also where the file takes a while to read."""
    for n in range(20):
        await client.call("session.send", key="k", content=f"{n} " + "x" * 5000, create={"agent": "echo"}, wait=True)
    data = await export(client)
    asked = [
        await client.ask("session.import", data=data, key="new"),
        await client.ask("session.send", key="new", content="hello"),
    ]
    answers = {answer["id"]: answer for answer in [await client.hear() for _ in asked]}
    assert all("result" in answers[id] for id in asked)
    assert answers[asked[1]]["result"]["seq"] == 122
