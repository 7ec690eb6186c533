"""What was committed, told to those who follow; and the way a new follower gets there.

A new subscription is answered first, then sent what it lacks page by page from
the log, then attached: the last look at the head and the attaching have no
await between them, so there is no gap, no repeat and no buffer.
"""

import asyncio
from collections.abc import Sequence

from gateway.hub.hub import Hub, Subscription
from gateway.storage.base import EventQuery, EventRow
from rpc_schema.errors import StoreUnavailable
from rpc_schema.subscriptions import RunningTurn

from .lanes import Lane, Lanes
from .state import SessionState
from .transcript import PAGE_BYTES, PAGE_EVENTS, Transcript
from .turns import Turns

RETRY_S = 0.5


class Broadcast:
    """Tells the hub what the journal has committed. A Follower."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def committed(self, lane: Lane, before: SessionState | None, after: SessionState, rows: Sequence[EventRow]) -> None:
        """Publish the events; end every subscription of a session that is gone."""
        for row in rows:
            self._hub.publish_event(lane.topic, row.seq, row.body)
        if after.deleted_at is not None:
            self._hub.close_topic(lane.topic)


class Following:
    """Brings subscriptions from where a client is to live."""

    def __init__(self, hub: Hub, lanes: Lanes, transcript: Transcript, turns: Turns) -> None:
        self._hub, self._lanes, self._transcript, self._turns = hub, lanes, transcript, turns

    async def catch_up(
        self, subscription: Subscription, session: int, lane: Lane, snapshot: RunningTurn | None
    ) -> None:
        """Send everything after `subscription.prev`, then go live.

        `session` is the one that was subscribed to: the key may be used again
        meanwhile. `lane` is pinned by the caller until the subscription ends.
        `snapshot` is what the answer said of the running turn.
        """
        while not subscription.is_closed:
            state = lane.state
            if state is None or state.id != session or state.deleted_at is not None:
                return self._hub.close(subscription, "deleted", resumable=False)
            if subscription.prev >= state.head:
                return self._go_live(subscription, lane, snapshot)
            await self._send_page(subscription, state)
        return None

    async def _send_page(self, subscription: Subscription, state: SessionState) -> None:
        """Send the next events, at the pace of the client; none while the store cannot be read."""
        after, head = subscription.prev, state.head
        query = EventQuery(session=state.id, after=after, before=head + 1, limit=PAGE_EVENTS, max_bytes=PAGE_BYTES)
        try:
            page = await self._transcript.page(query)
        except StoreUnavailable:
            await asyncio.sleep(RETRY_S)
            return
        if subscription.is_closed:
            return
        for row in page.events:
            self._hub.replay(subscription, row.seq, row.body)
        await subscription.sink.drained()

    def _go_live(self, subscription: Subscription, lane: Lane, snapshot: RunningTurn | None) -> None:
        run = self._turns.run_of(lane.topic)
        if run is not None and subscription.deltas:
            is_known = snapshot is not None and snapshot.id == run.turn
            text = len(snapshot.text) if snapshot is not None and is_known else 0
            reasoning = len(snapshot.reasoning) if snapshot is not None and is_known else 0
            for delta in run.since(text, reasoning):
                self._hub.catch_up(subscription, delta)
        self._hub.attach(subscription)
