"""Who may export what, and with whose cursor."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tests.e2e.auth.people import ALICE, ANNA, ROOT, numbers, office, person

INVALID_CURSOR = (400, "invalid_cursor")


@pytest.mark.parametrize("asked", [{"key": "k"}, {"keys": ["k"]}, {"filter": {"agent": "desk"}}])
async def test_a_cursor_of_somebody_else(asked: dict[str, Any], tmp_path: Path) -> None:
    """Is refused, also by who may read the session; the same user's other connection goes on with it."""
    async with office(tmp_path) as gateway, person(gateway, ALICE) as alice, person(gateway, ANNA) as anna:
        await alice.call("session.send", key="k", content="x" * 3000, create={"agent": "desk"}, wait=True)
        params = asked | {"maxBytes": 1024}
        cursor = (await alice.call("session.export", **params))["nextCursor"]
        assert numbers(await anna.fail("session.export", cursor=cursor, **params)) == INVALID_CURSOR
        async with person(gateway, ALICE) as again:
            await again.call("session.export", cursor=cursor, **params)


async def test_a_cursor_of_another_tenant(tmp_path: Path) -> None:
    """The same key elsewhere is another export."""
    async with office(tmp_path) as gateway, person(gateway, ROOT) as root:
        for tenant in ("acme", "zeta"):
            await root.call("session.create", key="k", agent="desk", tenant=tenant)
            await root.call("session.send", key="k", tenant=tenant, content="x" * 3000, wait=True)
        params = {"key": "k", "maxBytes": 1024}
        cursor = (await root.call("session.export", tenant="acme", **params))["nextCursor"]
        assert numbers(await root.fail("session.export", tenant="zeta", cursor=cursor, **params)) == INVALID_CURSOR


@pytest.mark.parametrize("agent", ["desk", "echo"])
async def test_a_filter_without_the_scope(agent: str, tmp_path: Path) -> None:
    """Is refused, whether anything matches or not."""
    writer = structs.replace(ALICE, scopes=("sessions:write",))
    async with office(tmp_path) as gateway, person(gateway, ALICE) as alice, person(gateway, writer) as client:
        await alice.call("session.create", key="k", agent="desk")
        error = await client.fail("session.export", filter={"agent": agent})
        assert (error["code"], error["data"]["required"]) == (403, "the scope sessions:read")


async def test_the_tenant_of_a_filter(tmp_path: Path) -> None:
    """Is named in it, and nowhere beside it."""
    async with office(tmp_path) as gateway, person(gateway, ROOT) as root:
        for tenant in ("acme", "zeta"):
            await root.call("session.create", key="k", agent="desk", tenant=tenant)
        found = await root.call("session.export", filter={"tenant": "zeta"})
        assert [json.loads(line)["tenant"] for line in found["data"].splitlines() if '"key"' in line] == ["zeta"]
        error = await root.fail("session.export", filter={}, tenant="zeta")
        assert (error["code"], error["data"]["path"]) == (-32602, "$.tenant")
