"""The end of a connection: what was said before it arrives, and nothing after it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.frames import Opcode

from gateway.app import Gateway, running
from gateway.config import load
from gateway.server.socket import CLOSE_GRACE_S
from rpc_schema import close_codes
from tests.raw import raw_client
from tests.unit.server.bare import Bare, bare, until_alone
from tests.unit.server.conftest import AGENTS, Skip


async def hear_a_stream(client: Bare) -> None:
    """Follow a turn that goes on talking for long."""
    await client.upgrade()
    send = {"key": "k", "content": "/words 1000000", "create": {"agent": "echo"}}
    client.say("session.send", id="send", subscribe=True, **send)
    while (await client.hear()).get("method") != "session.delta":
        pass


async def closed_with(client: Bare) -> int:
    """The code of the Close, whatever comes before it."""
    while True:
        opcode, payload = await client.frame()
        if opcode is Opcode.CLOSE:
            return int.from_bytes(payload[:2], "big")


async def test_a_refused_client_that_follows_a_turn(gateway: Gateway, skip: Skip) -> None:
    """After the Close not one delta comes, though the turn goes on; the peer need not answer the Close."""
    async with bare(gateway.port) as client:
        await hear_a_stream(client)
        client.say("gateway.hello", id="hello", token="gw_wrong")
        while (message := await client.hear()).get("method") == "session.delta":
            pass
        assert (message["id"], message["error"]["code"]) == ("hello", 401)
        assert await closed_with(client) == close_codes.UNAUTHENTICATED
        await skip(CLOSE_GRACE_S)
        assert await client.rest() == b""
    async with raw_client(f"ws://{gateway.authority}/rpc") as other:
        assert (await other.call("session.stop", key="k"))["stopped"]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is to be left before the test ends."""
    async with AsyncExitStack() as stack:
        yield stack


async def test_a_shutdown_while_a_turn_talks(tmp_path: Path, skip: Skip, stack: AsyncExitStack) -> None:
    """1001 is the last a follower hears; one that does not answer it is not waited for."""
    config = tmp_path / "gateway.toml"
    config.write_text(AGENTS)
    settings = load(config, {}, {"server.port": 0, "server.data_dir": str(tmp_path / "data")}).settings
    gateway = await stack.enter_async_context(running(settings))
    async with bare(gateway.port) as client:
        await hear_a_stream(client)
        stopping = asyncio.create_task(stack.aclose())
        assert await closed_with(client) == close_codes.GOING_AWAY
        await skip(CLOSE_GRACE_S)
        assert await client.rest() == b""
        await stopping


async def test_a_client_that_drops_the_connection(gateway: Gateway) -> None:
    """Its turn goes on, what it followed is let go."""
    async with bare(gateway.port) as client:
        await hear_a_stream(client)
    async with raw_client(f"ws://{gateway.authority}/rpc") as other:
        assert (await until_alone(other))["turnsRunning"] == 1
        assert (await other.call("session.stop", key="k"))["stopped"]


async def test_a_client_that_closes(gateway: Gateway) -> None:
    """Its goodbye is answered with its own code."""
    async with bare(gateway.port) as client:
        await client.upgrade()
        client.send(Opcode.CLOSE, close_codes.NORMAL.to_bytes(2, "big"))
        assert await closed_with(client) == close_codes.NORMAL
        assert await client.rest() == b""
