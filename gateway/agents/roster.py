"""The agents of this gateway by id, and what they are configured with."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import structlog
from msgspec.structs import replace

from gateway.settings import AgentPolicySettings, AgentSettings
from rpc_schema.errors import AgentNotFound
from rpc_schema.types import Usage

from . import kinds
from .base import Agent

_FREE = frozenset({"echo"})
log = structlog.get_logger(__name__)


class Roster:
    """Who can take turns. `replace` changes it while sessions run."""

    def __init__(self) -> None:
        self._agents: dict[str, Agent] = {}
        self._settings: dict[str, AgentSettings] = {}
        self._at_work: Counter[Agent] = Counter()

    async def replace(self, settings: Sequence[AgentSettings]) -> None:
        """Build what is new or changed, keep what is not, let go of the rest.

        Raises:
            ValueError: an agent cannot be built; nothing was changed.
        """
        agents = {new.id: self._kept(new) or kinds.build(new) for new in settings}
        replaced = [agent for id, agent in self._agents.items() if agents.get(id) is not agent]
        self._agents, self._settings = agents, {new.id: new for new in settings}
        for agent in replaced:
            if not self._at_work[agent]:
                await _let_go(agent)

    @asynccontextmanager
    async def lend(self, id: str) -> AsyncIterator[Agent]:
        """The agent for one turn: one that is replaced meanwhile is let go when its last turn has left it.

        Raises:
            AgentNotFound: there is none.
        """
        agent = self.agent(id)
        self._at_work[agent] += 1
        try:
            yield agent
        finally:
            self._at_work[agent] -= 1
            if not self._at_work[agent]:
                del self._at_work[agent]
                if self._agents.get(id) is not agent:
                    await _let_go(agent)

    def _kept(self, new: AgentSettings) -> Agent | None:
        """The agent that is there, where nothing that it is built from has changed."""
        old = self._settings.get(new.id)
        return self._agents[new.id] if old is not None and _built_from(old) == _built_from(new) else None

    def agent(self, id: str) -> Agent:
        """The agent of this id.

        Raises:
            AgentNotFound: there is none.
        """
        try:
            return self._agents[id]
        except KeyError:
            raise AgentNotFound(agent=id) from None

    def ids(self) -> list[str]:
        """All agents, sorted."""
        return sorted(self._agents)

    def unavailable(self) -> dict[str, str]:
        """Agents that cannot take turns now, and why."""
        reasons = {id: agent.unavailable() for id, agent in self._agents.items()}
        return {id: reason for id, reason in reasons.items() if reason is not None}

    def name(self, id: str) -> str:
        """What people call it."""
        settings = self._settings.get(id)
        return settings.name if settings is not None and settings.name else id.capitalize()

    def description(self, id: str) -> str | None:
        """One sentence for people who choose."""
        settings = self._settings.get(id)
        return settings.description or None if settings is not None else None

    def owner(self, id: str) -> str | None:
        """The user who may do everything on its sessions."""
        settings = self._settings.get(id)
        return settings.owner or None if settings is not None else None

    def policy(self, id: str) -> AgentPolicySettings:
        """What differs from the gateway's policy for its sessions."""
        settings = self._settings.get(id)
        return settings.policy if settings is not None else AgentPolicySettings()

    def owned_by(self, user: str) -> list[str]:
        """The agents of which this user is the owner."""
        return [id for id, settings in self._settings.items() if settings.owner == user]

    def price_of(self, id: str) -> Callable[[Usage], float | None]:
        """What a generation of this agent costs in USD; None where the price is not known."""
        settings = self._settings.get(id)
        cost = 0.0 if settings is not None and settings.kind in _FREE else None
        return lambda usage: cost

    async def close(self) -> None:
        """Let go of every agent's connections."""
        for agent in self._agents.values():
            await _let_go(agent)


async def _let_go(agent: Agent) -> None:
    """Close it; one that cannot be closed has been replaced all the same."""
    try:
        await agent.close()
    except Exception:
        log.exception("agent_not_closed", agent=agent.id)


def _built_from(settings: AgentSettings) -> AgentSettings:
    """The settings without what only people and policies look at."""
    return replace(settings, name="", description="", owner="", policy=AgentPolicySettings())
