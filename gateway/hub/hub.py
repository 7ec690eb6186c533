"""Hands what happens in a session to everybody who follows it.

A notification is encoded once; only what differs per subscription (its id, the
seq before) is spliced in, and subscriptions that agree in both share the very
bytes. Delivery never waits: a `Sink` takes or buffers.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import Struct

from rpc_schema.notifications import CLOSED, DELTA, EVENT, ClosedParams, CloseReason, Delta

Topic = tuple[str, str]
"""A tenant and a session key in it."""

_encode = msgspec.json.encode


class Sink(Protocol):
    """The way to one client."""

    def notify(self, topic: Topic | None, frame: bytes) -> None:
        """Send, or keep until what holds the topic back is done; never waits."""

    def when_free(self, topic: Topic, work: Callable[[], None]) -> None:
        """Do this now, or, in order with what is kept, once nothing holds the topic back."""

    @property
    def is_behind(self) -> bool:
        """Whether the client has not taken what was sent."""

    async def drained(self) -> None:
        """Wait until the client has taken what was sent, so that it sets the pace."""


class Closable:
    """Whatever a client has under a subscription id; `prev` is the seq of the last event it was sent.

    `topic` is None where it is not about one session. `may_read` is asked before
    every notification. `live` is set once it gets what is published, or is closed.
    `ended` is called once, when it is detached for whatever reason.
    """

    __slots__ = ("ended", "id", "is_closed", "live", "may_read", "prev", "sink", "topic")

    def __init__(
        self,
        id: str,
        topic: Topic | None,
        sink: Sink,
        *,
        prev: int,
        ended: Callable[[], None],
        may_read: Callable[[], bool] = lambda: True,
    ) -> None:
        self.id, self.topic, self.sink, self.prev = id, topic, sink, prev
        self.ended, self.may_read = ended, may_read
        self.live = asyncio.Event()
        self.is_closed = False


class Subscription(Closable):
    """One client's wish to follow one session."""

    __slots__ = ("_delta_head", "_event_head", "deltas")
    topic: Topic

    def __init__(
        self,
        id: str,
        topic: Topic,
        epoch: str,
        sink: Sink,
        *,
        deltas: bool,
        prev: int,
        ended: Callable[[], None],
        may_read: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(id, topic, sink, prev=prev, ended=ended, may_read=may_read)
        self.deltas = deltas
        who = b'{"subscription":%b,"key":%b' % (_encode(id), _encode(topic[1]))
        self._event_head = head_of(EVENT.name) + who + b',"epoch":%b,"prev":' % _encode(epoch)
        self._delta_head = head_of(DELTA.name) + who + b',"delta":'

    def event(self, body: bytes) -> bytes:
        """The notification of an event, after the one it was sent before."""
        return self._event_head + b'%d,"event":%b}}' % (self.prev, body)

    def delta(self, body: bytes) -> bytes:
        """The notification of a delta."""
        return self._delta_head + body + b"}}"


class Hub:
    """The live subscriptions of this process."""

    def __init__(self, frame: Callable[[bytes], bytes]) -> None:
        self.frame = frame
        self._by_topic: dict[Topic, dict[Subscription, None]] = {}

    def attach(self, subscription: Subscription) -> None:
        """From now on it gets what is published; one that is closed stays so."""
        if subscription.is_closed:
            return
        self._by_topic.setdefault(subscription.topic, {})[subscription] = None
        subscription.live.set()

    def detach(self, subscription: Closable) -> None:
        """It gets nothing more; repeats are nothing."""
        if subscription.is_closed:
            return
        subscription.is_closed = True
        subscription.live.set()
        if isinstance(subscription, Subscription):
            self._forget(subscription)
        subscription.ended()

    def _forget(self, subscription: Subscription) -> None:
        followers = self._by_topic.get(subscription.topic)
        if followers is not None:
            followers.pop(subscription, None)
            if not followers:
                del self._by_topic[subscription.topic]

    def publish_event(self, topic: Topic, seq: int, body: bytes) -> None:
        """Tell all followers of an event that is durable; `body` is its JSON."""
        frames: dict[tuple[str, int], bytes] = {}
        for follower in self._readers(topic):
            shared = (follower.id, follower.prev)
            frame = frames.get(shared)
            if frame is None:
                frame = frames[shared] = self.frame(follower.event(body))
            follower.prev = seq
            follower.sink.notify(topic, frame)

    def publish_delta(self, topic: Topic, delta: Delta) -> None:
        """Tell those who want it of a piece of a running turn."""
        if topic not in self._by_topic:
            return
        body = _encode(delta)
        frames: dict[str, bytes] = {}
        for follower in self._readers(topic):
            if follower.deltas:
                frame = frames.get(follower.id)
                if frame is None:
                    frame = frames[follower.id] = self.frame(follower.delta(body))
                follower.sink.notify(topic, frame)

    def replay(self, subscription: Subscription, seq: int, body: bytes) -> None:
        """Send one follower an event of the past."""
        if not self.review(subscription):
            return
        frame = self.frame(subscription.event(body))
        subscription.prev = seq
        subscription.sink.notify(subscription.topic, frame)

    def catch_up(self, subscription: Subscription, delta: Delta) -> None:
        """Send one follower what a running turn said while it was not attached."""
        if not self.review(subscription):
            return
        subscription.sink.notify(subscription.topic, self.frame(subscription.delta(_encode(delta))))

    def review(self, subscription: Closable) -> bool:
        """Whether it goes on: one whose holder may no longer read is closed."""
        if subscription.is_closed or subscription.may_read():
            return not subscription.is_closed
        self.close(subscription, "forbidden", resumable=False)
        return False

    def close(self, subscription: Closable, reason: CloseReason, *, resumable: bool) -> None:
        """End one subscription and say why."""
        self.detach(subscription)
        farewell = ClosedParams(
            subscription=subscription.id, reason=reason, last_seq=subscription.prev, resumable=resumable
        )
        subscription.sink.notify(subscription.topic, self.frame(notification(CLOSED.name, farewell)))

    def close_topic(self, topic: Topic) -> None:
        """End the subscriptions of a session that was deleted."""
        for follower in list(self._by_topic.get(topic, ())):
            self.close(follower, "deleted", resumable=False)

    def _readers(self, topic: Topic) -> list[Subscription]:
        """Who follows and may; the others are closed."""
        return [follower for follower in list(self._by_topic.get(topic, ())) if self.review(follower)]


def notification(method: str, params: Struct) -> bytes:
    """A notification to everybody, as JSON."""
    return head_of(method) + _encode(params) + b"}"


def head_of(method: str) -> bytes:
    """A notification's bytes up to its params."""
    return b'{"jsonrpc":"2.0","method":%b,"params":' % _encode(method)
