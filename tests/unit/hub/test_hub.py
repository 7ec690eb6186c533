"""Who follows what, and the bytes they get."""

import json
from typing import Any

from gateway.hub.hub import Hub, Subscription, Topic, notification
from rpc_schema.notifications import Delta, ShutdownParams

TOPIC = ("default", 'k"ü')
OTHER = ("other", 'k"ü')


class Ear:
    """A sink that keeps what it hears."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.topics: list[Topic] = []

    def notify(self, topic: Topic, frame: bytes) -> None:
        self.topics.append(topic)
        self.frames.append(frame)

    async def drained(self) -> None:
        """Never behind."""

    @property
    def heard(self) -> list[Any]:
        return [json.loads(frame) for frame in self.frames]

    @property
    def params(self) -> list[Any]:
        return [message["params"] for message in self.heard]


class Counter:
    """Counts the frames that are made, and the subscriptions that ended."""

    def __init__(self) -> None:
        self.framed = 0
        self.ended: list[str] = []
        self.hub = Hub(self.frame)

    def frame(self, payload: bytes) -> bytes:
        self.framed += 1
        return payload

    def follow(
        self, ear: Ear, id: str = "s1", *, prev: int = 0, deltas: bool = True, topic: Topic = TOPIC
    ) -> Subscription:
        def ended() -> None:
            self.ended.append(id)

        subscription = Subscription(id, topic, "e", ear, deltas=deltas, prev=prev, ended=ended)
        self.hub.attach(subscription)
        return subscription


def delta(text: str = "hi", offset: int = 0) -> Delta:
    return Delta(turn="t", kind="text", offset=offset, text=text)


def test_an_event() -> None:
    """Each follower gets it with its own subscription and the seq it was sent before; others hear nothing."""
    counter, near, far, other = Counter(), Ear(), Ear(), Ear()
    counter.follow(near, prev=3)
    counter.follow(far, "s2", prev=4)
    counter.follow(other, topic=OTHER)
    counter.hub.publish_event(TOPIC, 5, b'{"seq":5}')
    counter.hub.publish_event(TOPIC, 6, b'{"seq":6}')
    usual = {"key": 'k"ü', "epoch": "e"}
    assert near.params == [
        {"subscription": "s1", "prev": 3, "event": {"seq": 5}, **usual},
        {"subscription": "s1", "prev": 5, "event": {"seq": 6}, **usual},
    ]
    assert [(params["subscription"], params["prev"]) for params in far.params] == [("s2", 4), ("s2", 5)]
    assert {message["method"] for message in near.heard} == {"session.event"}
    assert {message["jsonrpc"] for message in near.heard} == {"2.0"}
    assert other.frames == []
    assert set(near.topics) == {TOPIC}


def test_encoded_once() -> None:
    """Followers that agree in id and place share the very bytes."""
    counter, ears = Counter(), [Ear() for _ in range(100)]
    for ear in ears:
        counter.follow(ear)
    counter.hub.publish_event(TOPIC, 1, b"{}")
    counter.hub.publish_delta(TOPIC, delta())
    assert counter.framed == 2
    assert all(ear.frames[0] is ears[0].frames[0] and ear.frames[1] is ears[0].frames[1] for ear in ears)


def test_the_same_id_at_another_place() -> None:
    """Ids are a connection's own: followers that agree in theirs still get their own seq before."""
    counter, early, late = Counter(), Ear(), Ear()
    counter.follow(early, prev=1)
    counter.follow(late, prev=4)
    counter.hub.publish_event(TOPIC, 5, b"{}")
    assert [early.params[0]["prev"], late.params[0]["prev"]] == [1, 4]


def test_deltas() -> None:
    """Go to those who want them, and move nobody's place."""
    counter, wants, wants_not = Counter(), Ear(), Ear()
    counter.follow(wants)
    counter.follow(wants_not, "s2", deltas=False)
    counter.hub.publish_delta(TOPIC, delta("ü"))
    counter.hub.publish_event(TOPIC, 1, b"{}")
    assert wants.params[0] == {
        "subscription": "s1",
        "key": 'k"ü',
        "delta": {"turn": "t", "kind": "text", "offset": 0, "text": "ü"},
    }
    assert [message["method"] for message in wants.heard] == ["session.delta", "session.event"]
    assert [message["method"] for message in wants_not.heard] == ["session.event"]
    assert wants.params[1]["prev"] == 0


def test_several_subscriptions_of_one_client() -> None:
    """Each gets its own."""
    counter, ear = Counter(), Ear()
    counter.follow(ear, "s1")
    counter.follow(ear, "s2", prev=7, deltas=False)
    counter.hub.publish_event(TOPIC, 8, b"{}")
    counter.hub.publish_delta(TOPIC, delta())
    assert [(params["subscription"], params.get("prev")) for params in ear.params] == [
        *(("s1", 0), ("s2", 7), ("s1", None))
    ]


def test_nobody_listens() -> None:
    """Nothing is encoded."""
    counter = Counter()
    counter.hub.publish_event(TOPIC, 1, b"{}")
    counter.hub.publish_delta(TOPIC, delta())
    counter.hub.close_topic(TOPIC)
    assert counter.framed == 0


def test_detached() -> None:
    """It gets nothing more and is told once that it ended; the others go on."""
    counter, gone, stays = Counter(), Ear(), Ear()
    subscription = counter.follow(gone)
    other = counter.follow(stays, "s2")
    counter.hub.detach(subscription)
    counter.hub.detach(subscription)
    counter.hub.publish_event(TOPIC, 1, b"{}")
    assert (gone.frames, len(stays.frames), counter.ended) == ([], 1, ["s1"])
    counter.hub.detach(other)
    counter.hub.publish_event(TOPIC, 2, b"{}")
    assert (len(stays.frames), counter.framed) == (1, 1)


def test_detached_before_it_was_attached() -> None:
    """Also one that was still on its way ends, once."""
    counter, ear = Counter(), Ear()
    ended: list[int] = []
    subscription = Subscription("s1", TOPIC, "e", ear, deltas=True, prev=0, ended=lambda: ended.append(1))
    counter.hub.detach(subscription)
    assert (ended, subscription.is_closed) == ([1], True)


def test_replay() -> None:
    """One follower gets the past, each event after the one before, and then goes on live."""
    counter, ear, other = Counter(), Ear(), Ear()
    counter.follow(other, "s2", prev=3)
    subscription = Subscription("s1", TOPIC, "e", ear, deltas=True, prev=1, ended=lambda: None)
    counter.hub.replay(subscription, 2, b'{"seq":2}')
    counter.hub.replay(subscription, 3, b'{"seq":3}')
    counter.hub.catch_up(subscription, delta("so far"))
    counter.hub.attach(subscription)
    counter.hub.publish_event(TOPIC, 4, b'{"seq":4}')
    assert [params.get("prev") for params in ear.params] == [1, 2, None, 3]
    assert ear.params[2]["delta"]["text"] == "so far"
    assert [params["event"]["seq"] for params in other.params] == [4]


def test_a_deleted_session() -> None:
    """Every follower is told, with the last seq it was sent and that there is nothing to resume."""
    counter, near, far = Counter(), Ear(), Ear()
    counter.follow(near)
    counter.follow(far, "s2")
    counter.hub.publish_event(TOPIC, 9, b"{}")
    counter.hub.close_topic(TOPIC)
    assert near.heard[-1]["method"] == "subscription.closed"
    assert near.params[-1] == {"subscription": "s1", "reason": "deleted", "lastSeq": 9, "resumable": False}
    assert far.params[-1]["subscription"] == "s2"
    assert counter.ended == ["s1", "s2"]
    counter.hub.publish_event(TOPIC, 10, b"{}")
    assert [params.get("reason") for params in near.params] == [None, "deleted"]


def test_closed_for_another_reason() -> None:
    """As it is said."""
    counter, ear = Counter(), Ear()
    subscription = counter.follow(ear, prev=4)
    counter.hub.close(subscription, "lagged", resumable=True)
    assert ear.params == [{"subscription": "s1", "reason": "lagged", "lastSeq": 4, "resumable": True}]
    assert subscription.is_closed


def test_a_notification() -> None:
    """To everybody, as JSON."""
    said = json.loads(notification("gateway.shutdown", ShutdownParams(reason="bye", retry_after_ms=5)))
    assert said == {"jsonrpc": "2.0", "method": "gateway.shutdown", "params": {"reason": "bye", "retryAfterMs": 5}}


def test_a_follower_who_may_no_longer_read() -> None:
    """Hears why, and nothing more; the others go on. Asked before each notification of whatever kind."""
    counter, ear, other = Counter(), Ear(), Ear()
    rights = {"may": True}
    follower = counter.follow(ear)
    follower.may_read = lambda: rights["may"]
    counter.follow(other, "s2")
    counter.hub.publish_event(TOPIC, 1, b"{}")
    rights["may"] = False
    counter.hub.publish_delta(TOPIC, Delta(turn="t", kind="text", offset=0, text="secret"))
    counter.hub.publish_event(TOPIC, 2, b"{}")
    assert ear.params[1:] == [{"subscription": "s1", "reason": "forbidden", "lastSeq": 1, "resumable": False}]
    assert len(other.frames) == 3
    assert counter.ended == ["s1"]


def test_a_follower_who_may_not_read_what_it_missed() -> None:
    """Neither events of the past nor what the turn said; and it never gets live."""
    for send in ("replay", "catch_up"):
        counter, ear = Counter(), Ear()
        follower = Subscription("s1", TOPIC, "e", ear, deltas=True, prev=0, ended=lambda: None, may_read=lambda: False)
        if send == "replay":
            counter.hub.replay(follower, 1, b"{}")
        else:
            counter.hub.catch_up(follower, Delta(turn="t", kind="text", offset=0, text="secret"))
        counter.hub.attach(follower)
        counter.hub.publish_event(TOPIC, 2, b"{}")
        assert [params.get("reason") for params in ear.params] == ["forbidden"]
        assert not counter.hub._by_topic
