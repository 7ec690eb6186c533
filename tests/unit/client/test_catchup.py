"""Everything once, in order, over any number of connections."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.catchup import Catchup, LogReplaced, TextMissing
from rpc_schema.events import AnyEvent, MessageAssistant, MessageUser, TurnCompleted, TurnStarted, TurnStopped
from rpc_schema.notifications import Delta, EventParams
from rpc_schema.subscriptions import Replay, RunningTurn, Since, SubscribeResult
from rpc_schema.types import Session
from tests.unit.client.scripted import SESSION

STARTED = TurnStarted(seq=2, turn="t1", model="m")


def event(event: AnyEvent) -> EventParams:
    return EventParams(subscription="s", key="k", epoch="e1", prev=event.seq - 1, event=event)


def said(seq: int, content: str, turn: str = "t1") -> EventParams:
    return event(MessageAssistant(seq=seq, turn=turn, content=content, finish_reason="stop", partial=False))


def answer(head: int, *, turn: RunningTurn | None = None, epoch: str = "e1", complete: bool = True) -> SubscribeResult:
    session = msgspec.convert(SESSION, Session)
    replay = Replay(from_=head + 1, to=head, complete=complete)
    return SubscribeResult(subscription="s", epoch=epoch, head=head, session=session, replay=replay, turn=turn)


def running(text: str, reasoning: str = "", id: str = "t1") -> RunningTurn:
    return RunningTurn(id=id, state="running", text=text, reasoning=reasoning, offset=len(text))


def text(offset: int, text: str, kind: Any = "text", turn: str = "t1") -> Delta:
    return Delta(turn=turn, kind=kind, offset=offset, text=text)


def pieces(updates: Iterable[Any]) -> list[tuple[int, str]]:
    return [(u.offset, u.text) for u in updates if isinstance(u, Delta)]


def begun(text_so_far: str = "") -> Catchup:
    """A follower that saw turn t1 start and was given this much of it."""
    catchup = Catchup(None)
    assert list(catchup.subscribed(answer(1))) == []
    assert list(catchup.event(event(STARTED))) == [STARTED]
    if text_so_far:
        list(catchup.delta(text(0, text_so_far)))
    return catchup


def test_an_event_that_was_given_is_not_given_again() -> None:
    """A replay that overlaps is cut."""
    catchup = begun()
    assert list(catchup.event(event(STARTED))) == []
    assert catchup.since == Since(seq=2, epoch="e1")


def test_a_piece_is_cut_to_what_is_new() -> None:
    """Offsets count code points, so an emoji is one."""
    catchup = begun("a🦊")
    assert pieces(catchup.delta(text(1, "🦊b"))) == [(2, "b")]
    assert pieces(catchup.delta(text(0, "a🦊b"))) == []


def test_coming_back_in_the_middle_of_a_turn_gives_the_missing_piece() -> None:
    """What the answer has beyond what was given comes at once."""
    catchup = begun("hello ")
    assert pieces(catchup.subscribed(answer(2, turn=running("hello wor")))) == [(6, "wor")]
    assert pieces(catchup.delta(text(6, "world"))) == [(9, "ld")]


def test_coming_back_after_the_turn_gives_the_missing_piece_before_its_message() -> None:
    """The message's content fills in what no piece brought."""
    catchup = begun("hello ")
    list(catchup.subscribed(answer(4)))
    assert pieces(catchup.event(said(3, "hello world"))) == [(6, "world")]
    assert pieces(catchup.event(event(TurnCompleted(seq=4, turn="t1")))) == []


def test_a_turn_that_ran_while_away_comes_as_pieces_too() -> None:
    """The pieces joined are the contents joined, for replayed turns as for live ones."""
    catchup = Catchup(Since(seq=1, epoch="e1"))
    list(catchup.subscribed(answer(5)))
    updates = [*catchup.event(event(STARTED)), *catchup.event(said(3, "one ")), *catchup.event(said(4, "two"))]
    assert pieces(updates) == [(0, "one "), (4, "two")]


def test_the_text_so_far_comes_after_the_replay() -> None:
    """A turn's pieces come after its start, also when both come from the answer and its replay."""
    catchup = Catchup(Since(seq=1, epoch="e1"))
    assert list(catchup.subscribed(answer(2, turn=running("hel", "hmm")))) == []
    updates = list(catchup.event(event(STARTED)))
    assert updates == [STARTED, text(0, "hmm", "reasoning"), text(0, "hel")]


def test_a_turn_that_ends_behind_the_answer_is_whole() -> None:
    """The replay may reach past the answer's head and end the turn that the answer has."""
    catchup = begun("he")
    list(catchup.subscribed(answer(3, turn=running("hell"))))
    missed = MessageUser(seq=3, content="more", turn="t2")
    updates = [*catchup.event(event(missed)), *catchup.event(said(4, "hello"))]
    assert pieces(updates) == [(2, "ll"), (4, "o")]


def test_a_turn_under_way_when_the_following_begins() -> None:
    """The messages that it has finished are told by the caller, so that the next one is cut in the right place."""
    catchup = Catchup(None)
    first = answer(7, turn=running("one tw"))
    assert catchup.needs_message_start(first)
    assert pieces(catchup.subscribed(first, message_start=4)) == [(0, "one tw")]
    list(catchup.subscribed(answer(9)))
    assert pieces(catchup.event(said(8, "two"))) == [(6, "o")]


def test_another_log_is_announced() -> None:
    """Nothing of the old log is mixed with the new one's running turn."""
    catchup = begun("hello")
    updates = list(catchup.subscribed(answer(5, epoch="e2", complete=False, turn=running("new", id="t9"))))
    assert updates == [LogReplaced(epoch="e2", head=5), text(0, "new", turn="t9")]
    assert catchup.since == Since(seq=5, epoch="e2")


def test_the_end_of_a_waiting_turn_does_not_end_the_running_one() -> None:
    """Taking back a queued message leaves the running turn's text alone."""
    catchup = begun("he")
    list(catchup.event(event(TurnStopped(seq=3, turn="t2", by="local", reason="stopped"))))
    assert pieces(catchup.delta(text(0, "hello"))) == [(2, "llo")]


def test_a_hole_in_the_text_is_noticed() -> None:
    """A piece that does not join on is never passed on."""
    with pytest.raises(TextMissing):
        list(begun("he").delta(text(4, "o")))


def test_a_hole_in_what_is_live_only_is_not() -> None:
    """Tool input that went by while away cannot be had again."""
    assert pieces(begun().delta(text(4, "…}", "tool_input"))) == [(4, "…}")]


def test_without_deltas_there_are_events_only() -> None:
    """Neither the answer's text nor a message's content becomes a piece."""
    catchup = Catchup(Since(seq=1), deltas=False)
    running_turn = answer(3, turn=running("hello"))
    assert not catchup.needs_message_start(running_turn)
    updates = [*catchup.subscribed(running_turn), *catchup.event(event(STARTED)), *catchup.event(said(3, "hello"))]
    assert [type(update) for update in updates] == [TurnStarted, MessageAssistant]


Steps = st.lists(st.tuples(st.sampled_from(["piece", "reconnect"]), st.integers(0, 4)), max_size=6)


@given(st.text(max_size=12), Steps, st.text(max_size=12), Steps)
def test_text_is_given_once_wherever_the_connection_drops(
    first: str, first_steps: list[tuple[str, int]], second: str, second_steps: list[tuple[str, int]]
) -> None:
    """Two messages in one turn, in pieces of any size, with drops anywhere: pieces joined are the contents joined.

    What no step brings was said while the connection was down.
    """
    catchup, whole, updates, at = begun(), first + second, list[Any](), 0
    for seq, (content, end, steps) in enumerate([(first, len(first), first_steps), (second, len(whole), second_steps)]):
        for step, length in steps:
            until = min(at + length, end)
            if step == "piece":
                updates += catchup.delta(text(at, whole[at:until]))
            else:
                updates += catchup.subscribed(answer(seq + 2, turn=running(whole[:until])))
            at = until
        updates += catchup.subscribed(answer(seq + 3))
        updates += catchup.event(said(seq + 3, content))
        at = end
    assert "".join(piece for _, piece in pieces(updates)) == whole
