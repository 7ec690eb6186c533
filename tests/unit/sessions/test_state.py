"""The fold: what each event does to what is known of a session."""

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from gateway.clock import instant, parse_instant
from gateway.sessions import state as states
from gateway.sessions.policy import patch_of
from gateway.sessions.state import Details, RunningTurn, SessionState, WaitingTurn
from rpc_schema import events as ev
from rpc_schema.types import ContextPolicyPatch, PolicyPatch
from tests.fakes import BEGINNING_MS
from tests.unit.sessions.logs import (
    TEXT,
    assistant,
    born,
    call,
    created,
    fold,
    generation_end,
    logs,
    patiently,
    result,
    started,
    stopped,
    user,
)

LATER_MS = BEGINNING_MS + 60_000


def changes(before: SessionState, after: SessionState) -> dict[str, Any]:
    """The fields that differ, but for the head."""
    old, new = asdict(before), asdict(after)
    return {name: value for name, value in new.items() if value != old[name] and name != "head"}


def changed(before: SessionState, event: ev.AnyEvent) -> dict[str, Any]:
    """What one event, a minute later, changes."""
    after = fold(before, event, at_ms=LATER_MS)
    assert after.head == before.head + 1
    return changes(before, after)


RUNNING = fold(born(), created(), user("t1"), started("t1"))
WAITING = fold(
    RUNNING, user("t2"), ev.TurnQueued(turn="t2", position=1), user("t3"), ev.TurnQueued(turn="t3", position=2)
)
T2, T3 = WaitingTurn("t2", 4), WaitingTurn("t3", 6)
ENDS = {
    "completed": ev.TurnCompleted(turn="t1"),
    "stopped": stopped("t1"),
    "failed": ev.TurnFailed(turn="t1", code="agent_failed", message="no luck"),
}


def test_created() -> None:
    """The first event adds nothing to what the session was born with."""
    assert changed(born(), created()) == {}


@pytest.mark.parametrize("to", ["idle", "live"])
def test_state(to: Any) -> None:
    """A new state is a decision: the revision grows, the activity stays."""
    before = born(lifecycle="idle" if to == "live" else "live")
    event = ev.SessionStateChanged(from_=before.lifecycle, to=to, reason="idle")
    assert changed(before, event) == {"lifecycle": to, "revision": 2}


def test_paused() -> None:
    """The pause is counted, from when it began to when it ends, however it ends."""
    paused = fold(born(), ev.SessionStateChanged(from_="live", to="paused", reason="user"))
    assert (paused.lifecycle, paused.paused_at) == ("paused", BEGINNING_MS)
    to: list[Any] = ["live", "ended"]
    for resumed in (
        fold(paused, ev.SessionStateChanged(from_="paused", to=t, reason="user"), at_ms=LATER_MS) for t in to
    ):
        assert (resumed.paused_at, resumed.resumed_at) == (None, LATER_MS)
        assert resumed.paused_ms == resumed.paused_since_activity_ms == LATER_MS - BEGINNING_MS
    heard = fold(resumed, assistant("t1"), at_ms=LATER_MS)
    assert (heard.paused_ms, heard.paused_since_activity_ms) == (LATER_MS - BEGINNING_MS, 0)


def test_warned_and_renewed() -> None:
    """The warning is kept with the end that it was for, until that is void."""
    end = instant(LATER_MS)
    warning = ev.SessionExpiring(cause="timeout", expires_at=end, minutes_remaining=5, time_remaining_ms=300_000)
    assert changed(born(), warning) == {"warned_for": LATER_MS}
    renewed = ev.SessionRenewed(expires_at=end, renewal_count=3, auto=True)
    assert changed(born(warned_for=1), renewed) == {"warned_for": None, "renewal_count": 3}


def test_archived_and_restored() -> None:
    """Both keep when."""
    archived = ev.SessionUpdated(archived_at=instant(LATER_MS))
    assert changed(born(), archived) == {"archived_at": LATER_MS, "revision": 2}
    restored = ev.SessionUpdated(archived_at=None)
    assert changed(born(archived_at=1), restored) == {"archived_at": None, "restored_at": LATER_MS, "revision": 2}


def test_policy_and_model() -> None:
    """The event has all overrides as they are now, null where it means something."""
    patch = PolicyPatch(timeout_minutes=9.0, auto_archive_days=None, context=ContextPolicyPatch(keep_recent_turns=3))
    after = fold(born(), ev.SessionUpdated(policy=patch, model="other"))
    overrides = {"timeout_minutes": 9.0, "auto_archive_days": None, "context": {"keep_recent_turns": 3}}
    assert (after.details.policy, after.model) == (overrides, "other")
    assert patch_of(overrides) == patch


def test_ended() -> None:
    """The end keeps its reason and its time."""
    event = ev.SessionStateChanged(from_="live", to="ended", reason="max_duration")
    end = {"lifecycle": "ended", "end_reason": "max_duration", "ended_at": LATER_MS, "revision": 2}
    assert changed(born(), event) == end


@pytest.mark.parametrize(
    ("event", "change"),
    [
        (ev.SessionUpdated(title="mine"), {"details": Details("mine", "user", {"a": "b"}, {"m": 1})}),
        (ev.SessionUpdated(title=None), {"details": Details(None, None, {"a": "b"}, {"m": 1})}),
        (ev.SessionUpdated(labels={}), {"details": Details("old", "first_message", {}, {"m": 1})}),
        (ev.SessionUpdated(metadata={}), {"details": Details("old", "first_message", {"a": "b"}, {})}),
        (ev.SessionUpdated(pinned=True), {"pinned": True}),
        (ev.SessionUpdated(), {}),
    ],
)
def test_updated(event: ev.SessionUpdated, change: dict[str, Any]) -> None:
    """Only what is in the event changes; null clears; a title that a person set is theirs."""
    before = born(details=Details("old", "first_message", {"a": "b"}, {"m": 1}))
    after = fold(before, event)
    assert changes(before, after) == change | {"revision": 2}


def test_a_message() -> None:
    """It is counted, is activity, titles the session, and its turn waits until it starts."""
    expected = {
        "queue": (WaitingTurn("t1", 1),),
        "message_count": 1,
        "last_activity_at": LATER_MS,
        "details": Details("hello there", "first_message"),
    }
    assert changed(born(), user("t1", "hello\n there ")) == expected


@pytest.mark.parametrize("title", ["mine", "from a message"])
def test_a_second_message(title: str) -> None:
    """A title that is there stays."""
    before = born(details=Details(title, "user"))
    assert fold(before, user("t1", "another")).details == before.details


def test_a_blank_first_message() -> None:
    """Gives no title; the next one does."""
    state = fold(born(), user("t1", " \n\t "))
    assert state.details == Details()
    assert fold(state, user("t2", "at last")).details.title == "at last"


@pytest.mark.parametrize("event", [assistant("t1"), ev.MessageSystem(content="note")])
def test_other_messages(event: ev.AnyEvent) -> None:
    """They are counted and are activity."""
    assert changed(RUNNING, event) == {"message_count": 2, "last_activity_at": LATER_MS}


def test_tools() -> None:
    """A call is open until its result; both belong to the running turn."""
    once = fold(RUNNING, call("t1", "c1"))
    twice = fold(once, call("t1", "c2"))
    assert twice.turn is not None
    assert (twice.turn.open_calls, twice.tool_calls) == (("c1", "c2"), 2)
    rest = RunningTurn("t1", 2, open_calls=("c2",))
    assert changed(twice, result("t1", "c1")) == {"turn": rest, "last_activity_at": LATER_MS}
    assert changed(twice, result("t1", "unknown")) == {"last_activity_at": LATER_MS}


def test_generations() -> None:
    """The time of the one that runs is kept; what it used adds up when it ends."""
    start = ev.GenerationStart(turn="t1", provider="echo", model="echo")
    asked = fold(RUNNING, start, at_ms=LATER_MS)
    running = RunningTurn("t1", 2, generation_started_at=LATER_MS)
    assert changes(RUNNING, asked) == {"turn": running, "last_activity_at": LATER_MS}
    answered = fold(asked, generation_end("t1", 3, 0.5), generation_end("t1", 4, 0.25))
    assert changes(RUNNING, answered) == {"input_tokens": 7, "output_tokens": 14, "cost_usd": 0.75}


@pytest.mark.parametrize(
    ("costs", "sum_usd"),
    [([(1, 0.5), (1, None), (1, 0.5)], None), ([(0, None), (1, 0.5)], 0.5), ([(0, None)], 0.0), ([], 0.0)],
)
def test_costs(costs: list[tuple[int, float | None]], sum_usd: float | None) -> None:
    """One unknown price makes the sum unknown, unless nothing was used."""
    assert fold(RUNNING, *(generation_end("t1", *cost) for cost in costs)).cost_usd == sum_usd


@pytest.mark.parametrize("event", [call("t", "c"), result("t", "c"), generation_end("t")])
def test_work_without_a_turn(event: ev.AnyEvent) -> None:
    """Is activity, and nothing else."""
    assert changed(born(), event) == {"last_activity_at": LATER_MS}


def test_queue() -> None:
    """Turns wait in the order of their messages, unless one is given a place; the running one is apart."""
    assert (WAITING.turn, WAITING.queue) == (RunningTurn("t1", 2), (T2, T3))
    moved = fold(WAITING, ev.TurnQueued(turn="t3", position=1))
    assert moved.queue == (T3, T2)
    assert changed(WAITING, stopped("t2")) == {"queue": (T3,)}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_ends(end: ev.AnyEvent) -> None:
    """Each frees the session and leaves the queue; the next starts from it."""
    free = fold(WAITING, end)
    assert (free.turn, free.queue, free.is_busy) == (None, (T2, T3), True)
    after = fold(free, started("t2"))
    assert (after.turn, after.queue) == (RunningTurn("t2", 4), (T3,))


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_an_end_of_another_turn(end: ev.AnyEvent) -> None:
    """Leaves the running one."""
    other = copy.copy(end)
    other.turn = "t9"
    assert changed(WAITING, other) == {}


def test_reset() -> None:
    """History and queue go, with a title nobody set; the rest of the record and the counters stay."""
    before = fold(WAITING, generation_end("t1", 5), call("t1", "c"), stopped("t1"))
    before = replace(before, details=replace(before.details, labels={"a": "b"}, metadata={"m": 1}))
    expected = {
        "message_count": 0,
        "resets": 1,
        "cleared_to": before.head,
        "queue": (),
        "revision": before.revision + 1,
        "details": Details(None, None, {"a": "b"}, {"m": 1}),
    }
    assert changed(before, ev.Reset(messages_cleared=3, cleared_to=before.head)) == expected


def test_reset_keeps_a_title_of_a_person() -> None:
    """It is theirs."""
    before = born(details=Details("mine", "user"))
    assert fold(before, ev.Reset(messages_cleared=0, cleared_to=0)).details == before.details


def test_empty() -> None:
    """A session is empty until it has had a message, even if that was reset away."""
    state = fold(born(), created())
    assert state.is_empty
    state = fold(state, user("t1"), stopped("t1"))
    assert not state.is_empty
    assert not fold(state, ev.Reset(messages_cleared=1, cleared_to=3)).is_empty


@patiently
@given(logs())
def test_a_log_keeps_its_promises(log: tuple[list[ev.AnyEvent], SessionState]) -> None:
    """Consecutive seq; one turn runs, the others wait once each in order; nothing is counted below zero."""
    events, state = log
    assert [event.seq for event in events] == list(range(1, state.head + 1))
    names = [waiting.id for waiting in state.queue]
    assert len(set(names)) == len(names)
    assert state.turn is None or state.turn.id not in names
    assert [waiting.seq for waiting in state.queue] == sorted(waiting.seq for waiting in state.queue)
    since = [event for event in events if event.seq > state.cleared_to]
    assert state.message_count == sum(type(event) in (ev.MessageUser, ev.MessageAssistant) for event in since)
    assert state.tool_calls == sum(isinstance(event, ev.ToolCall) for event in events)
    assert state.revision == 1 + sum(isinstance(event, ev.SessionUpdated | ev.Reset) for event in events)
    ended = {
        event.turn
        for event in events
        if event.__struct_config__.tag in ("turn.completed", "turn.stopped", "turn.failed")
    }
    asked = {event.turn for event in events if isinstance(event, ev.MessageUser)}
    open_turns = {*names, *([state.turn.id] if state.turn else [])}
    assert open_turns == asked - ended


@patiently
@given(logs(), st.dictionaries(TEXT, TEXT, max_size=2))
def test_stored_and_read_back(log: tuple[list[ev.AnyEvent], SessionState], words: dict[str, str]) -> None:
    """A state survives the store; without its words it has none."""
    state = replace(log[1], details=replace(log[1].details, labels=words, metadata=dict(words)))
    assert states.decode(states.encode(state), msgspec.json.encode(state.details)) == state
    assert states.decode(states.encode(state), None) == replace(state, details=Details())


@patiently
@given(logs())
def test_events_survive_the_wire(log: tuple[list[ev.AnyEvent], SessionState]) -> None:
    """The log read back folds to the same state."""
    decode = msgspec.json.Decoder(ev.AnyEvent).decode
    state = born()
    for event in log[0]:
        state = states.apply(state, decode(msgspec.json.encode(event)))
    assert state == log[1]


@patiently
@given(st.integers(0, 253_402_300_799_998))
def test_instants(ms: int) -> None:
    """Milliseconds to text and back, through the year 9999; texts sort as times do."""
    assert parse_instant(instant(ms)) == ms
    assert instant(ms) < instant(ms + 1)
