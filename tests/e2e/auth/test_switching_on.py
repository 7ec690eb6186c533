"""From the local admin to tokens: when, for whom, and that there is no way back."""

from pathlib import Path

import pytest

from gateway.app import StartError
from tests.e2e.auth.people import ALICE, ROOT, connected, office, token_of
from tests.e2e.auth.test_ways import closed, user_of

NONE = {
    "user": "local",
    "tenant": "default",
    "roles": ["admin"],
    "scopes": ["admin", "sessions:read", "sessions:write"],
}


async def test_the_first_token(tmp_path: Path) -> None:
    """Whoever made it goes on, also as somebody; all others who showed nothing are closed, and stay outside."""
    async with office(tmp_path) as gateway, connected(gateway) as maker, connected(gateway) as other:
        assert (await other.call("gateway.hello"))["principal"] == NONE
        token = (await maker.call("token.create", user="alice"))["token"]
        assert await closed(other) == 4401
        assert (await maker.call("token.create", user="root", tenant="*", roles=["admin"]))["tenant"] == "*"
        async with connected(gateway) as late:
            assert "principal" not in await late.call("gateway.hello")
        assert (await maker.call("gateway.hello", token=token))["principal"]["user"] == "alice"
        assert (await maker.fail("token.list"))["code"] == 403


async def test_calls_of_those_who_are_closed(tmp_path: Path) -> None:
    """One that waits is not carried out any more, and what it follows says nothing more."""
    async with office(tmp_path) as gateway, connected(gateway) as maker, connected(gateway) as other:
        await other.call("session.create", agent="echo", key="k", subscribe=True)
        async with gateway.services.lanes.enter(("default", "k")):
            await other.ask("session.update", key="k", title="New")
            await maker.call("token.create", user="alice")
        assert await closed(other) == 4401
        assert "title" not in (await maker.call("session.status", key="k"))["session"]


@pytest.mark.parametrize("over", ["revoked", "expired"])
async def test_there_is_no_way_back(tmp_path: Path, over: str) -> None:
    """A token that is over counts; so does a restart."""
    async with office(tmp_path) as gateway:
        await token_of(gateway, ALICE, days=1e-7 if over == "expired" else None)
        if over == "revoked":
            tokens = gateway.services.tokens
            await tokens.revoke(next(tokens.all()).id)
        async with connected(gateway) as client:
            assert (await client.fail("session.list"))["code"] == 401
    async with office(tmp_path) as gateway, connected(gateway) as client:
        assert (await client.fail("session.list"))["code"] == 401


async def test_tokens_outlive_a_restart(tmp_path: Path) -> None:
    """They open what they opened, and when they were used is known."""
    async with office(tmp_path) as gateway:
        token = await token_of(gateway, ROOT)
        async with connected(gateway, token) as client:
            assert await user_of(client) == "root"
    async with office(tmp_path) as gateway:
        assert all(row.last_used_at is not None for row in gateway.services.tokens.all())
        async with connected(gateway, token) as client:
            assert await user_of(client) == "root"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7", "example.org", "localhost.example.org"])
async def test_another_host_while_anybody_is_the_admin(tmp_path: Path, host: str) -> None:
    """The start is refused, with both ways out."""
    with pytest.raises(StartError, match="loopback only") as refused:
        async with office(tmp_path, server_host=host):
            pass
    assert host in str(refused.value)
    assert "gateway token create" in str(refused.value)
    assert "required = true" in str(refused.value)


async def test_another_host_once_there_is_a_token(tmp_path: Path) -> None:
    """Or once the settings say that one is needed."""
    async with office(tmp_path / "required", server_host="0.0.0.0", auth_required=True) as gateway:
        gateway.host = "127.0.0.1"
        async with connected(gateway) as client:
            assert (await client.fail("session.list"))["code"] == 401
    async with office(tmp_path / "made") as gateway:
        token = await token_of(gateway, ALICE)
    async with office(tmp_path / "made", server_host="0.0.0.0") as gateway:
        gateway.host = "127.0.0.1"
        async with connected(gateway, token) as client:
            assert await user_of(client) == "alice"
