"""The three ways to show a token, and what somebody may do before."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode
from websockets.typing import Subprotocol

from gateway.app import Gateway
from tests.e2e.auth.people import ALICE, ANNA, BOB, connected, office, token_of
from tests.fakes import FakeClock
from tests.raw import PATIENCE_S, RawClient, raw_client
from tests.unit.server.bare import HANDSHAKE, Answer, bare

UNAUTHENTICATED = (4401).to_bytes(2, "big")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def gateway(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Gateway]:
    """One whose authentication is on."""
    async with office(tmp_path, clock=clock, auth_required=True) as up:
        yield up


async def closed(client: RawClient) -> int | None:
    """The code that the gateway closes with."""
    async with asyncio.timeout(PATIENCE_S):
        await client.socket.wait_closed()
    return client.socket.close_code


async def user_of(client: RawClient) -> str:
    user: str = (await client.call("gateway.hello"))["principal"]["user"]
    return user


async def upgrade(gateway: Gateway, *headers: str) -> Answer:
    async with bare(gateway.port) as client:
        return await client.get("/rpc", *HANDSHAKE, *headers)


# Authorization


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
async def test_the_header(gateway: Gateway, scheme: str) -> None:
    """The scheme's case does not count (RFC 9110 §11.1); nothing needs to be said before the first call."""
    headers = {"Authorization": f"{scheme} {await token_of(gateway, ALICE)}"}
    async with raw_client(f"ws://{gateway.authority}/rpc", additional_headers=headers) as client:
        assert (await client.call("session.list"))["total"] == 0
        assert await user_of(client) == "alice"


@pytest.mark.parametrize(
    "form", ["Bearer {}x", "Bearer", "Bearer ", "{}", "Basic {}", "Token {}", "Bearer {},{}", "Bearer {} {}"]
)
async def test_a_wrong_header(gateway: Gateway, form: str) -> None:
    """Nearly a token, none, another scheme: told before the upgrade, and told how."""
    answer = await upgrade(gateway, "Authorization: " + form.replace("{}", await token_of(gateway, ALICE)))
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert b"gw_" not in answer.body


async def test_a_doubled_header(gateway: Gateway) -> None:
    """Even the right one twice: nobody can say which counts."""
    header = f"Authorization: Bearer {await token_of(gateway, ALICE)}"
    assert (await upgrade(gateway, header)).status == 101
    assert (await upgrade(gateway, header, header)).status == 401


async def test_the_header_counts_before_the_subprotocol(gateway: Gateway) -> None:
    """The first way that is used decides, right or wrong."""
    alice, bob = await token_of(gateway, ALICE), await token_of(gateway, BOB)
    offered = [Subprotocol("jsonrpc"), Subprotocol(f"bearer.{bob}")]
    async with connected(gateway, alice, subprotocols=offered) as client:
        assert await user_of(client) == "alice"
    answer = await upgrade(gateway, "Authorization: Bearer x", f"Sec-WebSocket-Protocol: jsonrpc, bearer.{bob}")
    assert answer.status == 401


# The subprotocol


async def test_the_subprotocol(gateway: Gateway) -> None:
    """As browsers have to; only jsonrpc is echoed. A token has nothing that a subprotocol may not have."""
    token = await token_of(gateway, ALICE)
    async with bare(gateway.port) as client:
        answer = await client.upgrade(f"Sec-WebSocket-Protocol: jsonrpc, bearer.{token}")
        assert answer.headers["sec-websocket-protocol"] == "jsonrpc"
        assert token not in str(answer)
        client.say("gateway.hello")
        assert (await client.hear())["result"]["principal"]["user"] == "alice"


@pytest.mark.parametrize("form", ["bearer.{}x", "bearer.", "bearer.{}, bearer.{}"])
async def test_a_wrong_subprotocol(gateway: Gateway, form: str) -> None:
    """A browser cannot see a 401: the upgrade goes through, then 4401."""
    offered = form.replace("{}", await token_of(gateway, ALICE))
    async with bare(gateway.port) as client:
        await client.upgrade(f"Sec-WebSocket-Protocol: jsonrpc, {offered}")
        opcode, payload = await client.frame()
        assert (opcode, payload[:2]) == (Opcode.CLOSE, UNAUTHENTICATED)


# The first message


async def test_hello(gateway: Gateway) -> None:
    """What came behind it in the same packet is served already."""
    token = await token_of(gateway, ALICE)
    async with connected(gateway) as client:
        first, second = await client.ask("gateway.hello", token=token), await client.ask("session.list")
        assert (await client.answer(first))["result"]["principal"]["user"] == "alice"
        assert (await client.answer(second))["result"]["total"] == 0


@pytest.mark.parametrize("token", ["", "gw_wrong", "x" * 60_000, "ü", "\x00"])
async def test_a_wrong_hello(gateway: Gateway, token: str) -> None:
    """An error that can be read, then the end."""
    async with connected(gateway) as client:
        assert (await client.fail("gateway.hello", token=token))["code"] == 401
        assert await closed(client) == 4401


async def test_hello_again(gateway: Gateway) -> None:
    """The same user may, with any token that is good; scopes are the new token's from then on."""
    narrow = ALICE.__class__("alice", scopes=("sessions:read",))
    async with connected(gateway, await token_of(gateway, ALICE)) as client:
        await client.call("session.create", agent="echo", key="k")
        assert (await client.call("gateway.hello", token=await token_of(gateway, narrow)))["principal"]["scopes"] == [
            "sessions:read"
        ]
        assert (await client.fail("session.update", key="k", title="New"))["code"] == 403


async def test_nothing_else_is_served_before(gateway: Gateway) -> None:
    """Not even to learn which methods there are; batches and notifications neither."""
    async with connected(gateway) as client:
        for method in ("session.list", "gateway.health", "rpc.discover", "no.such", "auth.refresh", "token.create"):
            assert (await client.fail(method))["code"] == 401
        await client.say([{"jsonrpc": "2.0", "id": n, "method": "agent.list"} for n in (1, 2)])
        assert [answer["error"]["code"] for answer in await client.hear()] == [401, 401]
        await client.say({"jsonrpc": "2.0", "method": "session.create", "params": {"agent": "echo", "key": "k"}})
        await client.call("gateway.hello", token=await token_of(gateway, ANNA))
        assert (await client.fail("session.status", key="k"))["code"] == 404


async def test_small_messages_before(gateway: Gateway) -> None:
    """64 KiB, then 1009; once known, all that the limits say."""
    params = {"agent": "echo", "title": "x", "metadata": {"m": "x" * 100_000}}
    async with connected(gateway) as client:
        await client.ask("session.create", **params)
        error = (await client.hear())["error"]
        assert (error["data"]["code"], error["data"]["limit"]) == ("request_too_big", 65536)
        assert await closed(client) == 1009
    async with connected(gateway) as client:
        await client.call("gateway.hello", token=await token_of(gateway, ALICE))
        assert (await client.fail("session.create", **params))["data"]["code"] == "metadata_too_large"
    async with connected(gateway, await token_of(gateway, ALICE)) as client:
        assert (await client.fail("session.create", **params))["data"]["code"] == "metadata_too_large"


async def test_ten_seconds(gateway: Gateway, clock: FakeClock) -> None:
    """So long may somebody stay who shows nothing; whoever did stays."""
    async with connected(gateway) as stranger, connected(gateway) as known:
        await known.call("gateway.hello", token=await token_of(gateway, ALICE))
        clock.advance(seconds=9.9)
        await asyncio.sleep(0.25)
        assert (await stranger.fail("session.list"))["code"] == 401
        clock.advance(seconds=0.2)
        assert await closed(stranger) == 4401
        assert await user_of(known) == "alice"


async def test_a_token_that_is_over(gateway: Gateway, clock: FakeClock) -> None:
    """Expired or revoked: as wrong as one that never was, at the very instant."""
    expired, revoked = await token_of(gateway, ALICE, days=1), await token_of(gateway, ALICE)
    clock.advance(minutes=24 * 60, ms=-1)
    async with connected(gateway, expired):
        clock.advance(ms=1)
    tokens = gateway.services.tokens
    await tokens.revoke(next(row.id for row in tokens.all() if row.expires_at is None))
    for token in (expired, revoked):
        assert (await upgrade(gateway, f"Authorization: Bearer {token}")).status == 401
        async with connected(gateway) as client:
            assert (await client.fail("gateway.hello", token=token))["code"] == 401


@pytest.mark.parametrize("page", ["/", "/healthz", "/readyz", "/openrpc.json"])
async def test_pages_need_none(gateway: Gateway, page: str) -> None:
    """Whoever watches over the gateway has no token."""
    async with bare(gateway.port) as client:
        assert (await client.get(page)).status == 200


async def test_the_log_names_users_and_ids(gateway: Gateway, capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever reads it cannot call."""
    token = await token_of(gateway, ALICE)
    async with connected(gateway, token) as client, connected(gateway) as other:
        await other.call("gateway.hello", token=token)
        await client.call("gateway.hello")
        await client.fail("auth.refresh", token=token + "x")
        with pytest.raises(ConnectionClosed):
            await client.hear()
    said = "".join(capfd.readouterr())
    assert "alice" in said
    assert next(gateway.services.tokens.all()).id in said
    assert token[5:] not in said
