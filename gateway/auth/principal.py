"""Who the gateway takes a caller for, and by what."""

from msgspec import Struct

from rpc_schema.types import Role, Scope

EVERY_TENANT = "*"
DEFAULT_TENANT = "default"


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

    @property
    def home(self) -> str:
        """The tenant that is meant where none is named."""
        return DEFAULT_TENANT if self.tenant == EVERY_TENANT else self.tenant

    @property
    def is_everywhere(self) -> bool:
        """Whether every tenant is theirs; narrowed to no admin, they are a user of their home."""
        return self.tenant == EVERY_TENANT and self.is_admin

    def reaches(self, tenant: str) -> bool:
        """Whether anything of this tenant can be theirs."""
        return tenant == self.home or self.is_everywhere


class Credential(Struct, frozen=True, kw_only=True):
    """What a connection goes by: whose it is, which gateway token said so, until when (milliseconds UTC)."""

    principal: Principal
    token: str | None = None
    expires_at: int | None = None

    @property
    def is_implicit(self) -> bool:
        """Whether nothing was shown: the local admin of a gateway without authentication."""
        return self is LOCAL

    def may_become(self, other: "Credential") -> bool:
        """Whether a connection may go on with the other: it keeps its user, unless it had none of its own."""
        mine, others = self.principal, other.principal
        return self.is_implicit or (mine.user, mine.tenant) == (others.user, others.tenant)


LOCAL_ADMIN = Principal(
    user="local",
    tenant=DEFAULT_TENANT,
    roles=frozenset({"admin"}),
    scopes=frozenset({"sessions:read", "sessions:write", "admin"}),
)
"""Who everybody on this machine is while authentication is off."""
LOCAL = Credential(principal=LOCAL_ADMIN)
