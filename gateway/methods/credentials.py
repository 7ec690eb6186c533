"""Going on with a token: what gateway.hello and auth.refresh have in common."""

from gateway.auth.principal import Credential
from gateway.services import Call
from rpc_schema import close_codes, errors
from rpc_schema import system as wire

_REASON = {
    close_codes.UNAUTHENTICATED: "unauthenticated",
    close_codes.CREDENTIALS_EXPIRED: "credentials expired",
}


def take(call: Call, token: str, otherwise: int) -> Credential:
    """Go by this token from now on; a wrong one, or one of somebody else, ends the connection with `otherwise`.

    Raises:
        Unauthenticated: it did.
    """
    before, credential = call.peer.credential, call.services.tokens.recognise(token)
    if credential is None or (before is not None and not before.may_become(credential)):
        call.afterwards(lambda: call.peer.close(otherwise, _REASON[otherwise]))
        raise errors.Unauthenticated
    call.peer.admit(credential)
    return credential


def show(credential: Credential) -> wire.Principal:
    """Who the gateway takes a caller for."""
    principal = credential.principal
    return wire.Principal(
        user=principal.user,
        tenant=principal.tenant,
        roles=sorted(principal.roles),
        scopes=sorted(principal.scopes),
    )
