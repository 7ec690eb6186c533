"""Who may what, as data. Pure."""

from typing import Literal

from msgspec import Struct

from .principal import EVERY_TENANT, Principal, Scope

Permission = Literal["read", "write", "override_model", "act_for_others"]
Relation = Literal["user", "agent_owner", "admin"]

GRANTED: dict[Relation, frozenset[Permission]] = {
    "user": frozenset({"read", "write"}),
    "agent_owner": frozenset({"read", "write"}),
    "admin": frozenset({"read", "write", "override_model", "act_for_others"}),
}
NEEDED_SCOPE: dict[Permission, Scope] = {
    "read": "sessions:read",
    "write": "sessions:write",
    "override_model": "admin",
    "act_for_others": "admin",
}


class Resource(Struct, frozen=True, kw_only=True):
    """A session, as far as rights go."""

    tenant: str
    user: str
    agent_owner: str | None


def relations(principal: Principal, resource: Resource) -> set[Relation]:
    """What the caller is to the session; nothing at all: they may not know that it exists."""
    if principal.tenant not in (resource.tenant, EVERY_TENANT):
        return set()
    found: set[Relation] = set()
    if principal.user == resource.user:
        found.add("user")
    if resource.agent_owner is not None and principal.user == resource.agent_owner:
        found.add("agent_owner")
    if principal.is_admin:
        found.add("admin")
    return found


def allows(principal: Principal, resource: Resource, permission: Permission) -> bool:
    """Whether a relation grants it and the scopes leave it."""
    is_granted = any(permission in GRANTED[relation] for relation in relations(principal, resource))
    return is_granted and NEEDED_SCOPE[permission] in principal.scopes
