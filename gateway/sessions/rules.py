"""Which policy holds for a session: its own overrides, what was set for its agent, the settings.

Sessions without rules of their own share their agent's `Effective`.
"""

import asyncio
import hashlib
from collections.abc import Mapping

import msgspec

from gateway.agents.roster import Roster
from gateway.settings import PolicySettings
from gateway.storage.base import Store, StoreFault
from rpc_schema.errors import StoreUnavailable
from rpc_schema.types import Policy, PolicyPatch

from . import policy
from .policy import Effective, Overrides
from .state import SessionState

_KIND = "agent_policy"


class Rules:
    """The policies of this gateway, in memory; what was set by hand is in the store, too."""

    def __init__(self, store: Store, roster: Roster, settings: PolicySettings) -> None:
        self._store, self._roster = store, roster
        self.settings = settings
        self._set_by_agent: dict[str, Overrides] = {}
        self._by_agent: dict[str, Effective] = {}
        self._setting = asyncio.Lock()

    async def load(self) -> None:
        """Take up what was set before.

        Raises:
            StoreFault: it cannot be read.
        """
        stored = await self._store.notes(_KIND)
        self._set_by_agent = {agent: msgspec.json.decode(value) for agent, value in stored.items()}
        self._by_agent.clear()

    def take(self, settings: PolicySettings) -> None:
        """Go by new settings; those of the agents are the roster's."""
        self.settings = settings
        self._by_agent.clear()

    def of(self, state: SessionState) -> Effective:
        """What a session lives by."""
        own = state.details.policy
        return self._lay(state.agent, own, state.clamped) if own or state.clamped else self.of_agent(state.agent)

    def policy_of(self, state: SessionState) -> Policy:
        """The same without the sources."""
        return self.of(state).policy

    def digest(self, agent: str) -> bytes:
        """Another one whenever anything may be another for sessions of this agent, those with overrides included."""
        said = (self.settings, self._roster.policy(agent), self._set_by_agent.get(agent), self._roster.name(agent))
        return hashlib.blake2b(msgspec.json.encode(said), digest_size=16).digest()

    def limit_of(self, state: SessionState) -> int | None:
        """How many sessions the user may have with the agent: a session's own rules can only tighten that."""
        limits = (of.policy.max_concurrent_per_user for of in (self.of_agent(state.agent), self.of(state)))
        return min((limit for limit in limits if limit is not None), default=None)

    def of_agent(self, agent: str) -> Effective:
        """What sessions without overrides live by."""
        if agent not in self._by_agent:
            self._by_agent[agent] = self._lay(agent, {}, ())
        return self._by_agent[agent]

    def with_overrides(self, agent: str, overrides: Mapping[str, object]) -> Policy:
        """What a session of this agent with these overrides would live by."""
        return self._lay(agent, overrides, ()).policy

    async def set(self, agent: str, patch: PolicyPatch | None) -> Effective:
        """Change what holds for an agent, durably; None takes back all that was set.

        Raises:
            InvalidTimeout, InvalidPolicy: a value is out of its range.
            StoreUnavailable: nothing was changed.
        """
        async with self._setting:
            inherited = policy.effective(self.settings, self._roster.policy(agent)).policy
            overrides = policy.merge(self._set_by_agent.get(agent, {}), patch, self.settings, inherited)
            try:
                await self._store.note(_KIND, agent, msgspec.json.encode(overrides) if overrides else None)
            except StoreFault as error:
                raise StoreUnavailable from error
            self._set_by_agent[agent] = overrides
            self._by_agent.pop(agent, None)
            return self.of_agent(agent)

    def _lay(self, agent: str, own: Mapping[str, object], clamped: tuple[str, ...]) -> Effective:
        stored = self._set_by_agent.get(agent, {})
        return policy.effective(self.settings, self._roster.policy(agent), own, clamped, stored=stored)
