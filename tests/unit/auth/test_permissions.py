"""The table of rights, row by row."""

from typing import get_args

import pytest

from gateway.auth.permissions import (
    GRANTED,
    NEEDED_SCOPE,
    Permission,
    Relation,
    Resource,
    allows,
    owns_agent,
    relations,
)
from gateway.auth.principal import LOCAL, LOCAL_ADMIN, Credential, Principal
from rpc_schema.types import Scope

ALL: frozenset[Scope] = frozenset({"sessions:read", "sessions:write", "admin"})
SESSION = Resource(tenant="acme", user="alice", agent_owner="olga")


def principal(user: str, tenant: str = "acme", *, admin: bool = False, scopes: frozenset[Scope] = ALL) -> Principal:
    return Principal(user=user, tenant=tenant, roles=frozenset({"admin" if admin else "user"}), scopes=scopes)


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        (principal("alice"), {"user"}),
        (principal("olga"), {"agent_owner"}),
        (principal("bob"), set()),
        (principal("anna", admin=True), {"admin"}),
        (principal("alice", admin=True), {"user", "admin"}),
        (principal("anna", admin=True, scopes=ALL - {"admin"}), set()),
        (principal("alice", "zeta"), set()),
        (principal("olga", "zeta"), set()),
        (principal("zoe", "zeta", admin=True), set()),
        (principal("root", "*", admin=True), {"admin"}),
        (principal("root", "*", admin=True, scopes=ALL - {"admin"}), set()),
        (principal("alice", "*", admin=True, scopes=ALL - {"admin"}), set()),
        (principal("alice", "*", admin=True), {"admin"}),
        (LOCAL_ADMIN, set()),
    ],
)
def test_what_somebody_is_to_a_session(who: Principal, expected: set[Relation]) -> None:
    """By user, by agent, by role; never across tenants but for admins of all of them."""
    assert relations(who, SESSION) == expected


def test_an_agent_that_is_nobodys() -> None:
    """Having no owner is not being owned by nobody."""
    nobodys = Resource(tenant="acme", user="alice", agent_owner=None)
    assert relations(principal("None"), nobodys) == set()


@pytest.mark.parametrize("permission", get_args(Permission))
def test_scopes_narrow(permission: Permission) -> None:
    """An admin who lacks just the scope that a permission needs lacks the permission."""
    admin = principal("alice", admin=True)
    assert allows(admin, SESSION, permission)
    assert not allows(principal("alice", admin=True, scopes=ALL - {NEEDED_SCOPE[permission]}), SESSION, permission)


@pytest.mark.parametrize("who", ["alice", "olga"])
def test_what_is_the_admins(who: str) -> None:
    """Neither user nor owner chooses the model or acts for others."""
    assert {p for p in get_args(Permission) if allows(principal(who), SESSION, p)} == {"read", "write"}
    assert GRANTED["admin"] == set(get_args(Permission))


def test_whose_an_agent_is() -> None:
    """Its owner's, if the token may write, and every admin's."""
    assert owns_agent(principal("olga"), "olga")
    assert not owns_agent(principal("olga", scopes=frozenset({"sessions:read"})), "olga")
    assert not owns_agent(principal("alice"), "olga")
    assert not owns_agent(principal("alice"), None)
    assert owns_agent(principal("anna", admin=True), None)


def test_where_somebody_is_at_home() -> None:
    """Every tenant is no tenant: what names none is meant for the default one."""
    root = principal("root", "*", admin=True)
    assert (root.home, root.reaches("zeta"), root.is_everywhere) == ("default", True, True)
    narrowed = principal("root", "*", admin=True, scopes=ALL - {"admin"})
    assert (narrowed.home, narrowed.reaches("zeta"), narrowed.reaches("default")) == ("default", False, True)
    assert principal("alice").home == "acme"


def test_who_may_become_whom() -> None:
    """A connection keeps its user and tenant; one that showed nothing may become anybody, but not by chance."""
    alice, other = Credential(principal=principal("alice")), Credential(principal=principal("alice", "zeta"))
    assert alice.may_become(Credential(principal=principal("alice", scopes=frozenset()), token="t"))
    assert not alice.may_become(other)
    assert not alice.may_become(Credential(principal=principal("bob")))
    assert LOCAL.may_become(alice)
    assert not Credential(principal=LOCAL_ADMIN, token="t").may_become(alice)
    assert not Credential(principal=LOCAL_ADMIN, token="t").is_implicit
