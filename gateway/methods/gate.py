"""What every call passes before its handler: who asks, in which tenant, and whether they may at all.

What they may do to a session is decided at the session (`Call.session`), where
an unknown one and one of somebody else are the same.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from gateway.auth.permissions import NEEDED, Need, owns_agent
from gateway.rpc.handlers import Handler
from gateway.services import Call
from rpc_schema import errors


def gated(handlers: Mapping[str, Handler[Call]]) -> dict[str, Handler[Call]]:
    """The handlers, each behind what its method needs.

    Raises:
        RuntimeError: a method has no row in the table of needs: the gateway must not start.
    """
    if missing := sorted(handlers.keys() - NEEDED.keys()):
        raise RuntimeError(f"auth/permissions.py does not say what is needed for {', '.join(missing)}")
    return {name: _gated(handler, NEEDED[name]) for name, handler in handlers.items()}


def _gated(handler: Handler[Call], need: Need) -> Handler[Call]:
    if need == "nothing":
        return handler

    async def function(call: Call, params: Any) -> Any:
        _enter(call, need, params)
        return await handler.function(call, params)

    return replace(handler, function=function)


def _enter(call: Call, need: Need, params: Any) -> None:
    principal = call.principal
    match need:
        case "read" | "write":
            call.named_tenant = getattr(params, "tenant", UNSET)
        case "find":
            call.require_scope("sessions:read")
        case "make":
            call.named_tenant = getattr(params, "tenant", UNSET)
            call.require_scope("sessions:write")
            call.check_tenant()
        case "own_agent":
            _check_owner(call, params.agent)
        case "admin" if not principal.is_admin:
            raise errors.Forbidden(required="an admin")


def _check_owner(call: Call, agent: str) -> None:
    roster = call.services.roster
    roster.agent(agent)  # agents are no secret: one that is not there is not found
    if not owns_agent(call.principal, roster.owner(agent)):
        raise errors.Forbidden(required="the agent's owner, or an admin")
