"""Following a session live and resuming after a dropped connection; watching a list of sessions."""

import msgspec
from msgspec import UNSET, Raw
from msgspec.structs import asdict

from gateway.rpc.handlers import bind
from gateway.services import Call, visible_to
from gateway.sessions.watches import Watch
from rpc_schema import errors
from rpc_schema import subscriptions as wire
from rpc_schema.directory import ListParams

from .directory import list_sessions
from .following import follow

_ENVELOPE_BYTES = 1024


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


async def watch(call: Call, params: wire.WatchParams) -> Raw:
    """Answer with the list, then tell what changes in it."""
    call.check_subscriptions()
    services = call.services
    attached = _attach(call, params)
    try:
        found = await list_sessions(call, ListParams(**asdict(params)))
        await services.watching.settled()
        answer = msgspec.json.encode(wire.WatchResult(subscription=attached.id, **asdict(found)))
        if len(answer) + _ENVELOPE_BYTES > (limit := services.limits.response_bytes):
            raise errors.ResponseTooBig(limit=limit)
    except BaseException:
        services.hub.detach(attached)
        raise
    call.afterwards(attached.go_live)
    return Raw(answer)


def _attach(call: Call, params: wire.WatchParams) -> Watch:
    services, peer = call.services, call.peer
    seen = call.visibility
    id = peer.next_subscription_id()

    def ended() -> None:
        peer.subscriptions.pop(id, None)
        services.watching.detach(attached, view)

    def may_read() -> bool:
        """Not with other rights than those that the list was asked with."""
        principal = peer.credential.principal if peer.credential is not None else None
        return principal is not None and "sessions:read" in principal.scopes and visible_to(principal) == seen

    attached = Watch(
        id,
        peer.outbox,
        call.principal.home,
        frame=services.hub.frame,
        spawn=peer.spawn,
        ended=ended,
        may_read=may_read,
    )
    view = services.watching.attach(attached, lambda: services.directory.view(params, seen))
    peer.subscriptions[id] = attached
    return attached


async def unsubscribe(call: Call, params: wire.UnsubscribeParams) -> wire.UnsubscribeResult:
    """Stop following; nothing is sent after the answer but the farewell."""
    subscription = call.peer.subscriptions.get(params.subscription)
    if subscription is None:
        return wire.UnsubscribeResult(closed=False)
    hub = call.services.hub
    hub.detach(subscription)
    call.afterwards(lambda: hub.close(subscription, "unsubscribed", resumable=True))
    return wire.UnsubscribeResult(closed=True)


HANDLERS = (
    bind(wire.SUBSCRIBE, subscribe),
    bind(wire.WATCH, watch),
    bind(wire.UNSUBSCRIBE, unsubscribe, is_immediate=True),
)
