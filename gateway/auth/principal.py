"""Who the gateway takes a caller for."""

from typing import Literal

from msgspec import Struct

Role = Literal["user", "admin"]
Scope = Literal["sessions:read", "sessions:write", "admin"]
EVERY_TENANT = "*"


class Principal(Struct, frozen=True, kw_only=True):
    """A user of a tenant, with roles that widen and scopes that narrow."""

    user: str
    tenant: str
    roles: frozenset[Role]
    scopes: frozenset[Scope]

    @property
    def is_admin(self) -> bool:
        """Whether the admin's rights are there and in scope."""
        return "admin" in self.roles and "admin" in self.scopes


LOCAL_ADMIN = Principal(
    user="local",
    tenant="default",
    roles=frozenset({"admin"}),
    scopes=frozenset({"sessions:read", "sessions:write", "admin"}),
)
"""Who everybody on this machine is while no credentials are set up."""
