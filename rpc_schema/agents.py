"""The agents a session can be held with."""

from . import errors
from .descriptors import Method
from .types import NoParams, Params, Policy, Wire, Word


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


LIST = Method(name="agent.list", params=NoParams, result=ListResult, summary="List the agents.")
GET = Method(
    name="agent.get", params=GetParams, result=Agent, summary="Read one agent.", errors=(errors.AgentNotFound,)
)
METHODS = (LIST, GET)
