"""Following a session live, and resuming after a dropped connection."""

from msgspec import UNSET

from gateway.rpc.handlers import bind
from gateway.services import Call
from rpc_schema import subscriptions as wire
from rpc_schema.notifications import ClosedParams

from .following import follow


async def subscribe(call: Call, params: wire.SubscribeParams) -> wire.SubscribeResult:
    """Answer, then replay, then live."""
    services = call.services
    topic = call.topic(params.key)
    call.hold(topic)
    async with call.session(params.key, "read") as lane:
        call.check_subscriptions()
        state = lane.session
        after, is_complete = state.head, True
        if params.since is not UNSET:
            is_same_log = params.since.epoch in (UNSET, state.epoch)
            is_complete = is_same_log and params.since.seq <= state.head
            after = params.since.seq if is_complete else state.head
        run = services.turns.run_of(topic)
        snapshot = run.snapshot() if run is not None else None
        subscription = follow(call, lane, after, deltas=params.deltas, snapshot=snapshot)
        first = max(after, state.cleared_to) + 1
        return wire.SubscribeResult(
            subscription=subscription.id,
            epoch=state.epoch,
            head=state.head,
            session=services.summary(state),
            replay=wire.Replay(from_=first, to=state.head, complete=is_complete),
            turn=snapshot,
        )


async def unsubscribe(call: Call, params: wire.UnsubscribeParams) -> wire.UnsubscribeResult:
    """Stop following; nothing is sent after the answer but the farewell."""
    subscription = call.peer.subscriptions.get(params.subscription)
    if subscription is None:
        return wire.UnsubscribeResult(closed=False)
    hub = call.services.hub
    hub.detach(subscription)
    farewell = ClosedParams(
        subscription=subscription.id, reason="unsubscribed", last_seq=subscription.prev, resumable=True
    )
    call.afterwards(lambda: hub.close(subscription, farewell))
    return wire.UnsubscribeResult(closed=True)


HANDLERS = (bind(wire.SUBSCRIBE, subscribe), bind(wire.UNSUBSCRIBE, unsubscribe, is_immediate=True))
