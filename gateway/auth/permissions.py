"""Who may what, as data. Pure.

Two tables: what each method needs (`NEEDED`), and what somebody is granted on a
session by what they are to it (`GRANTED`). The gateway does not start while a
method has no row.
"""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from rpc_schema.types import Scope

from .principal import Principal

Permission = Literal["read", "write", "override_model", "act_for_others"]
Relation = Literal["user", "agent_owner", "admin"]
Need = Literal["nothing", "authentication", "find", "make", "read", "write", "own_agent", "admin"]
"""What a method needs.

    nothing         it is served before the caller is known
    authentication  any caller that is known
    find            the scope to read; it shows only what the caller may read
    make            the scope to write, in a tenant that the caller reaches
    read, write     that permission on the session (each of the sessions) named by key
    own_agent       the agent's owner, or an admin
    admin           an admin
"""

NEEDED: Final[Mapping[str, Need]] = {
    "gateway.hello": "nothing",
    "gateway.health": "authentication",
    "rpc.discover": "authentication",
    "$/cancelRequest": "authentication",
    "auth.refresh": "authentication",
    "agent.list": "authentication",
    "agent.get": "authentication",
    "agent.setPolicy": "own_agent",
    "session.create": "make",
    "session.import": "make",
    "session.list": "find",
    "session.search": "find",
    "session.watch": "find",
    "usage.query": "find",
    "session.status": "read",
    "session.history": "read",
    "session.context": "read",
    "session.metrics": "read",
    "session.export": "read",
    "session.subscribe": "read",
    "session.unsubscribe": "authentication",
    "session.send": "write",
    "session.stop": "write",
    "session.approve": "write",
    "session.regenerate": "write",
    "session.update": "write",
    "session.end": "write",
    "session.pause": "write",
    "session.resume": "write",
    "session.archive": "write",
    "session.restore": "write",
    "session.renew": "write",
    "session.heartbeat": "write",
    "session.transfer": "write",
    "session.fork": "write",
    "session.reset": "write",
    "session.compact": "write",
    "session.delete": "write",
    "token.create": "admin",
    "token.list": "admin",
    "token.revoke": "admin",
    "gateway.connections": "admin",
}
"""By method, also of the protocol's methods that are still to come."""

GRANTED: Final[Mapping[Relation, frozenset[Permission]]] = {
    "user": frozenset({"read", "write"}),
    "agent_owner": frozenset({"read", "write"}),
    "admin": frozenset({"read", "write", "override_model", "act_for_others"}),
}
NEEDED_SCOPE: Final[Mapping[Permission, Scope]] = {
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
    if not principal.reaches(resource.tenant):
        return set()
    found: set[Relation] = set()
    if principal.user == resource.user and principal.home == resource.tenant:
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


def owns_agent(principal: Principal, agent_owner: str | None) -> bool:
    """Whether the caller decides how sessions of an agent live."""
    is_owner = agent_owner is not None and principal.user == agent_owner and "sessions:write" in principal.scopes
    return is_owner or principal.is_admin
