"""Every method by everybody: user, other user, agent's owner, admins, nobody; all scopes and few; in every tenant."""

from contextlib import AsyncExitStack
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from gateway.auth.permissions import NEEDED
from gateway.methods import handlers
from gateway.methods.gate import gated
from rpc_schema.registry import METHODS
from tests.e2e.auth import oracle
from tests.e2e.auth.oracle import CALLS, NOT_IN_THE_MATRIX, outcome
from tests.e2e.auth.people import (
    ALICE,
    ALL,
    ANNA,
    BOB,
    OLGA,
    OTHER_ALICE,
    ROOT,
    ZOE,
    connected,
    office,
    person,
    token_of,
)
from tests.raw import RawClient

PEOPLE = (ALICE, BOB, OLGA, ANNA, ROOT, ZOE, OTHER_ALICE)
SCOPES = (ALL, ("sessions:read",), ("sessions:write",), ("sessions:read", "sessions:write"), ("admin",))
CALLERS = (None, *(structs.replace(who, scopes=scopes) for who, scopes in product(PEOPLE, SCOPES)))
TENANTS = (None, "acme", "zeta", "default")
SESSION = {"tenant": "acme", "user": "alice"}
TAKES_TENANT = [name for name, method in METHODS.items() if NEEDED[name] in ("read", "write", "make")]


def refusal(answer: Any) -> int:
    """401, 403 or 404; whatever else an answer says, the caller was let in."""
    number = answer.get("error", {}).get("code", 0)
    return number if number in (401, 403, 404) else 0


def cells(method: str) -> list[tuple[int, str | None]]:
    """Which caller, naming which tenant."""
    return list(product(range(len(CALLERS)), TENANTS if method in TAKES_TENANT else (None,)))


async def make_sessions(root: RawClient, count: int) -> None:
    """Alice's sessions `k0`, `k1`, … with Olga's agent: a call may leave nothing of its own."""
    params = {"agent": "desk", "tenant": "acme", "user": "alice"}
    requests = [
        {"jsonrpc": "2.0", "id": f"k{n}", "method": "session.create", "params": params | {"key": f"k{n}"}}
        for n in range(count)
    ]
    for batch in range(0, count, 50):
        await root.say(requests[batch : batch + 50])
        assert all("result" in answer for answer in await root.hear())


@pytest.mark.parametrize("method", sorted(METHODS.keys() - NOT_IN_THE_MATRIX.keys()))
async def test_who_may(method: str, tmp_path: Path) -> None:
    """Each cell is as the contract's table says; the gateway's own table is not asked."""
    wrong = []
    async with office(tmp_path) as gateway, person(gateway, ROOT) as root, AsyncExitStack() as stack:
        clients = []
        for who in CALLERS:
            token = await token_of(gateway, who) if who is not None else None
            clients.append(await stack.enter_async_context(connected(gateway, token)))
        if NEEDED[method] in ("read", "write"):
            await make_sessions(root, len(cells(method)))
        for place, (caller, tenant) in enumerate(cells(method)):
            params = CALLS[method](f"k{place}") | ({"tenant": tenant} if tenant is not None else {})
            got = refusal(await clients[caller].answer(await clients[caller].ask(method, **params)))
            expected = outcome(method, CALLERS[caller], tenant, **SESSION)
            if got != expected:
                wrong.append((CALLERS[caller], tenant, got, expected))
    assert wrong == []


@pytest.mark.parametrize("tenant", [None, "acme", "zeta", "default"])
async def test_who_finds_what(tenant: str | None, tmp_path: Path) -> None:
    """A list has what its reader may read, and only that; a foreign tenant is empty."""
    async with office(tmp_path) as gateway, person(gateway, ROOT) as root:
        await make_sessions(root, 1)
        for who in CALLERS:
            if who is None or "sessions:read" not in who.scopes:
                continue
            async with person(gateway, who) as client:
                filter = {"filter": {"tenant": tenant}} if tenant is not None else {}
                found = await client.call("session.list", includeEmpty=True, **filter)
            is_meant = tenant in (None, SESSION["tenant"])
            expected = ["k0"] if is_meant and oracle.knows(who, "acme", **SESSION) else []
            assert [session["key"] for session in found["sessions"]] == expected, who
            assert found["total"] == len(expected)


def test_every_method_is_in_the_matrix() -> None:
    """A new one needs a row in the table of needs, and a call here."""
    assert METHODS.keys() <= CALLS.keys() | NOT_IN_THE_MATRIX.keys()
    assert METHODS.keys() <= NEEDED.keys()


@pytest.mark.parametrize("method", METHODS)
def test_a_key_has_a_tenant(method: str) -> None:
    """Whatever names sessions takes the tenant beside the key."""
    names = METHODS[method].params.__struct_fields__
    assert ("tenant" in names) == ("key" in names or "keys" in names or method == "token.create")


def test_no_handler_without_a_need() -> None:
    """The gateway does not start while a method has no row."""
    with pytest.raises(RuntimeError, match=r"session\.fly"):
        gated({"session.fly": handlers()["session.send"]})
