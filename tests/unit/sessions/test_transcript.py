"""The log read back: page by page, and as the conversation an agent is shown."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given

from gateway.agents.base import AssistantMessage, ChatMessage, SystemMessage, ToolMessage, ToolUse, UserMessage
from gateway.sessions.state import SessionState
from gateway.sessions.transcript import Transcript, chat_messages, decode_event
from gateway.storage.base import Commit, EventQuery, EventRow
from rpc_schema import events as ev
from rpc_schema.errors import StoreUnavailable
from tests.contract.stores import event
from tests.fakes import MemoryStore
from tests.unit.sessions.logs import (
    assistant,
    born,
    call,
    created,
    logs,
    numbered,
    patiently,
    result,
    started,
    stopped,
    user,
)

UNANSWERED = "No result: the turn ended before the tool answered."
Log = Sequence[ev.AnyEvent]


def use(call_id: str) -> ToolUse:
    return ToolUse(call_id=call_id, name="look", input={})


def shown(*events: ev.AnyEvent) -> list[ChatMessage]:
    return list(chat_messages(events))


@pytest.mark.parametrize(
    ("events", "messages"),
    [
        ([], []),
        ([created(), user("t"), started("t")], [UserMessage("hi")]),
        (
            [user("t"), started("t"), assistant("t"), ev.TurnCompleted(turn="t")],
            [UserMessage("hi"), AssistantMessage("ho")],
        ),
        ([user("t", "a"), started("t"), ev.MessageSystem(content="s")], [UserMessage("a"), SystemMessage("s")]),
        ([user("t"), started("t"), assistant("t", ""), stopped("t")], [UserMessage("hi")]),
        (
            [user("t"), started("t"), assistant("t", "so fa", "stopped"), stopped("t")],
            [UserMessage("hi"), AssistantMessage("so fa")],
        ),
    ],
    ids=["nothing", "the first message", "an answer", "a note", "nothing said", "a partial answer"],
)
def test_messages(events: Log, messages: list[ChatMessage]) -> None:
    """Who said what, in order; what is empty is left out, what is partial is not."""
    assert shown(*events) == messages


def test_a_message_stands_where_its_turn_began() -> None:
    """Not where it queued: the answer to the first comes before the second, one that was taken back not at all."""
    log = [
        *(user("t1", "one"), started("t1"), assistant("t1", "1")),
        *(user("t2", "two"), user("t3", "three"), user("t4", "four")),
        *(assistant("t1", "!"), ev.TurnCompleted(turn="t1")),
        *(stopped("t2"), started("t4"), assistant("t4", "4"), ev.TurnCompleted(turn="t4"), started("t3")),
    ]
    said = [message.content for message in shown(*log)]  # type: ignore[union-attr]
    assert said == ["one", "1", "!", "four", "4", "three"]


BEGUN = [user("t"), started("t")]


@pytest.mark.parametrize(
    ("events", "messages"),
    [
        (
            [assistant("t", "see", "tool_use"), call("t", "a"), result("t", "a"), assistant("t")],
            [AssistantMessage("see", (use("a"),)), ToolMessage("a", "found"), AssistantMessage("ho")],
        ),
        (
            [call("t", "a"), call("t", "b"), result("t", "b", "B"), result("t", "a", "A"), assistant("t")],
            [
                AssistantMessage("", (use("a"), use("b"))),
                ToolMessage("a", "A"),
                ToolMessage("b", "B"),
                AssistantMessage("ho"),
            ],
        ),
        (
            [call("t", "a"), result("t", "a", "A"), call("t", "b"), result("t", "b", "B")],
            [
                AssistantMessage("", (use("a"),)),
                ToolMessage("a", "A"),
                AssistantMessage("", (use("b"),)),
                ToolMessage("b", "B"),
            ],
        ),
        (
            [
                call("t", "a"),
                call("t", "b"),
                result("t", "a", "A"),
                call("t", "c"),
                result("t", "b", "B"),
                result("t", "c", "C"),
            ],
            [
                AssistantMessage("", (use("a"), use("b"))),
                ToolMessage("a", "A"),
                ToolMessage("b", "B"),
                AssistantMessage("", (use("c"),)),
                ToolMessage("c", "C"),
            ],
        ),
        (
            [call("t", "a"), assistant("t", "meanwhile"), result("t", "a", "A")],
            [AssistantMessage("", (use("a"),)), ToolMessage("a", "A"), AssistantMessage("meanwhile")],
        ),
        (
            [call("t", "a"), stopped("t"), user("u"), started("u"), call("u", "a"), result("u", "a", "A")],
            [
                AssistantMessage("", (use("a"),)),
                ToolMessage("a", UNANSWERED),
                UserMessage("hi"),
                AssistantMessage("", (use("a"),)),
                ToolMessage("a", "A"),
            ],
        ),
        (
            [call("t", "a"), result("t", "a", None, "no such place")],
            [AssistantMessage("", (use("a"),)), ToolMessage("a", "Error: no such place")],
        ),
        (
            [call("t", "a"), result("t", "a", {"x": [1, None, "ü"]})],
            [AssistantMessage("", (use("a"),)), ToolMessage("a", '{"x":[1,null,"ü"]}')],
        ),
    ],
    ids=["one", "side by side", "in turn", "overlapping", "said meanwhile", "unanswered", "an error", "a value"],
)
def test_tools(events: Log, messages: list[ChatMessage]) -> None:
    """Every call is followed by the result it had, or one that says there was none."""
    assert shown(*BEGUN, *events) == [UserMessage("hi"), *messages]


@patiently
@given(logs())
def test_any_log(log: tuple[list[ev.AnyEvent], SessionState]) -> None:
    """Providers accept it, it has all that was said, and every result is where its call is."""
    events, _ = log
    messages = shown(*events)
    open_calls: list[str] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            assert message.call_id == open_calls.pop(0)
            continue
        assert open_calls == []
        if isinstance(message, AssistantMessage):
            assert message.content or message.tool_calls
            open_calls = [tool.call_id for tool in message.tool_calls]
    assert open_calls == []
    order = {event.turn: event.content for event in events if isinstance(event, ev.MessageUser)}
    begun = [order[event.turn] for event in events if isinstance(event, ev.TurnStarted)]
    assert [message.content for message in messages if isinstance(message, UserMessage)] == begun
    answers = [event.content for event in events if isinstance(event, ev.MessageAssistant)]
    assert "".join(m.content for m in messages if isinstance(m, AssistantMessage)) == "".join(answers)
    outputs = {event.call_id: event.output for event in events if isinstance(event, ev.ToolResult)}
    for message in messages:
        if isinstance(message, ToolMessage):
            output = outputs.get(message.call_id, UNANSWERED)
            text = output if isinstance(output, str) else msgspec.json.encode(output).decode()
            assert message.content == text


async def test_a_whole_log() -> None:
    """However long it is: page by page, between two seqs, only of some types."""
    store = MemoryStore()
    transcript = Transcript(store)
    odd = [event(seq, "x" * 3000, type="odd" if seq % 2 else "even") for seq in range(1, 1301)]
    await store.commit(Commit(session=1, events=odd))
    assert [row.seq for row in await transcript.everything(1, 0, 1300)] == list(range(1, 1301))
    assert [row.seq for row in await transcript.everything(1, 5, 9)] == [6, 7, 8, 9]
    assert [row.seq for row in await transcript.everything(1, 0, 1300, ["even"])] == list(range(2, 1301, 2))
    assert await transcript.everything(1, 1300, 1300) == []


async def test_the_conversation_up_to_a_turn() -> None:
    """What came after the turn began is not shown to its agent."""
    store = MemoryStore()
    log = numbered(born(), [user("t", "one"), started("t"), user("u", "two"), assistant("t"), started("u")])
    rows = [EventRow(e.seq, str(e.__struct_config__.tag), msgspec.json.encode(e)) for e in log]
    await store.commit(Commit(session=1, events=rows))
    transcript = Transcript(store)
    assert await transcript.conversation(1, 2) == (UserMessage("one"),)
    assert await transcript.conversation(1, 5) == (UserMessage("one"), AssistantMessage("ho"), UserMessage("two"))
    assert decode_event(rows[0].body) == log[0]


async def test_a_store_that_fails() -> None:
    """Is the error that clients get."""
    store = MemoryStore()
    transcript = Transcript(store)
    with store.failing(), pytest.raises(StoreUnavailable):
        await transcript.page(EventQuery(session=1, after=0, before=9, limit=9, max_bytes=9))
