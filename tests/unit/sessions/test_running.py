"""A turn while it runs: what goes live, what goes to the log, what is left when it ends."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.agents.base import Finish
from gateway.sessions import running
from gateway.sessions.running import outcome_of
from rpc_schema import events as ev
from rpc_schema.types import Usage
from tests.fakes import forever
from tests.unit.sessions.logs import assistant, generation_end, patiently
from tests.unit.sessions.stage import Ending, Stage

STOPPED: Ending = ("stopped", ev.TurnStopped(turn="t1", by="ann", reason="stopped"))
COMPLETED: Ending = ("stop", ev.TurnCompleted(turn="t1"))
FAMILY = "👩‍👩‍👧"


def types(events: list[ev.AnyEvent]) -> list[str]:
    return [str(event.__struct_config__.tag) for event in events]


async def test_offsets() -> None:
    """Each kind counts its own code points, astral ones and joined ones as what they are."""
    stage = Stage()
    stage.run.text(f"a{FAMILY}")
    stage.run.reasoning("hm")
    stage.run.text("é")
    stage.run.tool_input("c1", "{")
    stage.run.text("!")
    stage.run.tool_input("c1", "}")
    assert [(delta["kind"], delta["offset"], delta["text"]) for delta in stage.deltas] == [
        ("text", 0, f"a{FAMILY}"),
        ("reasoning", 0, "hm"),
        ("text", 6, "é"),
        ("tool_input", 0, "{"),
        ("text", 7, "!"),
        ("tool_input", 1, "}"),
    ]
    assert [delta.get("callId") for delta in stage.deltas] == [None, None, None, "c1", None, "c1"]


async def test_nothing_said() -> None:
    """An empty piece is nothing; a turn that said nothing ends with an empty partial message."""
    stage = Stage()
    stage.run.text("")
    assert stage.deltas == []
    message, end = stage.end(STOPPED)
    assert isinstance(message, ev.MessageAssistant)
    assert (message.content, message.finish_reason, message.partial) == ("", "stopped", True)
    assert isinstance(end, ev.TurnStopped)


async def test_half_characters() -> None:
    """Lone surrogates, also both halves in two pieces, become question marks; lengths still agree."""
    stage = Stage()
    for piece in ("a\ud83d", "\ude00b", "\udfff"):
        stage.run.text(piece)
    stage.end(STOPPED)
    assert stage.said() == stage.logged() == "a??b?"
    assert [delta["offset"] for delta in stage.deltas] == [0, 2, 4]


@pytest.mark.parametrize(("room", "kept"), [(4, 4), (5, 4), (6, 6), (7, 6)])
async def test_the_cut(room: int, kept: int) -> None:
    """Past its bytes the turn ends, on a character's boundary, and nothing more is heard."""
    stage = Stage(output_bytes=room)
    stage.run.task = asyncio.create_task(never())
    stage.run.reasoning("xxx")
    assert not stage.run.is_cut
    stage.run.text("a" + "é" * 10)
    assert stage.run.is_cut
    stage.run.text("more")
    stage.run.reasoning("more")
    with pytest.raises(asyncio.CancelledError):
        await stage.run.task
    stage.end(("length", ev.TurnCompleted(turn="t1")))
    assert len((stage.said("reasoning") + stage.said()).encode()) == kept
    assert stage.logged() == stage.said() != ""
    message = stage.log[0]
    assert isinstance(message, ev.MessageAssistant)
    assert (message.finish_reason, message.partial) == ("length", False)


async def never() -> Finish:
    await forever()
    return "stop"


async def test_just_enough_room() -> None:
    """The last byte is no cut."""
    stage = Stage(output_bytes=6)
    stage.run.text("ab")
    stage.run.text("éé")
    assert not stage.run.is_cut
    stage.run.text("c")
    assert stage.run.is_cut
    assert stage.said() == "abéé"


PIECES = st.lists(st.tuples(st.sampled_from(["text", "reasoning", "tool_call"]), st.text(max_size=20)), max_size=30)


@patiently
@given(PIECES, st.integers(1, 200))
def test_any_output(pieces: list[tuple[str, str]], room: int) -> None:
    """Deltas joined are messages joined, offsets have no gap, the bytes are within bounds, and nothing is made up."""
    stage = asyncio.run(perform(pieces, room))
    assert stage.logged() == stage.said()
    assert len((stage.said() + stage.said("reasoning")).encode()) <= room
    for kind in ("text", "reasoning"):
        whole = "".join(piece for name, piece in pieces if name == kind)
        assert whole.encode("utf-8", "replace").decode().startswith(stage.said(kind))
        offset = 0
        for delta in stage.deltas:
            if delta["kind"] == kind:
                assert delta["offset"] == offset
                offset += len(delta["text"])


async def perform(pieces: list[tuple[str, str]], room: int) -> Stage:
    stage = Stage(output_bytes=room)
    for name, piece in pieces:
        if name == "tool_call":
            await stage.run.tool_call("c", piece, {})
        else:
            getattr(stage.run, name)(piece)
    stage.end(STOPPED)
    return stage


async def test_a_whole_turn() -> None:
    """Text before a tool call is a message of its own, the rest comes at the end; a generation ends the one before."""
    stage = Stage()
    await stage.run.generation(provider="p", model="m")
    stage.clock.advance(ms=20)
    stage.run.text("let me see")
    stage.clock.advance(ms=5)
    stage.run.usage(input_tokens=3, output_tokens=1)
    stage.run.usage(input_tokens=3, output_tokens=4, cache_read_tokens=2)
    await stage.run.tool_call("c1", "look", {"q": 1})
    await stage.run.tool_result("c1", {"found": True}, duration_ms=7)
    await stage.run.generation(provider="p", model="m")
    stage.run.usage(input_tokens=9, output_tokens=8)
    stage.run.text("there it is")
    stage.end(COMPLETED)
    assert types(stage.log) == [
        *("generation.start", "message.assistant", "tool.call", "tool.result", "generation.end"),
        *("generation.start", "generation.end", "message.assistant", "turn.completed"),
    ]
    first, last = stage.log[1], stage.log[7]
    assert isinstance(first, ev.MessageAssistant)
    assert isinstance(last, ev.MessageAssistant)
    assert (first.content, first.finish_reason, first.partial) == ("let me see", "tool_use", False)
    assert (last.content, last.finish_reason, last.partial) == ("there it is", "stop", False)
    ended = stage.log[4]
    assert isinstance(ended, ev.GenerationEnd)
    assert (ended.ttft_ms, ended.duration_ms, ended.cost_usd, ended.usage.cache_read_tokens) == (20, 25, 1.0, 2)
    outcome = stage.run.outcome()
    assert (outcome.message, outcome.finish_reason, outcome.failure) == (last, "stop", None)
    assert (outcome.usage.input_tokens, outcome.usage.output_tokens, outcome.cost_usd) == (12, 12, 3.0)


async def test_stopped_in_a_tool_call() -> None:
    """Calls without a result get one that says so, in their order; work that was done stays."""
    stage = Stage()
    await stage.run.generation(provider="p", model="m")
    for call_id in ("c1", "c2", "c3"):
        await stage.run.tool_call(call_id, "look", {})
        stage.clock.advance(seconds=1)
    await stage.run.tool_result("c2", "found", duration_ms=1)
    rest = stage.end(STOPPED)
    assert types(rest) == ["tool.result", "tool.result", "generation.end", "message.assistant", "turn.stopped"]
    open_calls = [event for event in rest if isinstance(event, ev.ToolResult)]
    assert [(event.call_id, event.duration_ms, event.output) for event in open_calls] == [
        ("c1", 3000, None),
        ("c3", 1000, None),
    ]
    assert all(event.error for event in open_calls)


async def test_a_tool_call_as_the_end() -> None:
    """An agent that leaves its calls to others ends without another message."""
    stage = Stage()
    stage.run.text("look it up")
    await stage.run.tool_call("c1", "look", {})
    assert types(stage.end(("tool_use", ev.TurnCompleted(turn="t1")))) == ["turn.completed"]
    assert stage.run.outcome().finish_reason == "tool_use"


async def test_nothing_after_the_seal() -> None:
    """The first to end it decides how; the agent is cancelled and nothing it still says has any effect."""
    stage = Stage()
    stage.run.task = asyncio.create_task(never())
    await stage.run.generation(provider="p", model="m")
    stage.run.text("so far")
    stage.run.seal(*STOPPED)
    stage.run.seal(*COMPLETED)
    stage.run.text(" and more")
    stage.run.reasoning("hm")
    stage.run.tool_input("c", "{")
    stage.run.usage(input_tokens=99, output_tokens=99)
    await stage.run.tool_call("c", "look", {})
    await stage.run.generation(provider="p", model="m")
    with pytest.raises(asyncio.CancelledError):
        await stage.run.task
    rest = stage.end(COMPLETED)
    assert types(rest) == ["generation.end", "message.assistant", "turn.stopped"]
    assert stage.said() == stage.logged() == "so far"
    assert (stage.said("reasoning"), stage.run.outcome().usage) == ("", running.NO_USAGE)


async def test_a_client_that_comes_in_the_middle() -> None:
    """It gets what was said, and what came since then from any offset."""
    stage = Stage()
    stage.run.reasoning("hm")
    stage.run.text(f"{FAMILY} a")
    await stage.run.tool_call("c", "look", {})
    stage.run.text("b")
    shown = stage.run.snapshot()
    assert (shown.text, shown.offset, shown.reasoning) == (f"{FAMILY} ab", 8, "hm")
    assert [(d.kind, d.offset, d.text) for d in stage.run.since(7, 1)] == [("reasoning", 1, "m"), ("text", 7, "b")]
    assert stage.run.since(8, 2) == []


async def test_kept_against_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces, each only once; what is logged as a message is not kept beside it."""
    monkeypatch.setattr(running, "SAVE_EVERY_S", 0.001)
    stage = Stage()
    for piece in ("one ", f"{FAMILY} ", "three "):
        stage.run.text(piece)
        await stage.saved()
    assert [(chunk.turn, chunk.text) for chunk in stage.chunks] == [
        ("t1", "one "),
        ("t1", f"{FAMILY} "),
        ("t1", "three "),
    ]
    await stage.run.tool_call("c", "look", {})
    assert stage.chunks == []
    stage.run.text("four")
    await stage.saved()
    assert [chunk.text for chunk in stage.chunks] == ["four"]
    stage.end(STOPPED)
    assert (stage.chunks, stage.recovered()) == ([], stage.said())


async def test_kept_while_a_message_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece that is stored between a message and the news of it is not said twice after a crash."""
    monkeypatch.setattr(running, "SAVE_EVERY_S", 0.001)
    stage = Stage()
    stage.run.text("let me see")
    stage.before_recorded = lambda: stage.until(lambda: bool(stage.chunks))
    await stage.run.tool_call("c", "look", {})
    assert stage.chunks
    assert stage.recovered() == "let me see"


async def test_kept_by_a_store_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be kept is kept with the next piece, without a hole."""
    monkeypatch.setattr(running, "SAVE_EVERY_S", 0.001)
    stage = Stage()
    stage.run.text("one ")
    await stage.saved()
    stage.is_store_broken = True
    stage.run.text("two ")
    await stage.until(lambda: stage.refused > 0)
    stage.is_store_broken = False
    stage.run.text("three")
    await stage.saved()
    assert stage.recovered() == "one two three"
    stage.end(STOPPED)


def test_outcomes() -> None:
    """From the events that end a turn: the last message, the sum of usage, an unknown price, a failure."""
    failed = ev.TurnFailed(turn="t1", code="agent_timeout", message="too slow")
    events = [assistant("t1", "a", "tool_use"), generation_end("t1", 2, None), generation_end("t1", 3, 1.0)]
    outcome = outcome_of([*events, assistant("t1", "b", "failed"), failed])
    assert (outcome.message and outcome.message.content, outcome.finish_reason) == ("b", "failed")
    assert (outcome.usage.output_tokens, outcome.cost_usd) == (10, None)
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.message) == ("agent_timeout", "too slow")


def test_the_outcome_of_a_turn_that_never_ran() -> None:
    """It was stopped, cost nothing and said nothing."""
    outcome = outcome_of([STOPPED[1]])
    assert (outcome.message, outcome.finish_reason, outcome.cost_usd, outcome.failure) == (None, "stopped", 0.0, None)
    assert outcome.usage == Usage(input_tokens=0, output_tokens=0, cache_read_tokens=0, cache_write_tokens=0)
