"""What a client offers beside the upgrade: `jsonrpc` is taken, tokens are read and never repeated."""

import pytest
from websockets.frames import Opcode
from websockets.typing import Subprotocol

from gateway.app import Gateway
from tests.raw import raw_client
from tests.unit.server.bare import bare

UNAUTHENTICATED = (4401).to_bytes(2, "big")


@pytest.mark.parametrize(
    ("offered", "echoed"),
    [([], None), (["jsonrpc"], "jsonrpc"), (["other"], None), (["other", "jsonrpc"], "jsonrpc"), (["JSONRPC"], None)],
)
async def test_what_is_echoed(gateway: Gateway, offered: list[str], echoed: str | None) -> None:
    """`jsonrpc` where it is offered, and nothing else; every client is served."""
    protocols = [Subprotocol(word) for word in offered]
    async with raw_client(f"ws://{gateway.authority}/rpc", subprotocols=protocols or None) as client:
        assert client.socket.subprotocol == echoed
        assert (await client.call("gateway.hello"))["principal"]["user"] == "local"


@pytest.mark.parametrize(
    ("headers", "echoed"),
    [
        (["jsonrpc, bearer.gw_wrong"], "jsonrpc"),
        (["bearer.gw_wrong, jsonrpc"], "jsonrpc"),
        (["bearer.gw_wrong"], None),
        (["jsonrpc", "bearer.gw_wrong"], "jsonrpc"),
        (["jsonrpc,bearer."], "jsonrpc"),
        (["jsonrpc, bearer.one, bearer.two"], "jsonrpc"),
    ],
)
async def test_a_token_that_opens_nothing(gateway: Gateway, headers: list[str], echoed: str | None) -> None:
    """A browser cannot see a 401: it is let in, told 4401, and the token is nowhere in the answer."""
    async with bare(gateway.port) as client:
        answer = await client.upgrade(*(f"Sec-WebSocket-Protocol: {header}" for header in headers))
        assert answer.headers.get("sec-websocket-protocol") == echoed
        assert "bearer" not in str(answer)
        opcode, payload = await client.frame()
        assert (opcode, payload[:2]) == (Opcode.CLOSE, UNAUTHENTICATED)
        client.send(Opcode.CLOSE, UNAUTHENTICATED)
        assert await client.rest() == b""


async def test_nothing_is_served_with_it(gateway: Gateway) -> None:
    """What came right behind the upgrade is not answered."""
    async with bare(gateway.port) as client:
        await client.upgrade("Sec-WebSocket-Protocol: jsonrpc, bearer.gw_wrong")
        client.say("session.create", agent="echo", key="k")
        opcode, _ = await client.frame()
        assert opcode is Opcode.CLOSE
    async with raw_client(f"ws://{gateway.authority}/rpc") as other:
        assert (await other.fail("session.status", key="k"))["code"] == 404


async def test_a_token_in_hello(gateway: Gateway) -> None:
    """The refusal can be read, then the connection ends: both say unauthenticated."""
    async with bare(gateway.port) as client:
        await client.upgrade()
        client.say("gateway.hello", token="gw_wrong")
        refusal = await client.hear()
        assert (refusal["id"], refusal["error"]["code"]) == (1, 401)
        assert "gw_wrong" not in str(refusal)
        opcode, payload = await client.frame()
        assert (opcode, payload[:2]) == (Opcode.CLOSE, UNAUTHENTICATED)


async def test_nothing_is_served_after_it(gateway: Gateway) -> None:
    """A call that came right behind the refused hello is neither answered nor carried out."""
    async with bare(gateway.port) as client:
        await client.upgrade()
        client.say("gateway.hello", token="gw_wrong")
        client.say("session.create", id=2, agent="echo", key="k")
        assert (await client.hear())["id"] == 1
        opcode, _ = await client.frame()
        assert opcode is Opcode.CLOSE
    async with raw_client(f"ws://{gateway.authority}/rpc") as other:
        assert (await other.fail("session.status", key="k"))["code"] == 404


async def test_a_token_in_hello_in_a_batch(gateway: Gateway) -> None:
    """What stands before it is served, what stands behind it refused, in one array, before the end."""
    async with raw_client(f"ws://{gateway.authority}/rpc") as client:
        hello = {"jsonrpc": "2.0", "id": 1, "method": "gateway.hello", "params": {"token": "gw_wrong"}}
        agents = {"jsonrpc": "2.0", "method": "agent.list"}
        await client.say([agents | {"id": 0}, hello, agents | {"id": 2}])
        before, *refusals = await client.hear()
        assert "result" in before
        assert [refusal["error"]["code"] for refusal in refusals] == [401, 401]
        await client.socket.wait_closed()
        assert client.socket.close_code == 4401
