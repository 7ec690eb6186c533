"""Ends that nobody chose, and one that somebody did: kill -9, a power cut, SIGTERM; and SIGHUP."""

import asyncio
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from gateway.agents.base import Finish, Output, Turn
from tests.e2e.inside import client_of, gateway_of
from tests.e2e.processes import RunningGateway, running_gateway
from tests.fakes import ScriptedAgent, forever
from tests.raw import Json, RawClient, raw_client, said, text_of

KEY = "agent:echo:crash"
SLACK_S = 0.75
"""What may be lost of a turn, and what a busy machine may add to it."""


@asynccontextmanager
async def process(tmp_path: Path, *, grace_s: float = 0.5) -> AsyncIterator[tuple[RunningGateway, RawClient]]:
    """A gateway of its own and a connection to it; the same data for the same path."""
    running = running_gateway(tmp_path, GATEWAY_SHUTDOWN_GRACE_S=str(grace_s))
    gateway = await asyncio.to_thread(running.__enter__)
    try:
        async with raw_client(gateway.url) as client:
            yield gateway, client
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


async def send(client: RawClient, content: str, key: str = KEY) -> str:
    """Send to a session, made when it is not there; the turn."""
    return (await client.call("session.send", key=key, content=content, create={"agent": "echo"}))["turn"]


async def log_of(client: RawClient, key: str = KEY) -> list[Json]:
    return (await client.call("session.history", key=key, limit=500))["events"]


async def is_busy(client: RawClient, key: str) -> bool:
    session = (await client.call("session.status", key=key))["session"]
    return "turn" in session or session["queued"] > 0


async def calm(client: RawClient, *keys: str) -> None:
    """Wait until nothing runs or waits in these sessions."""
    async with asyncio.timeout(10):
        for key in keys:
            while (session := (await client.call("session.status", key=key))["session"]).get("turn") or session[
                "queued"
            ]:
                await asyncio.sleep(0.02)


def of(log: list[Json], turn: str) -> list[Json]:
    """The events of a turn."""
    return [event for event in log if event.get("turn") == turn]


def ends_of(log: list[Json], turn: str) -> list[Json]:
    """Every event that ends the turn."""
    return [event for event in of(log, turn) if event["type"] in ("turn.completed", "turn.stopped", "turn.failed")]


def end(log: list[Json], turn: str) -> Json:
    """How the turn ended: once."""
    (found,) = ends_of(log, turn)
    return found


def partial_of(log: list[Json], turn: str) -> str:
    """What is kept of a turn that a restart ended."""
    message = [event for event in of(log, turn) if event["type"] == "message.assistant"][-1]
    assert (message["finishReason"], message["partial"]) == ("interrupted", True)
    assert end(log, turn)["code"] == "gateway_restarted"
    return said(of(log, turn))


async def test_killed_in_the_middle_of_a_turn(tmp_path: Path) -> None:
    """The turn ends once with nearly all that was said, the queue runs on by itself, a client resumes without a gap."""
    heard: list[tuple[float, str]] = []
    async with process(tmp_path) as (gateway, client):
        cut = await send(client, "/words 100000")
        waiting = [await send(client, f"waiting {n}") for n in range(3)]
        answer = await client.call("session.subscribe", key=KEY, since={"seq": 0})
        begun = time.monotonic()
        while time.monotonic() < begun + 1:
            heard.append((time.monotonic(), (await client.delta())["text"]))
        killed = time.monotonic()
        gateway.kill()
    before = text_of(client.deltas(), answer["turn"]["text"])
    last = client.events()[-1]["seq"]
    due = answer["turn"]["text"] + "".join(text for at, text in heard if at < killed - SLACK_S)
    async with process(tmp_path) as (_, client):
        resumed = await client.call("session.subscribe", key=KEY, since={"seq": last, "epoch": answer["epoch"]})
        assert resumed["replay"]["complete"]
        await client.seen("turn.completed", turn=waiting[-1])
        client.check_chain(resumed["subscription"], last)
        log = await log_of(client)
        kept = partial_of(log, cut)
        assert kept.startswith(due)
        assert kept.startswith(before) or before.startswith(kept)
        assert [end(log, turn)["type"] for turn in waiting] == ["turn.completed"] * 3
        assert [said(of(log, turn)) for turn in waiting] == [f"waiting {n}" for n in range(3)]
        assert [event["turn"] for event in log if event["type"] == "turn.started"] == [cut, *waiting]
        assert [event["seq"] for event in log] == list(range(1, len(log) + 1))


async def test_killed_again_and_again(tmp_path: Path) -> None:
    """Whenever it happens: what was answered is there, every turn ends once, no session is stuck."""
    chance = random.Random(4)
    keys = [f"{KEY}:{n}" for n in range(4)]
    turns: dict[str, list[str]] = {key: [] for key in keys}
    for _ in range(3):
        async with process(tmp_path) as (gateway, client):
            for _ in range(chance.randrange(4, 16)):
                key, content = chance.choice(keys), chance.choice(["short", "/words 60", "/sleep 100\nx", "/tool a {}"])
                turns[key].append(await send(client, content, key))
            for key in chance.sample(keys, 2):
                await client.ask("session.send", key=key, content="perhaps", create={"agent": "echo"})
            gateway.kill()
    async with process(tmp_path) as (_, client):
        await calm(client, *(key for key in keys if turns[key]))
        for key in keys:
            log = await log_of(client, key) if turns[key] else []
            begun = {event["turn"] for event in log if event["type"] == "message.user"}
            assert begun >= set(turns[key])
            assert all(len(ends_of(log, turn)) == 1 for turn in begun)
            assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
        assert (await client.call("gateway.health"))["turnsRunning"] == 0


async def test_a_power_cut_in_a_tool_call(tmp_path: Path) -> None:
    """Calls get a result that says there was none; text is kept once, whether it was in a message already or not."""

    async def script(turn: Turn, out: Output) -> Finish:
        await out.generation(provider="p", model="m")
        out.text("First 👋🏽. ")
        await out.tool_call("c1", "look", {"q": 1})
        await out.tool_result("c1", "found", duration_ms=1)
        await out.tool_call("c2", "look", {"q": 2})
        out.text("Then 👩‍👩‍👧")
        await forever()
        return "stop"

    agent = ScriptedAgent("tools", script)
    async with gateway_of(tmp_path / "before", agent) as gateway, client_of(gateway) as client:
        await client.call("session.create", key=KEY, agent="tools")
        turn = (await client.call("session.send", key=KEY, content="go"))["turn"]
        await wait_for_chunk(tmp_path / "before")
        shutil.copytree(tmp_path / "before", tmp_path / "after")
    async with gateway_of(tmp_path / "after", agent) as gateway, client_of(gateway) as client:
        log = await log_of(client)
        assert partial_of(log, turn) == "First 👋🏽. Then 👩‍👩‍👧"
        assert [event["type"] for event in log[-4:]] == [
            *("tool.result", "generation.end", "message.assistant", "turn.failed")
        ]
        assert (log[-4]["callId"], log[-4].get("output")) == ("c2", None)
        assert log[-4]["error"]
        session = (await client.call("session.status", key=KEY))["session"]
        assert (session.get("turn"), session["toolCalls"]) == (None, 2)
        answer = await client.call("session.send", key=KEY, content="again")
        assert answer["state"] == "running"


async def wait_for_chunk(data_dir: Path) -> None:
    """Until a piece of the running turn is on the disk."""
    async with asyncio.timeout(5):
        with closing(sqlite3.connect(data_dir / "gateway.db")) as connection:
            while not connection.execute("SELECT 1 FROM texts WHERE kind = 'chunk' AND body IS NOT NULL").fetchall():
                await asyncio.sleep(0.01)


async def test_the_turn_of_an_agent_that_is_gone(tmp_path: Path) -> None:
    """After a restart without it, what waited for it fails and says so."""

    async def script(turn: Turn, out: Output) -> Finish:
        await forever()
        return "stop"

    agent = ScriptedAgent("gone", script)
    async with gateway_of(tmp_path / "before", agent) as gateway, client_of(gateway) as client:
        await client.call("session.create", key=KEY, agent="gone")
        cut = (await client.call("session.send", key=KEY, content="go"))["turn"]
        waiting = (await client.call("session.send", key=KEY, content="and go"))["turn"]
        shutil.copytree(tmp_path / "before", tmp_path / "after")
    async with gateway_of(tmp_path / "after") as gateway, client_of(gateway) as client:
        await calm(client, KEY)
        log = await log_of(client)
        assert partial_of(log, cut) == ""
        assert end(log, waiting)["code"] == "agent_unavailable"


async def closed_with(client: RawClient) -> int:
    """Hear on until the gateway closes; with what."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            await client.hear()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


async def test_asked_to_end(tmp_path: Path) -> None:
    """A running turn may finish, nothing new begins, everybody is told and let go, the process ends well."""
    async with process(tmp_path, grace_s=30) as (gateway, client):
        turn = await send(client, "/sleep 1500\nthe last words")
        waiting = await send(client, "later")
        answer = await client.call("session.subscribe", key=KEY)
        gateway.process.send_signal(signal.SIGTERM)
        shutdown = await client.hear_until(lambda message: message.get("method") == "gateway.shutdown")
        assert shutdown["params"].keys() == {"reason", "retryAfterMs"}
        for params in ({"key": KEY}, {"key": "new", "create": {"agent": "echo"}}):
            error = await client.fail("session.send", content="one more", **params)
            assert (error["code"], error["data"]["code"], error["data"]["retryable"]) == (503, "shutting_down", True)
        assert (await client.call("gateway.health"))["status"] == "draining"
        assert await closed_with(client) == 1001
        assert said(client.events(turn=turn)) == "the last words"
        assert client.events()[-1]["type"] == "turn.completed"
        client.check_chain(answer["subscription"], answer["head"])
        assert await asyncio.to_thread(gateway.process.wait, 10) == 0
    async with process(tmp_path) as (_, client):
        await calm(client, KEY)
        log = await log_of(client)
        assert end(log, waiting)["type"] == "turn.completed"
        assert [event["turn"] for event in log if event["type"] == "turn.started"] == [turn, waiting]


@pytest.mark.parametrize("how", ["grace", "second signal"])
async def test_asked_to_end_while_a_turn_goes_on(tmp_path: Path, how: str) -> None:
    """When its grace is over, or somebody asks again, the turn ends as by a restart, with all it said; exit code 0."""
    async with process(tmp_path, grace_s=0.3 if how == "grace" else 60) as (gateway, client):
        turn = await send(client, "so far\n/sleep 60000")
        await client.call("session.subscribe", key=KEY, since={"seq": 0})
        await client.seen("generation.start")
        gateway.process.send_signal(signal.SIGTERM)
        if how == "second signal":
            await client.hear_until(lambda message: message.get("method") == "gateway.shutdown")
            gateway.process.send_signal(signal.SIGTERM)
        assert await closed_with(client) == 1001
        log = client.events()
        assert partial_of(log, turn) == text_of(client.deltas())
        assert await asyncio.to_thread(gateway.process.wait, 10) == 0
    async with process(tmp_path) as (_, client):
        assert await log_of(client) == log


async def test_settings_read_again(tmp_path: Path) -> None:
    """SIGHUP: agents come and change for running sessions; a broken file changes nothing."""
    file = tmp_path / "gateway.toml"
    agent = '[[agents]]\nid = "other"\nkind = "echo"\nname = "{}"\n'
    file.write_text("")
    async with process(tmp_path) as (gateway, client):
        await send(client, "/sleep 60000")

        async def names_after(text: str, word: str) -> list[str]:
            file.write_text(text)
            said_before = (tmp_path / "gateway.log").read_text().count(word)
            gateway.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(10):
                while (tmp_path / "gateway.log").read_text().count(word) == said_before:
                    await asyncio.sleep(0.02)
            return [agent["name"] for agent in (await client.call("agent.list"))["agents"]]

        assert await names_after(agent.format("One"), '"reloaded"') == ["Echo", "One"]
        assert await names_after(agent.format("Two"), '"reloaded"') == ["Echo", "Two"]
        assert await names_after("[[agents]]\nid = 7\n", '"reload_refused"') == ["Echo", "Two"]
        await client.call("session.send", key="s", content="hi", create={"agent": "other"}, wait=True)
        session = (await client.call("session.status", key=KEY))["session"]
        assert session["turn"]["state"] == "running"
        assert await names_after("", '"reloaded"') == ["Echo"]
