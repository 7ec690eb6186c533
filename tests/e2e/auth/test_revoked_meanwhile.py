"""A token that is revoked while its call stops a turn: what was begun is done in full, and by whom is said."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from gateway.app import Gateway
from tests.e2e.auth.people import ALICE, ANNA, office, person
from tests.e2e.auth.test_ways import closed
from tests.e2e.calls import log_of
from tests.raw import Json

KEY = "k"


@contextmanager
def revoked_at_a_stop(gateway: Gateway, user: str) -> Iterator[None]:
    """Somebody's tokens are revoked as soon as a turn was stopped."""
    services, stop = gateway.services, gateway.services.turns.stop

    async def stop_and_revoke(*args: Any, **named: Any) -> str | None:
        stopped = await stop(*args, **named)
        for id in [row.id for row in services.tokens.all() if row.user == user]:
            await services.tokens.revoke(id)
        return stopped

    with patch.object(services.turns, "stop", stop_and_revoke):
        yield


@pytest.mark.parametrize(
    ("method", "params", "left"),
    [
        ("session.end", {}, {"type": "session.state", "to": "ended", "author": "alice"}),
        ("session.end", {"keys": [KEY]}, {"type": "session.state", "to": "ended", "author": "alice"}),
        ("session.pause", {}, {"type": "session.state", "to": "paused", "author": "alice"}),
        ("session.reset", {}, {"type": "reset", "author": "alice"}),
        ("session.delete", {}, None),
        ("session.send", {"content": "next", "ifBusy": "interrupt"}, {"type": "message.user", "content": "next"}),
    ],
)
async def test_revoked_while_the_turn_stops(method: str, params: Json, left: Any, tmp_path: Path) -> None:
    """The turn is gone, so the rest has happened too."""
    async with office(tmp_path) as gateway, person(gateway, ANNA) as admin, person(gateway, ALICE) as alice:
        await alice.call("session.send", key=KEY, content="/sleep 60000", create={"agent": "echo"})
        with revoked_at_a_stop(gateway, "alice"):
            await alice.ask(method, **params if "keys" in params else {"key": KEY} | params)
            assert await closed(alice) == 4403
        if left is None:
            assert (await admin.fail("session.status", key=KEY))["code"] == 410
        else:
            assert any(event.items() >= left.items() for event in await log_of(admin, KEY))
