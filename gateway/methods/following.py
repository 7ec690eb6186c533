"""Attaching a caller to a session: what subscribe, create and send have in common."""

from gateway.hub.hub import Subscription
from gateway.services import Call
from gateway.sessions.lanes import Lane
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
    subscription = Subscription(id, lane.topic, epoch, peer.outbox, deltas=deltas, prev=after, ended=ended)
    peer.subscriptions[id] = subscription
    call.afterwards(lambda: peer.spawn(services.following.catch_up(subscription, session, lane, snapshot)))
    return subscription
