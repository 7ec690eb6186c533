"""What may happen to a session, and by which events."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import asdict

from gateway.clock import instant
from gateway.sessions import deadlines, lifecycle
from gateway.sessions.lifecycle import Birth
from gateway.sessions.policy import effective
from gateway.sessions.state import Details, RunningTurn, SessionState, WaitingTurn
from gateway.settings import AgentPolicySettings, PolicySettings
from rpc_schema import errors
from rpc_schema import events as ev
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


ENDED = {"lifecycle": "ended", "ended_at": END_MS + 5}


@pytest.mark.parametrize("state", ["live", "idle"])
def test_open(state: Any) -> None:
    """Such a session takes messages."""
    lifecycle.check_talking(born(lifecycle=state))


@pytest.mark.parametrize(
    ("fields", "error", "data"),
    [
        ({"end_reason": "idle_timeout", "expired_at": END_MS}, errors.SessionExpired, {"expiresAt": instant(END_MS)}),
        ({"end_reason": "expired", "expired_at": END_MS}, errors.SessionExpired, {"reason": "expired"}),
        ({"end_reason": "max_duration", "expired_at": END_MS}, errors.SessionExpired, {"reason": "max_duration"}),
        ({"end_reason": "user"}, errors.SessionEnded, {"endedAt": instant(END_MS + 5), "reason": "user"}),
        ({"end_reason": "admin"}, errors.SessionEnded, {"endedAt": instant(END_MS + 5), "reason": "admin"}),
        ({"end_reason": "admin", "archived_at": 1}, errors.SessionEnded, {"reason": "admin"}),
    ],
)
def test_ended(fields: dict[str, Any], error: type[errors.RpcError], data: dict[str, str]) -> None:
    """It takes nothing any more, and says since when and why; an archive hides that not."""
    with pytest.raises(error) as refused:
        lifecycle.check_open(born(**ENDED | fields))
    assert data.items() <= refused.value.data.items()
    assert refused.value.number == 410


def test_archived() -> None:
    """It takes nothing until it is restored."""
    with pytest.raises(errors.SessionArchived):
        lifecycle.check_open(born(archived_at=1))


def test_paused() -> None:
    """It takes no messages until it is resumed."""
    lifecycle.check_open(born(lifecycle="paused"))
    with pytest.raises(errors.SessionPaused):
        lifecycle.check_talking(born(lifecycle="paused"))


IDLE_MS = BEGINNING_MS + 5 * MINUTE_MS
WARN_MS = END_MS - 5 * MINUTE_MS
IDLE = ("session.state", "live", "idle", "idle")
DAY_MS = 24 * 60 * MINUTE_MS


def ended(reason: str, from_: str = "live") -> tuple[str, str, str, str]:
    return ("session.state", from_, "ended", reason)


def warned(cause: str, remaining_ms: int) -> tuple[str, str, int]:
    return ("session.expiring", cause, remaining_ms)


def told(events: Sequence[ev.AnyEvent]) -> list[tuple[Any, ...]]:
    """What matters of each event."""
    found: list[tuple[Any, ...]] = []
    for event in events:
        match event:
            case ev.SessionStateChanged():
                found.append(("session.state", event.from_, event.to, event.reason))
            case ev.SessionExpiring():
                found.append(("session.expiring", event.cause, event.time_remaining_ms))
            case ev.SessionRenewed():
                found.append(("session.renewed", event.expires_at, event.renewal_count, event.auto))
            case ev.SessionUpdated():
                found.append(("session.updated", event.archived_at))
            case _:
                found.append((event.__struct_config__.tag,))
    return found


@pytest.mark.parametrize(
    ("fields", "policy", "now_ms", "expected"),
    [
        ({}, {}, IDLE_MS - 1, []),
        ({}, {}, IDLE_MS, [IDLE]),
        ({"turn": TURN}, {}, IDLE_MS, []),
        ({"queue": QUEUE}, {}, IDLE_MS, []),
        ({"lifecycle": "idle"}, {}, WARN_MS - 1, []),
        ({"lifecycle": "idle"}, {}, WARN_MS, [warned("timeout", 5 * MINUTE_MS)]),
        ({}, {}, END_MS - 1, [IDLE, warned("timeout", 1)]),
        ({"lifecycle": "idle", "warned_for": END_MS}, {}, END_MS - 1, []),
        ({"lifecycle": "idle", "warned_for": END_MS - 9}, {}, END_MS - 1, [warned("timeout", 1)]),
        ({"lifecycle": "idle"}, {"warning_threshold_minutes": 0.0}, END_MS - 1, []),
        ({}, {}, END_MS, [ended("idle_timeout")]),
        ({}, {}, CAP_MS + 1, [ended("idle_timeout")]),
        ({"lifecycle": "idle"}, {}, END_MS, [ended("idle_timeout", "idle")]),
        ({}, {"auto_renew": False}, END_MS, [ended("expired")]),
        ({"last_activity_at": END_MS}, {}, END_MS, []),
        ({"last_activity_at": END_MS}, {"auto_renew": False}, END_MS, [ended("expired")]),
        ({"turn": TURN}, {}, END_MS, []),
        ({"turn": TURN}, {}, WARN_MS, []),
        ({"turn": TURN}, {"auto_renew": False}, WARN_MS, [warned("timeout", 5 * MINUTE_MS)]),
        ({"turn": TURN}, {"auto_renew": False}, END_MS, []),
        ({"turn": TURN}, {}, CAP_MS - 1, [warned("max_duration", 1)]),
        ({"turn": TURN}, {}, CAP_MS, [ended("max_duration")]),
        ({"last_activity_at": CAP_MS}, {}, CAP_MS, [ended("max_duration")]),
        ({}, {"timeout_minutes": 20.0, "max_duration_minutes": 20.0}, END_MS, [ended("max_duration")]),
        ({"lifecycle": "paused", "paused_at": WARN_MS}, {}, CAP_MS - 1, []),
        ({"lifecycle": "paused", "paused_at": WARN_MS}, {}, CAP_MS, [ended("max_duration", "paused")]),
        (ENDED, {}, END_MS + 5 + 30 * DAY_MS - 1, []),
        (ENDED, {}, END_MS + 5 + 30 * DAY_MS, [("session.updated", instant(END_MS + 5 + 30 * DAY_MS))]),
        (ENDED | {"restored_at": END_MS + DAY_MS}, {}, END_MS + 30 * DAY_MS + 5, []),
        (ENDED | {"pinned": True}, {}, END_MS + 99 * DAY_MS, []),
        (ENDED | {"archived_at": 1}, {}, END_MS + 99 * DAY_MS, []),
        (ENDED, {"auto_archive_days": None}, END_MS + 9999 * DAY_MS, []),
        ({"deleted_at": 1}, {}, CAP_MS, []),
    ],
)
def test_elapse(fields: dict[str, Any], policy: dict[str, Any], now_ms: int, expected: list[Any]) -> None:
    """Inclusive, by what came first; a running turn holds off all but the longest duration; once is enough.

    What is due is due at `due_ms`, not a millisecond before.
    """
    state, ruled = born(**fields), rules(**policy)
    decision = lifecycle.elapse(state, ruled, now_ms)
    assert told(decision.events) == expected
    after = fold(decision.onto, *decision.events, at_ms=now_ms)
    assert not lifecycle.elapse(after, ruled, now_ms).events
    due_ms = deadlines.due_ms(state, ruled, now_ms)
    assert (due_ms is not None and due_ms <= now_ms) == bool(expected)


def test_the_end_that_a_client_is_told() -> None:
    """A late timer says when the session's time was up, beside when it ended."""
    decision = lifecycle.elapse(born(), rules(), END_MS + 99)
    after = fold(decision.onto, *decision.events, at_ms=END_MS + 99)
    with pytest.raises(errors.SessionExpired) as refused:
        lifecycle.check_open(after)
    assert (refused.value.expires_at, after.ended_at) == (instant(END_MS), END_MS + 99)


NOW_MS = BEGINNING_MS + 10 * MINUTE_MS


@pytest.mark.parametrize(
    ("fields", "policy", "renewals", "expected"),
    [
        ({}, {}, 1, []),
        ({"lifecycle": "idle"}, {}, 1, [("session.state", "idle", "live", "activity")]),
        ({}, {"auto_renew": False}, 0, []),
        ({"warned_for": END_MS}, {}, 1, [("session.renewed", instant(NOW_MS + 30 * MINUTE_MS), 1, True)]),
        ({"warned_for": END_MS}, {"auto_renew": False}, 0, []),
        ({"last_activity_at": CAP_MS - 30 * MINUTE_MS}, {}, 0, []),
        ({"warned_for": CAP_MS, "last_activity_at": CAP_MS - 30 * MINUTE_MS}, {}, 0, []),
        ({}, {"timeout_minutes": 30.0, "max_duration_minutes": 30.0}, 0, []),
    ],
)
def test_touch(fields: dict[str, Any], policy: dict[str, Any], renewals: int, expected: list[Any]) -> None:
    """Activity wakes, and renews until the end is the longest duration; a warning that it makes void is taken back."""
    decision = lifecycle.touch(born(**fields), rules(**policy), NOW_MS)
    assert told(decision.events) == expected
    assert (decision.onto.last_activity_at, decision.onto.renewal_count) == (NOW_MS, renewals)


@pytest.mark.parametrize("auto_renew", [True, False])
def test_renew(auto_renew: bool) -> None:
    """The whole timeout from now, by hand, whether activity renews or not."""
    ruled = rules(auto_renew=auto_renew)
    decision = lifecycle.renew(born(lifecycle="idle", warned_for=END_MS, paused_ms=7), ruled, "ann", NOW_MS)
    end = NOW_MS + 30 * MINUTE_MS
    assert told(decision.events) == [
        ("session.state", "idle", "live", "activity"),
        ("session.renewed", instant(end), 1, False),
    ]
    after = fold(decision.onto, *decision.events, at_ms=NOW_MS)
    assert deadlines.deadline_ms(after, ruled) == end
    assert (after.warned_for, after.lifecycle, after.renewal_count) == (None, "live", 1)


def test_renew_at_the_cap() -> None:
    """There is nothing to give."""
    with pytest.raises(errors.RenewalFailed) as refused:
        lifecycle.renew(born(last_activity_at=CAP_MS - 30 * MINUTE_MS), rules(), "ann", CAP_MS - 1)
    assert refused.value.data["maxDurationMinutes"] == 720
    assert refused.value.data["createdAt"] == instant(BEGINNING_MS)


@pytest.mark.parametrize("auto_renew", [True, False])
def test_pause_and_resume(auto_renew: bool) -> None:
    """What was left is left; the longest duration goes on; repeats are nothing."""
    ruled = rules(auto_renew=auto_renew)
    state = born()
    paused = fold(state, *lifecycle.pause(state, "ann", "user").events, at_ms=NOW_MS)
    assert deadlines.remaining_ms(paused, ruled, NOW_MS + DAY_MS // 4) == 20 * MINUTE_MS
    assert deadlines.shown_end_ms(paused, ruled, NOW_MS) is None
    assert deadlines.due_ms(paused, ruled, NOW_MS) == CAP_MS - 20 * MINUTE_MS
    assert deadlines.due_ms(paused, ruled, CAP_MS - 5 * MINUTE_MS) == CAP_MS
    assert not lifecycle.pause(paused, "ann", "user").events
    later = NOW_MS + DAY_MS // 4
    resumed = fold(paused, *lifecycle.resume(paused, "ann", "user").events, at_ms=later)
    assert deadlines.deadline_ms(resumed, ruled) == later + 20 * MINUTE_MS
    assert deadlines.idle_ms(resumed, ruled) == later + 5 * MINUTE_MS
    assert not lifecycle.resume(resumed, "ann", "user").events


def test_a_long_pause() -> None:
    """Once the longest duration comes first, it is what is told."""
    paused = fold(born(), *lifecycle.pause(born(), "ann", "user").events, at_ms=NOW_MS)
    near_cap = CAP_MS - 20 * MINUTE_MS
    assert deadlines.shown_end_ms(paused, rules(), near_cap - 1) is None
    assert deadlines.shown_end_ms(paused, rules(), near_cap) == CAP_MS
    assert deadlines.remaining_ms(paused, rules(), CAP_MS - 7) == 7


@pytest.mark.parametrize("state", ["live", "idle", "paused"])
def test_end(state: Any) -> None:
    """From any state; a repeat is nothing."""
    begun = born(lifecycle=state)
    after = fold(begun, *lifecycle.end(begun, "ann", "admin").events, at_ms=NOW_MS)
    assert (after.lifecycle, after.end_reason, after.ended_at) == ("ended", "admin", NOW_MS)
    assert not lifecycle.end(after, "ann", "user").events


def test_archive_and_restore() -> None:
    """Neither a pinned session nor one with a running turn; repeats are nothing."""
    with pytest.raises(errors.SessionPinned):
        lifecycle.archive(born(pinned=True), "ann", NOW_MS)
    for busy in (born(turn=TURN), born(queue=QUEUE)):
        with pytest.raises(errors.TurnRunning):
            lifecycle.archive(busy, "ann", NOW_MS)
    assert lifecycle.archive(born(queue=QUEUE, lifecycle="paused"), "ann", NOW_MS).events
    archived = fold(born(), *lifecycle.archive(born(), "ann", NOW_MS).events, at_ms=NOW_MS)
    assert (archived.archived_at, archived.revision) == (NOW_MS, 2)
    assert not lifecycle.archive(archived, "ann", NOW_MS).events
    restored = fold(archived, *lifecycle.restore(archived, "ann").events, at_ms=NOW_MS + 5)
    assert (restored.archived_at, restored.restored_at, restored.lifecycle) == (None, NOW_MS + 5, "live")
    assert not lifecycle.restore(restored, "ann").events


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


def updated(state: SessionState, **params: Any) -> Sequence[ev.AnyEvent]:
    """The events of an update, with the model and policy as a handler would have checked them."""
    model, policy = params.pop("model", state.model), params.pop("policy", state.details.policy)
    change = lifecycle.Change(
        asked=UpdateParams(key="k", **params), model=model, is_model_override=False, policy=policy, clamped=()
    )
    return lifecycle.update(state, change, "ann", lambda state: rules(**state.details.policy), NOW_MS).events


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
    events = updated(born(details=details), **params)
    assert len(events) == (changes is not None)
    for event in events:
        said = {
            name: value
            for name in ("title", "pinned", "labels", "metadata")
            if (value := getattr(event, name)) is not UNSET
        }
        assert (event.author, said) == ("ann", changes)
        assert not updated(fold(born(details=details), event), **params)


def test_update_of_an_archived_session() -> None:
    """Its record may change; its pin, model and policy may not."""
    archived = born(archived_at=1)
    assert updated(archived, title="t", labels={"a": "b"}, metadata={"m": 1})
    assert not updated(archived, pinned=False)
    for change in ({"pinned": True}, {"policy": {"timeout_minutes": 9.0}}, {"model": "other"}):
        with pytest.raises(errors.SessionArchived):
            updated(archived, **change)


def test_update_of_a_session_that_has_ended() -> None:
    """Its record may change, also its pin; not what it lives by."""
    over = born(**ENDED, end_reason="user")
    assert updated(over, title="t", pinned=True)
    for change in ({"policy": {"timeout_minutes": 9.0}}, {"model": "other"}):
        with pytest.raises(errors.SessionEnded):
            updated(over, title="t", **change)


def test_a_policy_that_moves_the_end_out() -> None:
    """A warning that it makes void is taken back; where there was none nothing is said."""
    longer = {"policy": {"timeout_minutes": 60.0}}
    _, renewed = updated(born(warned_for=END_MS, renewal_count=2), **longer)
    assert told([renewed]) == [("session.renewed", instant(BEGINNING_MS + 60 * MINUTE_MS), 2, False)]
    (event,) = updated(born(), **longer)
    assert isinstance(event, ev.SessionUpdated)
    assert fold(born(), event).details.policy == {"timeout_minutes": 60.0}
    assert len(updated(born(warned_for=END_MS), policy={"timeout_minutes": 20.0})) == 1


def test_clear() -> None:
    """Everything up to now, by whom, and how many messages that were."""
    event = lifecycle.clear(born(head=9, message_count=4), "ann")
    assert (event.author, event.messages_cleared, event.cleared_to) == ("ann", 4, 9)
