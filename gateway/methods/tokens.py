"""Gateway tokens: making, listing and revoking them, and going on with another."""

from collections.abc import Collection
from typing import Any

import structlog
from msgspec import UNSET, UnsetType

from gateway.auth.principal import EVERY_TENANT, Credential
from gateway.auth.tokens import Grant, Tokens
from gateway.clock import instant
from gateway.rpc.handlers import bind
from gateway.services import Call
from gateway.storage.base import TokenRow
from rpc_schema import close_codes, errors
from rpc_schema import tokens as wire
from rpc_schema.types import NoParams, Role, Scope

from .credentials import show, take

_USED_BY: dict[Role, tuple[Scope, ...]] = {
    "user": ("sessions:read", "sessions:write"),
    "admin": ("sessions:read", "sessions:write", "admin"),
}
log = structlog.get_logger(__name__)


async def create(call: Call, params: wire.CreateTokenParams) -> wire.CreateTokenResult:
    """Make a token of the caller's own tenant, or, for admins of every tenant, of any."""
    return await create_as(call.credential, call.services.tokens, params, spare=call.peer.id)


async def list_tokens(call: Call, params: NoParams) -> wire.ListTokensResult:
    """All that the caller may revoke."""
    return list_as(call.credential, call.services.tokens)


async def revoke(call: Call, params: wire.RevokeTokenParams) -> wire.RevokeTokenResult:
    """Revoke one; those of other tenants are not there."""
    return await revoke_as(call.credential, call.services.tokens, params)


async def create_as(
    maker: Credential, tokens: Tokens, params: wire.CreateTokenParams, spare: str | None = None
) -> wire.CreateTokenResult:
    """`create`, also for whoever holds the store of a gateway that is not running."""
    row, text = await tokens.create(_granted(maker, params), spare)
    log.info("token_created", token=row.id, user=row.user, tenant=row.tenant, by=maker.principal.user)
    return wire.CreateTokenResult(token=text, **_shown(row))


def list_as(maker: Credential, tokens: Tokens) -> wire.ListTokensResult:
    """`list_tokens`, the same way."""
    return wire.ListTokensResult(
        tokens=[wire.Token(**_shown(row)) for row in tokens.all() if _reaches(maker, row.tenant)]
    )


async def revoke_as(maker: Credential, tokens: Tokens, params: wire.RevokeTokenParams) -> wire.RevokeTokenResult:
    """`revoke`, the same way."""
    if not _reaches(maker, tokens.find(params.id).tenant):
        raise errors.TokenNotFound
    row = await tokens.revoke(params.id)
    log.info("token_revoked", token=row.id, user=row.user, tenant=row.tenant, by=maker.principal.user)
    assert row.revoked_at is not None
    return wire.RevokeTokenResult(revoked=True, revoked_at=instant(row.revoked_at))


async def refresh(call: Call, params: wire.RefreshParams) -> wire.RefreshResult:
    """Go on with another token of the same user."""
    credential = take(call, params.token, close_codes.CREDENTIALS_EXPIRED)
    return wire.RefreshResult(principal=show(credential), expires_at=_instant(credential.expires_at))


def _granted(maker: Credential, params: wire.CreateTokenParams) -> Grant:
    """What is asked for, as far as it is the maker's to give.

    Raises:
        Forbidden: another tenant's, or scopes that the maker has not.
        InvalidParams: every tenant for somebody who is no admin.
    """
    principal = maker.principal
    tenant = principal.home if params.tenant is UNSET else params.tenant
    roles: list[Role] = ["user"] if params.roles is UNSET else params.roles
    if tenant == EVERY_TENANT and "admin" not in roles:
        raise errors.InvalidParams(path="$.tenant", reason="only an admin's token can be for every tenant")
    if not _reaches(maker, tenant):
        raise errors.Forbidden(required="an admin of every tenant")
    return Grant(
        user=params.user,
        tenant=tenant,
        roles=roles,
        scopes=_scopes(principal.scopes, roles, params.scopes),
        days=None if params.days is UNSET else params.days,
    )


def _scopes(own: Collection[Scope], roles: Collection[Role], asked: list[Scope] | UnsetType) -> list[Scope]:
    """Those asked for, else all that the roles can use; nobody gives what they have not."""
    if asked is UNSET:
        return [scope for scope in own if any(scope in _USED_BY[role] for role in roles)]
    for scope in asked:
        if scope not in own:
            raise errors.Forbidden(required=f"the scope {scope}")
    return asked


def _reaches(maker: Credential, tenant: str) -> bool:
    """Whether tokens of a tenant are somebody's business; the local admin's all are: nobody else is there yet."""
    principal = maker.principal
    return maker.is_implicit or principal.is_everywhere or tenant == principal.tenant


def _shown(row: TokenRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "user": row.user,
        "tenant": row.tenant,
        "roles": row.roles,
        "scopes": row.scopes,
        "created_at": instant(row.created_at),
        "expires_at": _instant(row.expires_at),
        "last_used_at": _instant(row.last_used_at),
        "revoked_at": _instant(row.revoked_at),
    }


def _instant(ms: int | None) -> str | None:
    return None if ms is None else instant(ms)


HANDLERS = (
    bind(wire.REFRESH, refresh, is_immediate=True),
    bind(wire.CREATE, create),
    bind(wire.LIST, list_tokens, is_immediate=True),
    bind(wire.REVOKE, revoke),
)
