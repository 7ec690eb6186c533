"""What is asked before a handler."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.agents.roster import Roster
from gateway.auth.principal import Credential, Principal
from gateway.methods.gate import gated
from gateway.rpc.handlers import Handler
from gateway.services import Call
from gateway.settings import AgentSettings
from rpc_schema.errors import AgentNotFound, Forbidden, Unauthenticated
from rpc_schema.types import Scope

ALL: frozenset[Scope] = frozenset({"sessions:read", "sessions:write", "admin"})


def caller(user: str, *, admin: bool = False, scopes: frozenset[Scope] = ALL) -> Credential:
    roles = frozenset({"admin" if admin else "user"})
    return Credential(principal=Principal(user=user, tenant="acme", roles=roles, scopes=scopes))  # type: ignore[arg-type]


async def ask(method: str, who: Credential | None, **params: Any) -> Any:
    """What a handler behind the gate answers, or the refusal."""
    roster = Roster()
    await roster.replace([AgentSettings(id="desk", kind="echo", owner="olga")])

    async def serve(call: Call, params: Any) -> str:
        return "served"

    call = Call(cast(Any, SimpleNamespace(roster=roster)), cast(Any, SimpleNamespace(credential=who)))
    handler: Handler[Call] = Handler(cast(Any, None), serve, bytes, False)
    return await gated({method: handler})[method].function(call, SimpleNamespace(**params))


@pytest.mark.parametrize("who", [caller("olga"), caller("anna", admin=True)])
async def test_an_agents_policy(who: Credential) -> None:
    """Its owner and admins may."""
    assert await ask("agent.setPolicy", who, agent="desk") == "served"


@pytest.mark.parametrize(
    "who", [caller("alice"), caller("olga", scopes=frozenset({"sessions:read"})), caller("anna", scopes=ALL)]
)
async def test_somebody_elses_agent(who: Credential) -> None:
    """Nobody else may; that there is none is no secret."""
    with pytest.raises(Forbidden):
        await ask("agent.setPolicy", who, agent="desk")
    with pytest.raises(AgentNotFound):
        await ask("agent.setPolicy", who, agent="none")


@pytest.mark.parametrize("method", ["agent.list", "token.list", "session.list", "session.status", "agent.setPolicy"])
async def test_nobody(method: str) -> None:
    """Is refused whatever it is about."""
    with pytest.raises(Unauthenticated):
        await ask(method, None, agent="desk")


async def test_what_needs_nothing() -> None:
    """Is served to nobody too."""
    assert await ask("gateway.hello", None) == "served"
