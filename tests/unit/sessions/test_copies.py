"""What a copy holds: the conversation up to a point, nothing of the life, nothing open."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from gateway.agents.base import AssistantMessage, ToolMessage
from gateway.sessions import copies
from gateway.sessions.policy import effective
from gateway.sessions.state import Details, RunningTurn, SessionState, WaitingTurn
from gateway.sessions.transcript import chat_messages
from gateway.settings import AgentPolicySettings, PolicySettings
from rpc_schema import errors
from rpc_schema import events as ev
from rpc_schema.types import Lineage
from tests.fakes import BEGINNING_MS
from tests.unit.sessions.logs import (
    assistant,
    born,
    call,
    created,
    fold,
    generation_end,
    logs,
    numbered,
    patiently,
    result,
    started,
    stopped,
    user,
)

POLICY = effective(PolicySettings(), AgentPolicySettings()).policy
LATER_MS = BEGINNING_MS + 60_000


def done(turn: str) -> ev.TurnCompleted:
    return ev.TurnCompleted(turn=turn)


def asking(turn: str) -> ev.GenerationStart:
    return ev.GenerationStart(turn=turn, provider="echo", model="echo")


def log(*events: ev.AnyEvent) -> list[ev.AnyEvent]:
    return numbered(born(), [created(), *events])


def copied(events: list[ev.AnyEvent], until: int | None = None, without: str | None = None) -> list[ev.AnyEvent]:
    """As the handler asks for it: one event more than was asked for."""
    until = len(events) if until is None else until
    return copies.conversation(events[: until + 1], until=until, without=without, model="echo", by="bob")


def types(events: list[ev.AnyEvent]) -> list[str]:
    return [str(event.__struct_config__.tag) for event in events]


TOOLS = log(
    user("a"), started("a"), asking("a"), call("a", "1"), call("a", "2"), result("a", "1"),
    result("a", "2"), generation_end("a"), assistant("a"), done("a"),
)  # fmt: skip


def test_all_of_it() -> None:
    """Messages, tools, generations, turns; not what happened to the session."""
    whole = log(user("a"), ev.SessionUpdated(pinned=True), started("a"), assistant("a"), done("a"))
    assert types(copied(whole)) == ["message.user", "turn.started", "message.assistant", "turn.completed"]
    assert [event.at for event in copied(whole)] == [whole[0].at] * 4


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        (1, []),
        (2, ["message.user", "turn.started", "turn.stopped"]),
        (3, ["message.user", "turn.started", "turn.stopped"]),
        (4, ["message.user", "turn.started", "turn.stopped"]),
        (5, ["message.user", "turn.started", "tool.call", "tool.result", "turn.stopped"]),
        (6, ["message.user", "turn.started", "tool.call", "tool.call", "tool.result", "tool.result", "turn.stopped"]),
        (9, [*types(TOOLS[1:9]), "turn.stopped"]),
        (10, types(TOOLS[1:])),
        (11, types(TOOLS[1:])),
    ],
)
def test_a_cut(until: int, expected: list[str]) -> None:
    """What is open there is closed; an answer that was given in full keeps its end."""
    found = copied(TOOLS, until)
    assert types(found) == expected
    for event in found:
        if isinstance(event, ev.ToolResult) and event.error is not None:
            assert event.at == TOOLS[0].at
    if expected and expected[-1] == "turn.stopped":
        assert isinstance(found[-1], ev.TurnStopped)
        assert (found[-1].by, found[-1].reason) == ("bob", "stopped")


QUEUED = log(
    user("a"), started("a"), user("b"), ev.TurnQueued(turn="b", position=1), user("c"),
    ev.TurnQueued(turn="c", position=2), stopped("c"), assistant("a"), done("a"),
    started("b"), assistant("b"), done("b"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("until", "turns"),
    [(3, "a"), (5, "a"), (8, "ac"), (10, "ac"), (11, "abc"), (13, "abc"), (4, "ab")],
)
def test_messages_that_waited(until: int, turns: str) -> None:
    """What had not begun stays behind, unless it is the very message that was asked for."""
    found = copied(QUEUED, until)
    assert {event.turn for event in found} == set(turns)
    assert "turn.queued" not in types(found)


def test_without_the_running_turn() -> None:
    """A fork in the middle of a turn ends with the turn before."""
    found = copied(QUEUED[:12], without="b")
    assert {event.turn for event in found} == {"a", "c"}


@pytest.mark.parametrize(("until", "is_refused"), [(3, False), (4, True), (5, False), (10, False), (11, True)])
def test_a_cut_in_the_running_turn(until: int, is_refused: bool) -> None:
    """Is refused once it had begun, or where its message is asked for."""
    state = born(head=12, turn=RunningTurn("b", 4))
    events = [event for event in QUEUED if event.seq <= until]
    if is_refused:
        with pytest.raises(errors.TurnRunning):
            copies.check_cut(state, until, events)
    else:
        copies.check_cut(state, until, events)
    copies.check_cut(replace(state, turn=None), until, events)


def test_where_to_cut() -> None:
    """The newest, or what was asked for, as long as it is there."""
    state = born(head=9, cleared_to=4)
    assert [copies.cut(state, seq) for seq in (UNSET, 5, 9)] == [9, 5, 9]
    for seq, reason in ((10, "the log ends at 9"), (4, "a reset cleared everything up to 4")):
        with pytest.raises(errors.InvalidParams) as refused:
            copies.cut(state, seq)
        assert (refused.value.path, refused.value.reason) == ("$.atSeq", reason)


@patiently
@given(logs(), st.data())
def test_any_fork(source: tuple[list[ev.AnyEvent], SessionState], data: st.DataObject) -> None:
    """Wherever it is cut: every turn is over, no call was left open, the agent sees a whole conversation."""
    events, state = source
    until = data.draw(st.integers(state.cleared_to + 1, state.head))
    kept = [event for event in events if state.cleared_to < event.seq <= until + 1]
    found = copies.conversation(kept, until=until, without=None, model="echo", by="bob")
    new, whole = copies.fork(heir(state), Lineage(key="k", seq=until), found, "bob", LATER_MS)
    assert [event.seq for event in whole] == list(range(1, new.head + 1))
    after = fold_again(new, whole)
    assert (after.turn, after.queue, after.message_count, after.head) == (None, (), new.message_count, new.head)
    was_over = {event.turn for event in kept if isinstance(event, ev.TurnCompleted | ev.TurnStopped | ev.TurnFailed)}
    cut_open = [event for event in whole if event.turn not in was_over]
    calls = [event.call_id for event in cut_open if isinstance(event, ev.ToolCall)]
    assert sorted(calls) == sorted(event.call_id for event in cut_open if isinstance(event, ev.ToolResult))
    asked = {
        use.call_id for said in chat_messages(whole) if isinstance(said, AssistantMessage) for use in said.tool_calls
    }
    assert asked == {said.call_id for said in chat_messages(whole) if isinstance(said, ToolMessage)}


def fold_again(state: SessionState, events: list[ev.AnyEvent]) -> SessionState:
    """What the log alone says."""
    return fold(replace(state, head=0, message_count=0), *events)


def heir(state: SessionState, **changes: Any) -> Any:
    return copies.heir(state, id=2, key="new", **changes)


def test_fork() -> None:
    """A session of its own: the same agent, user and words; its own time, counters and origin."""
    details = Details(
        title="T", title_source="user", labels={"a": "b"}, metadata={"m": 1}, policy={"auto_renew": False}
    )
    source = born(
        details=details, project="p", channel="web", source="scheduled", pinned=True, model="big",
        is_model_override=True, input_tokens=5, tool_calls=3, renewal_count=2, resets=1, lifecycle="ended",
        end_reason="user", ended_at=1, archived_at=2, clamped=("timeoutMinutes",), transferred_to="elsewhere",
    )  # fmt: skip
    state, whole = copies.fork(heir(source), Lineage(key="k", seq=11), copied(TOOLS), "bob", LATER_MS)
    assert (state.user, state.agent, state.project, state.channel, state.model) == ("ann", "echo", "p", "web", "big")
    assert (state.details, state.clamped, state.is_model_override) == (details, ("timeoutMinutes",), True)
    assert (state.lifecycle, state.created_at, state.last_activity_at) == ("live", LATER_MS, LATER_MS)
    assert (state.input_tokens, state.tool_calls, state.renewal_count, state.resets, state.cost_usd) == (0, 0, 0, 0, 0)
    assert (state.pinned, state.source, state.archived_at, state.transferred_to) == (False, "manual", None, None)
    assert (state.message_count, state.head, state.revision) == (2, 11, 1)
    assert state.forked_from == Lineage(key="k", seq=11)
    assert state.epoch != source.epoch
    assert isinstance(whole[0], ev.SessionCreated)
    assert (whole[0].author, whole[0].forked_from, whole[0].at) == (
        "bob",
        state.forked_from,
        "2026-11-20T09:31:00.123Z",
    )
    assert whole[1].at == TOOLS[1].at


def test_the_title_of_a_fork() -> None:
    """Its own is a person's; without one it is called as what it comes from."""
    details = Details(title="T", title_source="first_message")
    assert copies.titled(details, UNSET) is details
    assert copies.titled(details, "Mine") == Details(title="Mine", title_source="user")


def test_succeed() -> None:
    """The target of a transfer says where it comes from, in the log and in the summary."""
    birth = heir(born(pinned=True), agent="polly", provider="p", model="m", pinned=True)
    state, whole = copies.succeed(birth, "k", copied(TOOLS), "bob", LATER_MS)
    assert (state.agent, state.provider, state.model, state.pinned) == ("polly", "p", "m", True)
    assert (state.transferred_from, state.head, state.message_count) == ("k", 12, 2)
    assert types(whole)[:3] == ["session.created", "session.transferred", "message.user"]
    assert fold_again(state, whole).transferred_to is None


def test_hand_over() -> None:
    """The source stops what waits, says where to, and has ended."""
    source = fold(born(), created(), user("a"), ev.TurnQueued(turn="a", position=1), user("b"))
    state = replace(source, lifecycle="paused")
    after = fold(state, *copies.hand_over(state, "new", "bob"))
    assert (after.queue, after.transferred_to, after.lifecycle, after.end_reason) == ((), "new", "ended", "transferred")
    assert after.revision == state.revision + 1


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, None),
        ({"lifecycle": "idle"}, None),
        ({"lifecycle": "paused", "queue": (WaitingTurn("a", 2),)}, None),
        ({"queue": (WaitingTurn("a", 2),)}, errors.TurnRunning),
        ({"turn": RunningTurn("a", 2)}, errors.TurnRunning),
        ({"archived_at": 1}, errors.SessionArchived),
        ({"lifecycle": "ended", "end_reason": "user", "ended_at": 1}, errors.SessionEnded),
        ({"lifecycle": "ended", "end_reason": "expired", "ended_at": 1}, errors.SessionExpired),
        ({"agent": "polly"}, errors.InvalidParams),
    ],
)
def test_what_can_be_handed_over(fields: dict[str, Any], error: type[Exception] | None) -> None:
    """Live, idle and paused sessions without a turn, to another agent."""
    if error is None:
        copies.check_transfer(born(**fields), "polly")
        return
    with pytest.raises(error):
        copies.check_transfer(born(**fields), "polly")
