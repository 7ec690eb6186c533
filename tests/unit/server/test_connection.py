"""What is one connection's own, and messages that come in pieces."""

from collections.abc import AsyncIterator

import pytest
from websockets.frames import CloseCode, Opcode

from gateway.app import Gateway
from tests.raw import RawClient, raw_client
from tests.unit.server.bare import Bare, bare, until_alone

WAITING = {"key": "k", "content": "/sleep 60000", "create": {"agent": "echo"}, "wait": True}


@pytest.fixture
async def one(gateway: Gateway) -> AsyncIterator[RawClient]:
    async with raw_client(f"ws://{gateway.authority}/rpc") as client:
        yield client


@pytest.fixture
async def other(gateway: Gateway) -> AsyncIterator[RawClient]:
    async with raw_client(f"ws://{gateway.authority}/rpc") as client:
        yield client


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[Bare]:
    """A connection that sends frames by hand."""
    async with bare(gateway.port) as client:
        await client.upgrade()
        yield client


async def test_an_id_in_flight_elsewhere(one: RawClient, other: RawClient) -> None:
    """Ids belong to their connection: another's may be the same."""
    waiting = await one.ask("session.send", **WAITING)
    assert await other.ask("session.status", key="k") == waiting
    assert (await other.answer(waiting))["result"]["session"]["turn"]["state"] == "running"


async def test_a_request_of_somebody_else(one: RawClient, other: RawClient) -> None:
    """It cannot be taken back."""
    waiting = await one.ask("session.send", **WAITING)
    assert "turn" in (await one.call("session.status", key="k"))["session"]
    assert await other.call("$/cancelRequest", id=waiting) == {"cancelled": False}
    assert (await other.call("session.stop", key="k"))["stopped"]
    assert (await one.answer(waiting))["result"]["finishReason"] == "stopped"


async def test_a_subscription_of_somebody_else(one: RawClient, other: RawClient) -> None:
    """It cannot be closed; ids are each connection's own."""
    followed = (await one.call("session.create", agent="echo", key="k", subscribe=True))["subscription"]["id"]
    assert await other.call("session.unsubscribe", subscription=followed) == {"closed": False}
    await other.call("session.update", key="k", pinned=True)
    assert (await one.event("session.updated"))["pinned"] is True


async def test_a_message_in_fragments(client: Bare) -> None:
    """It is one message (RFC 6455 §5.4), also when a character is cut in two and a ping comes between."""
    text = '{"jsonrpc":"2.0","id":"Zürich","method":"agent.get","params":{"agent":"echo"}}'.encode()
    cut = text.index("ü".encode()) + 1
    client.send(Opcode.TEXT, text[:cut], is_last=False)
    client.send(Opcode.PING, b"between")
    client.send(Opcode.CONT, b"", is_last=False)
    client.send(Opcode.CONT, text[cut:])
    assert await client.frame() == (Opcode.PONG, b"between")
    assert (await client.hear())["id"] == "Zürich"


async def test_fragments_over_the_limit(client: Bare) -> None:
    """Together they are one message, and too big: answered, then closed."""
    client.send(Opcode.TEXT, b" " * 600_000, is_last=False)
    client.send(Opcode.CONT, b" " * 600_000)
    assert (await client.hear())["error"]["data"]["code"] == "request_too_big"
    opcode, payload = await client.frame()
    assert (opcode, int.from_bytes(payload[:2], "big")) == (Opcode.CLOSE, CloseCode.MESSAGE_TOO_BIG)


@pytest.mark.parametrize("header", [b"\x81\x02{}", b"\xc1\x82\0\0\0\0{}", b"\x83\x82\0\0\0\0{}", b"\x80\x82\0\0\0\0{}"])
async def test_a_frame_against_the_protocol(client: Bare, header: bytes) -> None:
    """Not masked, a reserved bit, an unknown opcode, a rest of nothing: the connection ends, with 1002."""
    client.write(header)
    opcode, payload = await client.frame()
    assert (opcode, int.from_bytes(payload[:2], "big")) == (Opcode.CLOSE, CloseCode.PROTOCOL_ERROR)


async def test_many_messages_in_one_packet(client: Bare) -> None:
    """Each is answered; those that wait for nothing in their order."""
    for number in range(40):
        client.say("agent.list", id=number)
    assert [(await client.hear())["id"] for _ in range(40)] == list(range(40))


async def test_a_client_that_leaves_while_much_is_waiting(gateway: Gateway, one: RawClient) -> None:
    """Nothing of it is left: no request, no subscription; the turns it began go on."""
    async with bare(gateway.port) as client:
        await client.upgrade()
        for number in range(20):
            client.say("session.send", id=number, **WAITING | {"key": f"k{number}"}, subscribe=True)
        for _ in range(60):
            assert (await client.hear())["method"] == "session.event"
    health = await until_alone(one)
    assert (health["peakConnections"], health["turnsRunning"]) == (2, 20)
