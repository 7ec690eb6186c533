"""The agents a session can be held with."""

from gateway.rpc.handlers import bind
from gateway.services import Call
from rpc_schema import agents as wire
from rpc_schema.types import NoParams


async def list_agents(call: Call, params: NoParams) -> wire.ListResult:
    """All of them, by id."""
    return wire.ListResult(agents=[_show(call, id) for id in call.services.roster.ids()])


async def get(call: Call, params: wire.GetParams) -> wire.Agent:
    """One of them."""
    return _show(call, params.agent)


async def set_policy(call: Call, params: wire.SetPolicyParams) -> wire.SetPolicyResult:
    """Change what its sessions live by, from now on; their timers follow."""
    services = call.services
    effective = await services.rules.set(params.agent, params.policy)
    services.retiming.want()
    return wire.SetPolicyResult(policy=effective.policy, policy_sources=effective.sources)


def _show(call: Call, id: str) -> wire.Agent:
    services = call.services
    agent = services.roster.agent(id)
    return wire.Agent(
        id=id,
        name=services.roster.name(id),
        kind=agent.kind,
        provider=agent.provider,
        model=agent.model,
        owner=services.roster.owner(id),
        description=services.roster.description(id),
        policy=services.rules.of_agent(id).policy,
        available=agent.unavailable() is None,
    )


HANDLERS = (
    bind(wire.LIST, list_agents, is_immediate=True),
    bind(wire.GET, get, is_immediate=True),
    bind(wire.SET_POLICY, set_policy),
)
