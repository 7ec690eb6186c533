"""Attaching a caller to a session: what subscribe, create and send have in common."""

from gateway.auth.permissions import Resource, allows
from gateway.auth.principal import Credential
from gateway.hub.hub import Subscription
from gateway.services import Call
from gateway.sessions.lanes import Lane
from gateway.sessions.state import SessionState
from rpc_schema.subscriptions import RunningTurn
from rpc_schema.types import SubscriptionRef


def subscribe_at(call: Call, lane: Lane, head: int) -> SubscriptionRef:
    """Follow from `head` on, once the call is answered. Inside the session's lane."""
    subscription = follow(call, lane, head, deltas=True, snapshot=None)
    return SubscriptionRef(id=subscription.id, epoch=lane.session.epoch, head=head)


def follow(call: Call, lane: Lane, after: int, *, deltas: bool, snapshot: RunningTurn | None) -> Subscription:
    """Make a subscription that sends all after seq `after`, once the call is answered.

    Whether the connection may have one more is asked before anything is done.
    """
    services, peer = call.services, call.peer
    id = peer.next_subscription_id()

    def ended() -> None:
        peer.subscriptions.pop(id, None)
        services.lanes.unpin(lane)

    services.lanes.pin(lane)
    session, epoch = lane.session.id, lane.session.epoch
    subscription = Subscription(
        id,
        lane.topic,
        epoch,
        peer.outbox,
        deltas=deltas,
        prev=after,
        ended=ended,
        may_read=StandingRight(call, lane.session),
    )
    peer.subscriptions[id] = subscription
    call.afterwards(lambda: peer.spawn(services.following.catch_up(subscription, session, lane, snapshot)))
    return subscription


class StandingRight:
    """Whether a peer may still read a session that it follows.

    Asked before every notification, so it is reckoned anew only when the peer's
    credential or the agent's owner has become another: nothing else counts.
    """

    __slots__ = ("_agent", "_credential", "_is_granted", "_owner", "_peer", "_services", "_tenant", "_user")

    def __init__(self, call: Call, session: SessionState) -> None:
        self._peer, self._services = call.peer, call.services
        self._tenant, self._user, self._agent = session.tenant, session.user, session.agent
        self._credential: Credential | None = None
        self._owner: str | None = None
        self._is_granted = False

    def __call__(self) -> bool:
        """Whether it may, now."""
        credential, owner = self._peer.credential, self._services.roster.owner(self._agent)
        if credential is not self._credential or owner != self._owner:
            self._credential, self._owner = credential, owner
            resource = Resource(tenant=self._tenant, user=self._user, agent_owner=owner)
            self._is_granted = credential is not None and allows(credential.principal, resource, "read")
        return self._is_granted
