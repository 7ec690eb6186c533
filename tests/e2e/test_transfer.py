"""A transfer: one session ends, another goes on with another agent, both or neither."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.agents.base import AssistantMessage, Finish, Output, Turn, UserMessage
from gateway.storage.base import Commit
from gateway.storage.sqlite import SqliteStore
from tests.e2e.calls import code_of, log_of, say, status
from tests.e2e.inside import client_of, gateway_of
from tests.fakes import FakeClock, ScriptedAgent, forever
from tests.raw import Json, RawClient


async def reply(turn: Turn, out: Output) -> Finish:
    if turn.messages[-1] == UserMessage("wait"):
        await forever()
    out.text(f"{len(turn.messages)} messages")
    return "stop"


@pytest.fixture
def polly() -> ScriptedAgent:
    return ScriptedAgent("polly", reply)


@pytest.fixture
async def client(tmp_path: Path, polly: ScriptedAgent, clock: FakeClock) -> AsyncIterator[RawClient]:
    async with gateway_of(tmp_path, polly, clock=clock) as gateway, client_of(gateway) as opened:
        birth = {
            "agent": "echo",
            "title": "T",
            "labels": {"a": "b"},
            "metadata": {"m": 1},
            "policy": {"autoRenew": False},
        }
        await opened.call("session.send", key="k", content="hello", create=birth | {"pinned": True}, wait=True)
        yield opened


async def transfer(client: RawClient, agent: str = "polly", **params: str) -> tuple[Json, Json]:
    done = await client.call("session.transfer", key="k", agent=agent, **params)
    return done["source"], done["target"]


async def test_the_other_agent_goes_on(client: RawClient, polly: ScriptedAgent) -> None:
    """It answers the next message with the history as its context; the session is the same but for its life."""
    source, target = await transfer(client)
    assert (source["state"], source["endReason"], source["transferredTo"]) == ("ended", "transferred", target["key"])
    assert (target["agent"], target["model"], target["provider"]) == ("polly", "fake-1", "fake")
    assert (target["transferredFrom"], target["title"], target["titleSource"]) == ("k", "T", "user")
    assert (target["labels"], target["pinned"], target["user"], target["messageCount"]) == (
        {"a": "b"},
        True,
        "local",
        2,
    )
    found = await status(client, target["key"])
    assert (found["metadata"], found["policy"]["autoRenew"], found["session"]) == ({"m": 1}, False, target)
    assert (await status(client, "k"))["session"] == source
    assert (await say(client, "and now?", target["key"]))["message"]["content"] == "3 messages"
    assert polly.turns[0].messages == (UserMessage("hello"), AssistantMessage("hello"), UserMessage("and now?"))
    assert [e["type"] for e in (await log_of(client, "k"))[-2:]] == ["session.transferred", "session.state"]
    gone = await client.fail("session.send", key="k", content="x")
    assert (gone["code"], gone["data"]["reason"], gone["data"]["transferredTo"]) == (410, "transferred", target["key"])
    assert await code_of(client, "session.transfer", key="k", agent="polly") == (410, "session_ended")
    assert (await client.call("session.fork", key="k"))["session"]["messageCount"] == 2


async def test_what_cannot_be_transferred(client: RawClient, clock: FakeClock) -> None:
    """To itself, to nobody, in the middle of a turn, with an old revision, ended: and nothing has changed."""
    error = await client.fail("session.transfer", key="k", agent="echo")
    assert (error["code"], error["data"]["path"]) == (-32602, "$.agent")
    assert await code_of(client, "session.transfer", key="k", agent="nobody") == (404, "agent_not_found")
    assert await code_of(client, "session.transfer", key="k", agent="") == (-32602, "invalid_params")
    assert await code_of(client, "session.transfer", key="none", agent="polly") == (404, "session_not_found")
    assert await code_of(client, "session.transfer", key="k", agent="polly", ifRevision=7) == (409, "revision_mismatch")
    await client.call("session.create", key="busy", agent="polly")
    await client.call("session.send", key="busy", content="wait")
    assert await code_of(client, "session.transfer", key="busy", agent="echo") == (409, "turn_running")
    await client.call("session.stop", key="busy")
    assert (await client.call("session.transfer", key="busy", agent="echo"))["target"]["agent"] == "echo"
    assert (await client.call("session.list", filter={"agent": "polly"}, includeEmpty=True))["total"] == 1
    clock.advance(minutes=31)
    assert await code_of(client, "session.transfer", key="k", agent="polly") == (410, "session_expired")


async def test_the_same_call_twice(client: RawClient) -> None:
    """One target; the answer outlives neither."""
    asked = [await client.ask("session.transfer", key="k", agent="polly", idempotencyKey="once") for _ in range(2)]
    first, second = [(await client.answer(id))["result"] for id in asked]
    assert first == second
    assert await code_of(client, "session.transfer", key="k", agent="echo", idempotencyKey="once") == (
        409,
        "idempotency_conflict",
    )
    await client.call("session.delete", key=first["target"]["key"])
    assert await code_of(client, "session.transfer", key="k", agent="polly", idempotencyKey="once") == (
        410,
        "session_deleted",
    )


async def test_the_limit_of_the_target(tmp_path: Path, polly: ScriptedAgent) -> None:
    """The user's sessions with the target agent are counted; what is refused has not ended."""
    async with gateway_of(tmp_path / "limited", polly) as gateway, client_of(gateway) as client:
        policy = {"maxConcurrentPerUser": 1}
        await client.call("session.create", key="there", agent="polly", policy=policy)
        await client.call("session.create", key="k", agent="echo", policy=policy)
        error = await client.fail("session.transfer", key="k", agent="polly")
        assert (error["code"], error["data"]["current"]) == (429, 1)
        assert (await status(client, "k"))["session"]["state"] == "live"
        await client.call("session.delete", key="there")
        assert (await transfer(client))[1]["state"] == "live"


async def test_a_store_that_fails(client: RawClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither has happened: no target, and the source goes on."""
    write = SqliteStore.commit

    def write_half(store: SqliteStore, commit: Commit) -> "asyncio.Future[None]":
        if commit.also is not None:  # its last event cannot be stored
            commit.also.events = [*commit.also.events, commit.also.events[0]]
        return write(store, commit)

    with monkeypatch.context() as patched:
        patched.setattr(SqliteStore, "commit", write_half)
        assert await code_of(client, "session.transfer", key="k", agent="polly") == (503, "store_unavailable")
    assert (await client.call("session.list"))["total"] == 1
    assert (await say(client, "still there?", "k"))["finishReason"] == "stop"
    assert (await transfer(client))[1]["messageCount"] == 4


async def test_a_transfer_against_a_send(client: RawClient) -> None:
    """Whichever comes first decides: the message is answered there, or refused with where to go."""
    for n in range(10):
        await client.call("session.create", key=f"r{n}", agent="polly")
        asked = [
            await client.ask("session.send", key=f"r{n}", content="x"),
            await client.ask("session.transfer", key=f"r{n}", agent="echo"),
            await client.ask("session.send", key=f"r{n}", content="y"),
        ]
        sent, moved, late = [await client.answer(id) for id in asked]
        assert "result" in sent
        if "error" in moved:
            assert (moved["error"]["data"]["code"], "result" in late) == ("turn_running", True)
        else:
            assert late["error"]["data"]["transferredTo"] == moved["result"]["target"]["key"]
