"""A disk that is full: what cannot be kept is refused, what has happened is written once it can be."""

import asyncio
from http.client import HTTPConnection
from pathlib import Path

from gateway.agents.base import Finish, Output, Turn
from gateway.app import Gateway
from tests.disk import full_disk
from tests.e2e.calls import words
from tests.e2e.inside import client_of, gateway_of
from tests.fakes import ScriptedAgent, forever
from tests.raw import RawClient, said, text_of

KEY = "agent:full"


class Patient(ScriptedAgent):
    """Says something, waits until it may, says something more."""

    def __init__(self) -> None:
        super().__init__("patient", self.speak)
        self.may_go_on = asyncio.Event()

    async def speak(self, turn: Turn, out: Output) -> Finish:
        out.text("before")
        await self.may_go_on.wait()
        out.text(" and after")
        return "stop"


async def ready(gateway: Gateway) -> int:
    """What /readyz says."""

    def ask() -> int:
        connection = HTTPConnection(gateway.host, gateway.port, timeout=5)
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
        connection.close()
        return status

    return await asyncio.to_thread(ask)


async def refused(client: RawClient, method: str, **params: object) -> None:
    error = await client.fail(method, **params)
    assert (error["code"], error["data"]) == (503, {"code": "store_unavailable", "retryable": True})


async def test_what_changes_something(tmp_path: Path) -> None:
    """503, to be tried again, and nothing is changed; what only reads goes on; with room again all is well."""
    async with gateway_of(tmp_path) as gateway, client_of(gateway) as client:
        await client.call("session.send", key=KEY, content="hello", create={"agent": "echo"}, wait=True)
        before = await client.call("session.history", key=KEY)
        assert await ready(gateway) == 200
        with full_disk(tmp_path):
            await refused(client, "session.send", key=KEY, content="x" * 50_000)
            await refused(client, "session.send", key=KEY, content="x" * 50_000, idempotencyKey="w")
            await refused(client, "session.create", key="new", agent="echo", title="x")
            await refused(client, "session.update", key=KEY, title="x" * 200)
            await refused(client, "session.reset", key=KEY)
            assert await ready(gateway) == 503
            assert await client.call("session.history", key=KEY) == before
            assert (await client.call("session.list"))["total"] == 1
            assert (await client.fail("session.status", key="new"))["data"]["code"] == "session_not_found"
        assert await ready(gateway) == 200
        answer = await client.call("session.send", key=KEY, content="hello", idempotencyKey="w", wait=True)
        assert answer["seq"] == before["head"] + 1
        assert (await client.call("session.update", key=KEY, title="x"))["session"]["title"] == "x"


async def test_a_turn_that_ends_meanwhile(tmp_path: Path) -> None:
    """Its end is written as soon as it can be, once, with all it said; the session is free again."""
    agent = Patient()
    async with gateway_of(tmp_path, agent) as gateway, client_of(gateway) as client:
        await client.call("session.create", key=KEY, agent="patient", subscribe=True)
        turn = (await client.call("session.send", key=KEY, content="go"))["turn"]
        await words(client)
        with full_disk(tmp_path):
            agent.may_go_on.set()
            await client.delta()
            await refused(client, "session.send", key=KEY, content="hello?")
            assert (await client.call("session.status", key=KEY))["session"]["turn"]["id"] == turn
        await client.seen("turn.completed", turn=turn)
        assert said(client.events()) == text_of(client.deltas()) == "before and after"
        assert (await client.call("session.send", key=KEY, content="again", wait=True))["finishReason"] == "stop"


async def test_a_turn_that_is_stopped_meanwhile(tmp_path: Path) -> None:
    """It is silent at once, though its end is not written yet."""

    async def script(turn: Turn, out: Output) -> Finish:
        out.text("so far")
        await forever()
        return "stop"

    async with gateway_of(tmp_path, ScriptedAgent("endless", script)) as gateway, client_of(gateway) as client:
        await client.call("session.create", key=KEY, agent="endless", subscribe=True)
        turn = (await client.call("session.send", key=KEY, content="go"))["turn"]
        await words(client)
        with full_disk(tmp_path):
            await refused(client, "session.stop", key=KEY)
        end = await client.seen("turn.stopped", turn=turn)
        assert (end["by"], end["reason"]) == ("local", "stopped")
        assert said(client.events()) == "so far"
        assert await client.call("session.stop", key=KEY) == {"stopped": False}
