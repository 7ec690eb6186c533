"""Who may export what, and with whose cursor."""

from pathlib import Path
from typing import Any

import pytest

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
