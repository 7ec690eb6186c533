"""Tokens that are revoked or run out take their connections with them; rights that go take subscriptions."""

import asyncio
import time
from pathlib import Path

import pytest

from gateway.server.connection import BATCH_AT_ONCE
from rpc_schema.errors import TokenNotFound
from tests.e2e.auth.people import ALICE, ANNA, BOB, OLGA, ROOT, connected, office, owned_by, person, token_of
from tests.e2e.auth.test_ways import closed, user_of
from tests.e2e.inside import settings_of
from tests.fakes import FakeClock
from tests.unit.server.bare import SMALL_WINDOW, bare


async def test_revoked(tmp_path: Path) -> None:
    """All connections of the token and no other; what they follow says nothing more, their turns go on."""
    async with office(tmp_path) as gateway, person(gateway, ANNA) as admin:
        made = await admin.call("token.create", user="alice")
        token, other = made["token"], await token_of(gateway, ALICE)
        async with connected(gateway, token) as one, connected(gateway) as two, connected(gateway, other) as three:
            await two.call("gateway.hello", token=token)
            waiting = {"key": "k", "content": "/sleep 60000", "create": {"agent": "echo"}, "wait": True}
            await one.ask("session.send", subscribe=True, **waiting)
            await one.event("turn.started")
            before = time.monotonic()
            await admin.call("token.revoke", id=made["id"])
            assert (await closed(one), await closed(two)) == (4403, 4403)
            assert time.monotonic() - before < 2
            assert (await three.call("session.status", key="k"))["session"]["turn"]["state"] == "running"


async def test_revoked_while_it_does_not_read(tmp_path: Path) -> None:
    """It is gone within two seconds all the same."""
    async with office(tmp_path) as gateway, person(gateway, ANNA) as admin:
        made = await admin.call("token.create", user="alice")
        async with bare(gateway.port, window=SMALL_WINDOW) as client:
            await client.upgrade(f"Authorization: Bearer {made['token']}")
            for number in range(60):
                client.say("rpc.discover", id=number)
            while (await admin.call("gateway.health"))["connections"] != 2:
                pass
            await asyncio.sleep(0.2)
            await admin.call("token.revoke", id=made["id"])
            async with asyncio.timeout(2):
                while (await admin.call("gateway.health"))["connections"] != 1:
                    await asyncio.sleep(0.05)


async def test_revoked_while_a_call_waits(tmp_path: Path) -> None:
    """What had not begun does not happen any more."""
    async with office(tmp_path) as gateway, person(gateway, ANNA) as admin:
        made = await admin.call("token.create", user="alice")
        async with connected(gateway, made["token"]) as client:
            await client.call("session.create", agent="echo", key="k")
            async with gateway.services.lanes.enter(("acme", "k")):
                await client.ask("session.update", key="k", title="New")
                await asyncio.sleep(0.05)
                await admin.call("token.revoke", id=made["id"])
            assert await closed(client) == 4403
        assert "title" not in (await admin.call("session.status", key="k"))["session"]


async def test_the_rest_of_a_batch(tmp_path: Path) -> None:
    """Who revoked the own token does not come back as somebody else: what stands behind it is not served."""
    async with office(tmp_path) as gateway:
        token, other = await token_of(gateway, ANNA), await token_of(gateway, BOB)
        mine = next(row.id for row in gateway.services.tokens.all() if row.user == "anna")
        calls = [("token.revoke", {"id": mine})] * BATCH_AT_ONCE
        calls += [("gateway.hello", {"token": other}), ("session.create", {"agent": "echo", "key": "k"})]
        async with connected(gateway, token) as client:
            await client.say([
                {"jsonrpc": "2.0", "id": n, "method": method, "params": params}
                for n, (method, params) in enumerate(calls)
            ])  # fmt: skip
            answers = await client.hear()
            assert [answer.get("error", {}).get("code") for answer in answers[-2:]] == [401, 401]
            assert await closed(client) == 4403
        assert gateway.sessions()["live"] == 0


async def test_behind_a_wrong_token(tmp_path: Path) -> None:
    """Nothing more of the batch is served, with the right one neither."""
    async with office(tmp_path) as gateway:
        token = await token_of(gateway, ALICE)
        async with connected(gateway) as client:
            hello = {"jsonrpc": "2.0", "method": "gateway.hello"}
            await client.say([hello | {"id": n, "params": {"token": text}} for n, text in enumerate(("x", token))])
            assert [answer["error"]["code"] for answer in await client.hear()] == [401, 401]
            assert await closed(client) == 4401


async def test_a_revocation_that_nobody_waits_for(tmp_path: Path) -> None:
    """The caller left: it happens in full all the same."""
    async with office(tmp_path) as gateway:
        tokens = gateway.services.tokens
        token = await token_of(gateway, ALICE)
        id = next(tokens.all()).id
        revoking = asyncio.create_task(tokens.revoke(id))
        await asyncio.sleep(0)
        revoking.cancel()
        async with asyncio.timeout(5):
            while tokens.find(id).revoked_at is None:
                await asyncio.sleep(0.01)
        assert tokens.recognise(token) is None
        with pytest.raises(TokenNotFound):
            await tokens.revoke("another")
    async with office(tmp_path) as gateway:
        assert gateway.services.tokens.recognise(token) is None


async def test_tokens_of_another_tenant(tmp_path: Path) -> None:
    """For an admin of one they are not there; one of every tenant has them all."""
    async with office(tmp_path) as gateway, person(gateway, ANNA) as anna, person(gateway, ROOT) as root:
        made = await root.call("token.create", user="zoe", tenant="zeta")
        assert (await anna.fail("token.revoke", id=made["id"]))["data"]["code"] == "token_not_found"
        assert (await anna.fail("token.create", user="zoe", tenant="zeta"))["code"] == 403
        assert (await anna.fail("token.create", user="x", tenant="*", roles=["admin"]))["code"] == 403
        assert (await anna.call("token.create", user="x"))["tenant"] == "acme"
        listed = [token["tenant"] for token in (await anna.call("token.list"))["tokens"]]
        assert listed == ["acme", "acme"]
        assert len((await root.call("token.list"))["tokens"]) == 4
        seen = (await anna.call("gateway.connections"))["connections"]
        assert [connection["user"] for connection in seen] == ["anna"]
        seen = (await root.call("gateway.connections"))["connections"]
        assert [connection["user"] for connection in seen] == ["anna", "root"]


async def test_a_token_that_names_no_tenant(tmp_path: Path) -> None:
    """Every tenant is given only by name, and only to admins."""
    async with office(tmp_path) as gateway, person(gateway, ROOT) as root:
        assert (await root.call("token.create", user="bob"))["tenant"] == "default"
        assert (await root.call("token.create", user="bob", roles=["admin"]))["tenant"] == "default"
        assert (await root.call("token.create", user="bob", roles=["admin"], tenant="*"))["tenant"] == "*"
        assert (await root.fail("token.create", user="bob", tenant="*"))["code"] == -32602


async def test_nobody_gives_what_they_have_not(tmp_path: Path) -> None:
    """An admin whose token is narrowed makes narrow tokens, by default too."""
    narrow = ANNA.__class__("anna", roles=("admin",), scopes=("admin", "sessions:read"))
    async with office(tmp_path) as gateway, person(gateway, narrow) as anna:
        error = await anna.fail("token.create", user="bob", scopes=["sessions:write"])
        assert (error["code"], error["data"]["required"]) == (403, "the scope sessions:write")
        assert (await anna.call("token.create", user="bob"))["scopes"] == ["sessions:read"]


async def test_expiring(tmp_path: Path) -> None:
    """Warned a minute before, closed at the end; a call is not served past it, however late the wheel is."""
    clock = FakeClock()
    async with office(tmp_path, clock=clock) as gateway:
        token = await token_of(gateway, ALICE, days=1)
        async with connected(gateway, token) as client, connected(gateway, token) as refreshed:
            clock.advance(minutes=24 * 60 - 1)
            assert (await client.hear())["method"] == "auth.expiring"
            assert (await refreshed.hear())["method"] == "auth.expiring"
            await refreshed.call("auth.refresh", token=await token_of(gateway, ALICE, days=1))
            clock.advance(minutes=1)
            assert (await client.fail("session.list"))["code"] == 401
            assert await closed(client) == 4408
            assert await user_of(refreshed) == "alice"


async def test_a_token_of_seconds(tmp_path: Path) -> None:
    """The warning comes at once."""
    clock = FakeClock()
    async with office(tmp_path, clock=clock) as gateway:
        token = await token_of(gateway, ALICE, days=30 / 86400)
        async with connected(gateway, token) as client:
            assert (await client.hear())["method"] == "auth.expiring"
            clock.advance(seconds=30)
            assert await closed(client) == 4408


async def test_expiring_while_the_machine_sleeps(tmp_path: Path) -> None:
    """The token is over when it wakes, for its connection and for others; one that is not is warned of in time."""
    clock = FakeClock()
    async with office(tmp_path, clock=clock) as gateway:
        short, long = await token_of(gateway, ALICE, days=1), await token_of(gateway, ALICE, days=2)
        async with (
            connected(gateway, short) as client,
            connected(gateway, long) as other,
            connected(gateway) as stranger,
        ):
            clock.set_wall(by_ms=24 * 3_600_000)
            assert (await client.fail("session.list"))["code"] == 401
            assert await closed(client) == 4408
            assert (await stranger.fail("gateway.hello", token=short))["code"] == 401
            assert await user_of(other) == "alice"
            clock.advance(minutes=24 * 60 - 1)
            assert (await other.hear())["method"] == "auth.expiring"
            clock.set_wall(by_ms=-3_600_000)
            await asyncio.sleep(0.25)
            await other.silence()
            clock.advance(minutes=61)
            assert await closed(other) == 4408


async def test_another_owner(tmp_path: Path) -> None:
    """A reload that gives the agent to somebody else: who may no longer read hears no more, and why."""
    async with office(tmp_path) as gateway, person(gateway, ALICE) as alice:
        await alice.call("session.create", agent="desk", key="k")
        async with person(gateway, OLGA) as olga, person(gateway, BOB) as bob:
            followed = (await olga.call("session.subscribe", key="k"))["subscription"]
            assert (await bob.fail("session.subscribe", key="k"))["code"] == 404
            await gateway.reload(owned_by(settings_of(tmp_path), "bob"))
            farewell = (await olga.hear())["params"]
            expected = {"subscription": followed, "reason": "forbidden", "lastSeq": 1, "resumable": False}
            assert farewell == expected
            await bob.call("session.subscribe", key="k")
            await alice.call("session.update", key="k", title="New")
            assert (await bob.event("session.updated"))["title"] == "New"
            assert (await olga.fail("session.status", key="k"))["code"] == 404
            await olga.silence()


async def test_a_narrower_token(tmp_path: Path) -> None:
    """Going on with one that may not read closes what is followed."""
    writer = ALICE.__class__("alice", scopes=("sessions:write",))
    async with office(tmp_path) as gateway, person(gateway, ALICE) as alice:
        await alice.call("session.create", agent="desk", key="k", subscribe=True)
        await alice.call("auth.refresh", token=await token_of(gateway, writer))
        closings = [message for message in alice.heard if message.get("method") == "subscription.closed"]
        assert [message["params"]["reason"] for message in closings] == ["forbidden"]
