"""All that a handler can reach: the gateway's rooms, the caller, and the one way to a session."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from msgspec import UNSET, UnsetType

from rpc_schema import errors
from rpc_schema.envelope import Id
from rpc_schema.system import Limits
from rpc_schema.types import Scope, Session

from .agents.roster import Roster
from .auth.permissions import NEEDED_SCOPE, Permission, Resource, allows, relations
from .auth.principal import EVERY_TENANT, Credential, Principal
from .auth.tokens import Tokens
from .clock import SteadyClock
from .hub.hub import Closable, Hub, Sink, Topic
from .sessions import keys
from .sessions.admission import Admission
from .sessions.broadcast import Following
from .sessions.cursors import Cursors
from .sessions.directory import Directory, Visibility
from .sessions.expiry import Expiry
from .sessions.idempotency import Idempotency, Repeatable
from .sessions.journal import Journal
from .sessions.lanes import Lane, Lanes
from .sessions.retiming import Retiming
from .sessions.rules import Rules
from .sessions.search import Search
from .sessions.state import SessionState
from .sessions.summary import summary
from .sessions.transcript import Transcript
from .sessions.turns import Turns
from .sessions.watching import Watching
from .storage.base import Tally

Status = Literal["ok", "starting", "draining"]


class Outbox(Sink, Protocol):
    """The way to one client, with a gate a topic: while it is held, notifications of the topic wait."""

    def hold(self, topic: Topic) -> None:
        """Close the gate; holds add up."""

    def release(self, topic: Topic) -> None:
        """Undo one hold; the last one lets everything through in order."""


class Peer(Protocol):
    """One connection, as handlers see it."""

    @property
    def id(self) -> str:
        """Opaque, for logs and hello."""

    @property
    def credential(self) -> Credential | None:
        """What it goes by; None before it has shown a token, and once it is being closed for its token."""

    @property
    def since(self) -> int:
        """When it was opened, milliseconds UTC."""

    @property
    def remote(self) -> str | None:
        """Where it comes from: address and port."""

    @property
    def outbox(self) -> Outbox:
        """The way to it."""

    @property
    def subscriptions(self) -> dict[str, Closable]:
        """What it follows or watches, by subscription id."""

    client: str | None
    """How it introduced itself."""

    def admit(self, credential: Credential) -> None:
        """Go by this from now on; what it follows and may no longer read is closed."""

    def next_subscription_id(self) -> str:
        """A word that no subscription of this connection had."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run this as long as the connection lasts."""

    def cancel(self, id: Id) -> bool:
        """Take back a request in flight; False when there is none."""

    def close(self, code: int, reason: str) -> None:
        """Close once everything that was said is on its way."""


class Instance(Protocol):
    """What this run of the gateway knows about itself."""

    @property
    def id(self) -> str:
        """A word for this run."""

    @property
    def started(self) -> float:
        """When, on the monotonic clock."""

    @property
    def status(self) -> Status:
        """How it is."""

    @property
    def connections(self) -> int:
        """Open now."""

    @property
    def peak_connections(self) -> int:
        """The most that ever were."""

    def peers(self) -> Iterable[Peer]:
        """The open connections, oldest first."""

    def sessions(self) -> dict[str, int]:
        """How many there are of each lifecycle state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The gateway's rooms, put together by `app`."""

    clock: SteadyClock
    limits: Limits
    rules: Rules
    retiming: Retiming
    expiry: Expiry
    roster: Roster
    hub: Hub
    lanes: Lanes
    journal: Journal
    transcript: Transcript
    turns: Turns
    following: Following
    watching: Watching
    directory: Directory
    search: Search
    cursors: Cursors
    admission: Admission
    idempotency: Idempotency
    tokens: Tokens
    instance: Instance
    new_session_id: Callable[[], Awaitable[int]]
    expiring: Callable[[int], Awaitable[int]]
    tally: Callable[[str | None, str | None, Sequence[str], int], Awaitable[Tally]]

    def summary(self, state: SessionState) -> Session:
        """The session as lists show it, now."""
        return summary(state, self.rules.policy_of(state), self.roster.name(state.agent), self.clock.now_ms())


@dataclass(slots=True)
class Call:
    """One request: who asks, in which tenant, and what has to happen once it is answered."""

    services: Services
    peer: Peer
    give_place_back: Callable[[], None] = lambda: None
    named_tenant: str | UnsetType = UNSET
    _held: list[Topic] = field(default_factory=list)
    _afterwards: list[Callable[[], None]] = field(default_factory=list)

    @property
    def credential(self) -> Credential:
        """What the caller goes by.

        Raises:
            Unauthenticated: nothing, or a token that was revoked while the call waited.
        """
        if (credential := self.peer.credential) is None:
            raise errors.Unauthenticated
        return credential

    @property
    def principal(self) -> Principal:
        """Who asks. Raises as `credential`."""
        return self.credential.principal

    @property
    def tenant(self) -> str:
        """The tenant that the call is about: the one it names, else the caller's."""
        return self.principal.home if self.named_tenant is UNSET else self.named_tenant

    @property
    def visibility(self) -> Visibility:
        """Whose sessions lists show the caller."""
        return visible_to(self.principal)

    def topic(self, key: str) -> Topic:
        """The caller's name for a session.

        Raises:
            InvalidKey: it can be no session's.
        """
        return self.tenant, keys.check(key)

    def repeatable(self, method: str, key: str, params: Any) -> Repeatable | None:
        """The call as one that may come again; None when it was given no idempotency key."""
        return self.services.idempotency.repeatable(self.principal, self.tenant, method, key, params)

    def hold(self, topic: Topic) -> None:
        """Keep notifications of this session back until the call is answered."""
        self.peer.outbox.hold(topic)
        self._held.append(topic)

    def afterwards(self, work: Callable[[], None]) -> None:
        """Do this once the answer is on its way."""
        self._afterwards.append(work)

    def settle(self) -> None:
        """The answer is on its way: do what waited for it."""
        for work in self._afterwards:
            work()
        for topic in self._held:
            self.peer.outbox.release(topic)
        self._afterwards.clear()
        self._held.clear()

    @asynccontextmanager
    async def session(self, key: str, permission: Permission) -> AsyncIterator[Lane]:
        """Alone with a session that the caller may use so; there is no other way to one.

        Raises:
            InvalidKey, SessionNotFound, SessionDeleted, Forbidden, StoreUnavailable.
        """
        async with self.services.lanes.enter(self.topic(key)) as lane:
            await self.inside(lane, permission)
            yield lane

    async def inside(self, lane: Lane, permission: Permission) -> SessionState:
        """The session of a lane that the caller is in already, under the rules of `session`.

        What time has done to it is written before anybody does anything with it;
        where that cannot be written now, it can still be read.
        """
        state = self.check(lane.state, permission)
        try:
            return await self.services.expiry.settle(lane)
        except errors.StoreUnavailable:
            if permission != "read":
                raise
            return state

    def check(self, state: SessionState | None, permission: Permission) -> SessionState:
        """The session, if the caller may know of it and use it so."""
        if state is None:
            raise errors.SessionNotFound
        resource = self.resource(state.tenant, state.user, state.agent)
        if not relations(self.principal, resource):
            raise errors.SessionNotFound
        if state.deleted_at is not None:
            raise errors.SessionDeleted
        self.require(resource, permission)
        return state

    def resource(self, tenant: str, user: str, agent: str) -> Resource:
        """A session as far as rights go."""
        return Resource(tenant=tenant, user=user, agent_owner=self.services.roster.owner(agent))

    def require(self, resource: Resource, permission: Permission) -> None:
        """Refuse what the caller may not do."""
        if not allows(self.principal, resource, permission):
            raise errors.Forbidden(required=f"the scope {NEEDED_SCOPE[permission]}")

    def require_scope(self, scope: Scope) -> None:
        """Refuse what is outside the caller's scopes, whatever it is about."""
        if scope not in self.principal.scopes:
            raise errors.Forbidden(required=f"the scope {scope}")

    def check_tenant(self) -> None:
        """Refuse a tenant where nothing can be the caller's, as if there were none."""
        if self.tenant == EVERY_TENANT:
            raise errors.InvalidParams(path="$.tenant", reason="name one tenant; `*` is none to keep sessions in")
        if not self.principal.reaches(self.tenant):
            raise errors.SessionNotFound

    def acting_for(self, user: str | UnsetType) -> str:
        """Whose the call is: the caller's, unless an admin names somebody else.

        Raises:
            Forbidden: the caller may not act for another.
        """
        if user is UNSET or user == self.principal.user:
            return self.principal.user
        self.require(self.resource(self.principal.home, user, ""), "act_for_others")
        return user

    async def caught_up(self, topic: Topic) -> None:
        """Wait until all that this connection follows of a session has been sent to it."""
        for subscription in list(self.peer.subscriptions.values()):
            if subscription.topic == topic:
                await subscription.live.wait()

    def check_serving(self) -> None:
        """Refuse new work while the gateway is going away."""
        if self.services.instance.status == "draining":
            raise errors.ShuttingDown

    def check_subscriptions(self) -> None:
        """Refuse what the caller may not follow, and one more than a connection may have."""
        self.require_scope("sessions:read")
        limit = self.services.limits.subscriptions
        if len(self.peer.subscriptions) >= limit:
            raise errors.TooManySubscriptions(limit=limit)


def visible_to(principal: Principal) -> Visibility:
    """Whose sessions lists show somebody."""
    return Visibility(
        tenant=None if principal.is_everywhere else principal.home,
        user=None if principal.is_admin else principal.user,
    )
