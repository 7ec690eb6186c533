"""Connections that are dead without having been closed."""

from websockets.frames import Opcode

from gateway.app import Gateway
from gateway.server.listener import PING_S
from gateway.server.socket import CLOSE_GRACE_S
from tests.raw import raw_client
from tests.unit.server.bare import bare, until_alone
from tests.unit.server.conftest import Skip


async def test_a_client_that_answers(gateway: Gateway, skip: Skip) -> None:
    """It is asked every PING_S and stays."""
    async with bare(gateway.port) as client:
        await client.upgrade()
        for _ in range(3):
            await skip(PING_S)
            opcode, payload = await client.frame()
            assert opcode is Opcode.PING
            client.send(Opcode.PONG, payload)
            client.say("gateway.hello")
            assert (await client.hear())["id"] == 1


async def test_a_client_that_does_not_answer(gateway: Gateway, skip: Skip) -> None:
    """After another PING_S it is told goodbye, and then cut off: nothing of it is left."""
    async with bare(gateway.port) as client:
        await client.upgrade()
        client.say("session.create", agent="echo", key="k", subscribe=True)
        assert "result" in await client.hear()
        await skip(PING_S)
        assert (await client.frame())[0] is Opcode.PING
        await skip(PING_S)
        assert (await client.frame())[0] is Opcode.CLOSE
        await skip(CLOSE_GRACE_S)
        assert await client.rest() == b""
    async with raw_client(f"ws://{gateway.authority}/rpc") as other:
        await until_alone(other)


async def test_a_client_that_asks(gateway: Gateway) -> None:
    """Its ping is answered with its own words."""
    async with bare(gateway.port) as client:
        await client.upgrade()
        client.send(Opcode.PING, b"there?")
        assert await client.frame() == (Opcode.PONG, b"there?")
