"""The main job: a message goes in, an answer streams out to everybody, and it is still there after a restart."""

from pathlib import Path

from gateway.app import Gateway, running
from gateway.config import load
from tests.conftest import Connect
from tests.raw import RawClient, raw_client

KEY = "agent:echo:web:42/7"


async def test_the_conversation_of_the_contract(client: RawClient) -> None:
    """Create, subscribe, send: the answer first, then the events of protocol.md §8 in their order."""
    created = await client.call("session.create", agent="echo", key=KEY)
    assert created["session"]["head"] == 1
    subscribed = await client.call("session.subscribe", key=KEY)
    assert subscribed["replay"] == {"from": 2, "to": 1, "complete": True}
    sent = await client.call("session.send", key=KEY, content="hello world")
    assert (sent["seq"], sent["state"], sent["sessionStatus"]["wasRenewed"]) == (2, "running", True)
    assert client.events() == []
    await client.event("turn.completed")
    assert [event["type"] for event in client.events()] == [
        "message.user",
        "turn.started",
        "generation.start",
        "generation.end",
        "message.assistant",
        "turn.completed",
    ]
    assert [(delta["offset"], delta["text"]) for delta in client.deltas()] == [(0, "hello "), (6, "world")]
    assert client.events()[4]["content"] == "hello world"


async def test_everybody_hears_it(client: RawClient, connect: Connect) -> None:
    """Three subscribers hear the same events and deltas."""
    await client.call("session.create", agent="echo", key=KEY)
    async with connect() as second, connect() as third:
        for listener in (client, second, third):
            await listener.call("session.subscribe", key=KEY)
        await client.call("session.send", key=KEY, content="to all of you")
        for listener in (client, second, third):
            await listener.event("turn.completed")
        assert client.events() == second.events() == third.events()
        assert client.deltas() == second.deltas() == third.deltas()


async def test_it_is_all_there_after_a_restart(tmp_path: Path) -> None:
    """The same history, summary and epoch from a new process on the same data."""
    settings = load(None, {}, {"server.port": 0, "server.data_dir": str(tmp_path)}).settings

    async def read(gateway: Gateway) -> tuple[object, ...]:
        async with raw_client(f"ws://{gateway.authority}/rpc") as client:
            history = await client.call("session.history", key=KEY)
            session = (await client.call("session.status", key=KEY))["session"]
            del session["timeRemainingMs"]
            return history, session

    async with running(settings) as gateway:
        async with raw_client(f"ws://{gateway.authority}/rpc") as client:
            await client.call("session.send", key=KEY, content="remember me", create={"agent": "echo"}, wait=True)
        before = await read(gateway)
    async with running(settings) as gateway:
        assert await read(gateway) == before
