"""The Python client with a token, and without one where one is needed."""

import asyncio
from pathlib import Path

import pytest

from gateway.client import ConnectionLost, Unauthenticated, connect
from tests.e2e.auth.people import ALICE, office, token_of


async def test_with_a_token(tmp_path: Path) -> None:
    """It goes with the upgrade: the client is somebody from the first call."""
    async with office(tmp_path, auth_required=True) as gateway:
        token = await token_of(gateway, ALICE)
        async with connect(f"ws://{gateway.authority}", token=token) as client:
            assert client.hello.principal is not None
            assert client.hello.principal.user == "alice"
            assert [update async for update in client.chat("echo", "hi", key="k")]


@pytest.mark.parametrize("token", [None, "gw_wrong"])
async def test_without_one(tmp_path: Path, token: str | None) -> None:
    """Said at once, not at the first call."""
    async with office(tmp_path, auth_required=True) as gateway:
        with pytest.raises(Unauthenticated):
            async with connect(f"ws://{gateway.authority}", token=token):
                pass


async def test_revoked(tmp_path: Path) -> None:
    """What waits for an answer learns why none comes, and that coming back is no use."""
    async with office(tmp_path, auth_required=True) as gateway:
        token = await token_of(gateway, ALICE)
        async with connect(f"ws://{gateway.authority}", token=token) as client:
            params = {"key": "k", "content": "/sleep 60000", "create": {"agent": "echo"}, "wait": True}
            waiting = asyncio.create_task(client.call("session.send", params))
            while "k" not in {key for _, key in gateway.services.lanes._lanes}:
                await asyncio.sleep(0.01)
            await gateway.services.tokens.revoke(next(gateway.services.tokens.all()).id)
            with pytest.raises(ConnectionLost) as lost:
                await waiting
            assert (lost.value.code, lost.value.is_temporary) == (4403, False)
