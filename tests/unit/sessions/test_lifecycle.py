"""What may happen to a session, and by which events."""

from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import asdict

from gateway.clock import instant
from gateway.sessions import lifecycle
from gateway.sessions.lifecycle import Birth
from gateway.sessions.policy import effective
from gateway.sessions.state import Details, RunningTurn, SessionState, WaitingTurn
from gateway.settings import AgentPolicySettings, PolicySettings
from rpc_schema import errors
from rpc_schema.lifecycle import UpdateParams
from rpc_schema.types import Policy
from tests.fakes import BEGINNING_MS
from tests.unit.sessions.logs import born, fold

MINUTE_MS = 60_000
END_MS = BEGINNING_MS + 30 * MINUTE_MS
CAP_MS = BEGINNING_MS + 720 * MINUTE_MS
TURN = RunningTurn("t1", 2)
QUEUE = (WaitingTurn("t2", 5),)


def rules(**fields: Any) -> Policy:
    return effective(PolicySettings(**fields), AgentPolicySettings()).policy


def test_create() -> None:
    """All that was asked for is in the state; the event says who did it; no epoch comes twice."""
    birth = Birth(
        id=7,
        tenant="t",
        key="k",
        user="bob",
        agent="echo",
        provider="p",
        model="m",
        is_model_override=True,
        channel="web",
        source="trigger",
        project="x",
        pinned=True,
        details=Details(title="mine", title_source="user"),
        clamped=("timeoutMinutes",),
    )
    state, event = lifecycle.create(birth, "ann", BEGINNING_MS)
    assert asdict(birth).items() <= asdict(state).items()
    assert (state.created_at, state.last_activity_at, state.lifecycle) == (BEGINNING_MS, BEGINNING_MS, "live")
    assert (event.author, event.agent, event.model, event.source, event.channel) == (
        "ann",
        "echo",
        "m",
        "trigger",
        "web",
    )
    epochs = {lifecycle.create(birth, "ann", BEGINNING_MS)[0].epoch for _ in range(100)}
    assert len(epochs) == 100


def test_revision() -> None:
    """Only the revision that is there passes; not asking passes too."""
    state = born(revision=3)
    lifecycle.check_revision(state, UNSET)
    lifecycle.check_revision(state, 3)
    for other in (0, 2, 4):
        with pytest.raises(errors.RevisionMismatch) as refused:
            lifecycle.check_revision(state, other)
        assert refused.value.revision == 3


@pytest.mark.parametrize("state", ["live", "idle"])
def test_open(state: Any) -> None:
    """Such a session takes messages."""
    lifecycle.check_open(born(lifecycle=state), rules())


@pytest.mark.parametrize(
    ("reason", "error", "data"),
    [
        ("idle_timeout", errors.SessionExpired, {"expiresAt": instant(END_MS), "reason": "idle_timeout"}),
        ("expired", errors.SessionExpired, {"expiresAt": instant(END_MS), "reason": "expired"}),
        ("max_duration", errors.SessionExpired, {"expiresAt": instant(END_MS), "reason": "max_duration"}),
        ("user", errors.SessionEnded, {"endedAt": instant(END_MS + 5), "reason": "user"}),
        ("admin", errors.SessionEnded, {"endedAt": instant(END_MS + 5), "reason": "admin"}),
    ],
)
def test_ended(reason: Any, error: type[errors.RpcError], data: dict[str, str]) -> None:
    """It takes none any more, and says since when and why."""
    state = born(lifecycle="ended", end_reason=reason, ended_at=END_MS + 5)
    with pytest.raises(error) as refused:
        lifecycle.check_open(state, rules())
    assert data.items() <= refused.value.data.items()
    assert refused.value.number == 410


def test_archived() -> None:
    """It takes none until it is restored, whatever its state."""
    with pytest.raises(errors.SessionArchived):
        lifecycle.check_open(born(archived_at=1, lifecycle="ended", end_reason="user", ended_at=1), rules())


@pytest.mark.parametrize(
    ("fields", "policy", "now_ms", "reason"),
    [
        ({}, {}, END_MS - 1, None),
        ({}, {}, END_MS, "idle_timeout"),
        ({}, {}, CAP_MS + 1, "idle_timeout"),
        ({"turn": TURN}, {}, CAP_MS + 1, "max_duration"),
        ({"lifecycle": "idle"}, {}, END_MS, "idle_timeout"),
        ({}, {"auto_renew": False}, END_MS, "expired"),
        ({"last_activity_at": END_MS}, {}, END_MS, None),
        ({"last_activity_at": END_MS}, {"auto_renew": False}, END_MS, "expired"),
        ({"turn": TURN}, {}, END_MS, None),
        ({"turn": TURN}, {}, CAP_MS - 1, None),
        ({"turn": TURN}, {}, CAP_MS, "max_duration"),
        ({"last_activity_at": CAP_MS}, {}, CAP_MS, "max_duration"),
        ({}, {"timeout_minutes": 20.0, "max_duration_minutes": 20.0}, END_MS, "max_duration"),
        ({"lifecycle": "paused"}, {}, CAP_MS, None),
        ({"lifecycle": "ended"}, {}, CAP_MS, None),
        ({"deleted_at": 1}, {}, CAP_MS, None),
    ],
)
def test_expire(fields: dict[str, Any], policy: dict[str, Any], now_ms: int, reason: str | None) -> None:
    """Inclusive, by what came first; a running turn holds off all but the longest duration; repeats are nothing."""
    state = born(**fields)
    events = lifecycle.expire(state, rules(**policy), now_ms)
    assert [(event.from_, event.to, event.reason) for event in events] == (  # type: ignore[union-attr]
        [(state.lifecycle, "ended", reason)] if reason else []
    )
    assert lifecycle.expire(fold(state, *events), rules(**policy), now_ms) == []


@pytest.mark.parametrize(
    ("fields", "policy", "moves"),
    [
        ({}, {}, True),
        ({}, {"auto_renew": False}, False),
        ({"last_activity_at": CAP_MS - 31 * MINUTE_MS}, {}, True),
        ({"last_activity_at": CAP_MS - 30 * MINUTE_MS}, {}, False),
        ({}, {"timeout_minutes": 30.0, "max_duration_minutes": 30.0}, False),
    ],
)
def test_renews(fields: dict[str, Any], policy: dict[str, Any], moves: bool) -> None:
    """Activity moves the end, until the end is the longest duration."""
    assert lifecycle.renews(born(**fields), rules(**policy)) is moves


def test_touch_renewal() -> None:
    """One renewal more."""
    assert lifecycle.touch_renewal(born(renewal_count=4)).renewal_count == 5


@pytest.mark.parametrize(
    ("fields", "if_busy", "place"),
    [
        ({}, "enqueue", "run"),
        ({}, "reject", "run"),
        ({}, "interrupt", "run"),
        ({"turn": TURN}, "enqueue", "queue"),
        ({"queue": QUEUE}, "enqueue", "queue"),
        ({"turn": TURN, "queue": QUEUE}, "enqueue", "queue"),
        ({"turn": TURN, "queue": QUEUE * 2}, "enqueue", errors.QueueFull),
        ({"turn": TURN, "queue": QUEUE * 2}, "interrupt", "interrupt"),
        ({"turn": TURN}, "interrupt", "interrupt"),
        ({"turn": TURN}, "reject", errors.TurnRunning),
        ({"queue": QUEUE}, "reject", errors.TurnRunning),
        ({"turn": TURN, "queue": QUEUE * 2}, "reject", errors.TurnRunning),
    ],
)
def test_admit(fields: dict[str, Any], if_busy: Any, place: Any) -> None:
    """A free session runs it; a busy one queues, refuses or is interrupted, as the caller wishes; 2 may wait."""
    state: SessionState = born(**fields)
    if isinstance(place, str):
        assert lifecycle.admit(state, if_busy, 2) == place
        return
    with pytest.raises(place) as refused:
        lifecycle.admit(state, if_busy, 2)
    expected = {"limit": 2} if place is errors.QueueFull else {"turn": state.turn.id if state.turn else "t2"}
    assert expected.items() <= refused.value.data.items()


def test_no_queue_at_all() -> None:
    """A limit of 0 lets nobody wait."""
    assert lifecycle.admit(born(), "enqueue", 0) == "run"
    with pytest.raises(errors.QueueFull):
        lifecycle.admit(born(turn=TURN), "enqueue", 0)


NAMED = Details("mine", "user", {"a": "b"}, {"m": [1]})
GUESSED = Details("mine", "first_message", {"a": "b"}, {"m": [1]})


@pytest.mark.parametrize(
    ("details", "params", "changes"),
    [
        (NAMED, {}, None),
        (NAMED, {"title": "mine"}, None),
        (NAMED, {"title": "other"}, {"title": "other"}),
        (NAMED, {"title": None}, {"title": None}),
        (GUESSED, {"title": "mine"}, {"title": "mine"}),
        (GUESSED, {"title": None}, {"title": None}),
        (Details(), {"title": None}, None),
        (NAMED, {"pinned": False}, None),
        (NAMED, {"pinned": True}, {"pinned": True}),
        (NAMED, {"labels": {"a": "b"}}, None),
        (NAMED, {"labels": {"a": "c"}}, {"labels": {"a": "c"}}),
        (NAMED, {"labels": None}, {"labels": {}}),
        (Details(), {"labels": None, "metadata": None}, None),
        (NAMED, {"metadata": {"m": [1]}}, None),
        (NAMED, {"metadata": {}}, {"metadata": {}}),
        (NAMED, {"title": "mine", "pinned": True, "labels": {}}, {"pinned": True, "labels": {}}),
    ],
)
def test_update(details: Details, params: dict[str, Any], changes: dict[str, Any] | None) -> None:
    """The event has what really changes; nothing changed is no event."""
    events = lifecycle.update(born(details=details), UpdateParams(key="k", **params), "ann")
    assert len(events) == (changes is not None)
    for event in events:
        said = {
            name: value
            for name in ("title", "pinned", "labels", "metadata")
            if (value := getattr(event, name)) is not UNSET
        }
        assert (event.author, said) == ("ann", changes)
        assert lifecycle.update(fold(born(details=details), event), UpdateParams(key="k", **params), "ann") == []


def test_update_of_an_archived_session() -> None:
    """Its record may change, its pin may not."""
    archived = born(archived_at=1)
    assert lifecycle.update(archived, UpdateParams(key="k", title="t", labels={"a": "b"}, metadata={"m": 1}), "ann")
    assert lifecycle.update(archived, UpdateParams(key="k", pinned=False), "ann") == []
    with pytest.raises(errors.SessionArchived):
        lifecycle.update(archived, UpdateParams(key="k", pinned=True), "ann")


def test_clear() -> None:
    """Everything up to now, by whom, and how many messages that were."""
    event = lifecycle.clear(born(head=9, message_count=4), "ann")
    assert (event.author, event.messages_cleared, event.cleared_to) == ("ann", 4, 9)
