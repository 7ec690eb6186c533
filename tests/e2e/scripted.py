"""A conversation with an agent that does as the test says, once; afterwards it just answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.agents.base import Finish, Output, Turn
from tests.e2e.inside import client_of, gateway_of
from tests.fakes import Script, ScriptedAgent
from tests.raw import Json, RawClient, said, text_of

ENDS = ("turn.completed", "turn.stopped", "turn.failed")
KEY = "agent:odd"


@asynccontextmanager
async def talk(data_dir: Path, script: Script) -> AsyncIterator[RawClient]:
    """A connection that follows a new session with such an agent."""
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
