"""The agents a session can be held with."""

from . import errors
from .descriptors import Method
from .types import NoParams, Params, Policy, PolicyPatch, Wire, Word


class Agent(Wire, kw_only=True):
    """Whatever can take a turn; `policy` is what a new session gets."""

    id: str
    name: str
    kind: str
    provider: str
    model: str
    owner: str | None = None
    description: str | None = None
    policy: Policy
    available: bool


class ListResult(Wire, kw_only=True):
    """All agents, by id."""

    agents: list[Agent]


class GetParams(Params, kw_only=True):
    """Which agent."""

    agent: Word


class SetPolicyParams(Params, kw_only=True):
    """What to change for all sessions of an agent that say nothing else; null clears what was set so."""

    agent: Word
    policy: PolicyPatch | None


class SetPolicyResult(Wire, kw_only=True):
    """What a new session gets now, and where each value comes from."""

    policy: Policy
    policy_sources: dict[str, str]


LIST = Method(name="agent.list", params=NoParams, result=ListResult, summary="List the agents.")
GET = Method(
    name="agent.get", params=GetParams, result=Agent, summary="Read one agent.", errors=(errors.AgentNotFound,)
)
SET_POLICY = Method(
    name="agent.setPolicy",
    params=SetPolicyParams,
    result=SetPolicyResult,
    summary="Change the policy of an agent, for running sessions at once; kept over restarts, and before the file.",
    errors=(
        errors.AgentNotFound,
        errors.Forbidden,
        errors.InvalidTimeout,
        errors.InvalidPolicy,
        errors.StoreUnavailable,
    ),
)
METHODS = (LIST, GET, SET_POLICY)
