"""Gateway tokens: making, listing and revoking them, and going on with another."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from . import errors
from .descriptors import Method
from .system import Principal
from .types import Instant, NoParams, Params, Role, Scope, Wire, Word


class CreateTokenParams(Params, kw_only=True):
    """Whom a token stands for; without `scopes` it has all that its roles can use and its maker has."""

    user: Word
    tenant: (
        Annotated[
            Word,
            Meta(
                description="By default the maker's own, `default` if that is every one; `*`, for admins, is every one."
            ),
        ]
        | UnsetType
    ) = UNSET
    roles: Annotated[list[Role], Meta(min_length=1, max_length=8, description="By default user.")] | UnsetType = UNSET
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=8)] | UnsetType = UNSET
    days: (
        Annotated[float, Meta(gt=0, le=3650, description="How long it is good; without, until revoked.")] | UnsetType
    ) = UNSET


class Token(Wire, kw_only=True):
    """A gateway token as its admins see it; `id` names it, and opens nothing."""

    id: str
    user: str
    tenant: str
    roles: list[str]
    scopes: list[str]
    created_at: Instant
    expires_at: Instant | None = None
    last_used_at: Annotated[Instant | None, Meta(description="After a crash it may be up to an hour behind.")] = None
    revoked_at: Instant | None = None


class CreateTokenResult(Token, kw_only=True):
    """The new token; `token` is what opens, and is shown this once."""

    token: Annotated[str, Meta(description="For `Authorization: Bearer`, `bearer.<token>` and gateway.hello.")]


class ListTokensResult(Wire, kw_only=True):
    """All tokens that were ever made, oldest first; those of the own tenant for an admin of one."""

    tokens: list[Token]


class RevokeTokenParams(Params, kw_only=True):
    """Which token, by its `id`."""

    id: Annotated[str, Meta(max_length=128)]


class RevokeTokenResult(Wire, kw_only=True):
    """It opens nothing any more; the first revocation counts, repeats change nothing."""

    revoked: bool
    revoked_at: Instant


class RefreshParams(Params, kw_only=True):
    """Another token of the same user."""

    token: str


class RefreshResult(Wire, kw_only=True):
    """Who the caller is from now on, and until when."""

    principal: Principal
    expires_at: Instant | None = None


CREATE = Method(
    name="token.create",
    params=CreateTokenParams,
    result=CreateTokenResult,
    summary="Make a gateway token. The first one switches authentication on, for good: every other connection"
    " that showed none is closed (4401).",
    errors=(errors.Forbidden, errors.StoreUnavailable),
)
LIST = Method(
    name="token.list",
    params=NoParams,
    result=ListTokensResult,
    summary="List gateway tokens, also those that are over.",
    errors=(errors.Forbidden,),
)
REVOKE = Method(
    name="token.revoke",
    params=RevokeTokenParams,
    result=RevokeTokenResult,
    summary="Revoke a gateway token; what it opened is closed (4403).",
    errors=(errors.TokenNotFound, errors.Forbidden, errors.StoreUnavailable),
)
REFRESH = Method(
    name="auth.refresh",
    params=RefreshParams,
    result=RefreshResult,
    summary="Go on with another token of the same user; any other closes the connection (4408).",
)
METHODS = (REFRESH, CREATE, LIST, REVOKE)
