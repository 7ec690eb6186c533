"""A message list for a model: what an agent is shown, in pieces of any size."""

import asyncio
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.agents.chat_completions import message_of
from gateway.sessions import chat_list, export
from gateway.sessions.export import Place
from gateway.sessions.journal import row_of
from gateway.sessions.state import SessionState
from gateway.sessions.transcript import Transcript, chat_messages
from gateway.storage.base import Commit
from rpc_schema import events as ev
from tests.fakes import MemoryStore
from tests.unit.sessions.logs import assistant, born, created, fold, logs, numbered, patiently, started, user


async def pieces(events: list[ev.AnyEvent], state: SessionState, header: bytes, max_bytes: int) -> list[bytes]:
    store = MemoryStore()
    await store.commit(Commit(session=state.id, events=[row_of(e) for e in events if e.seq > state.cleared_to]))
    place: Place | None = Place(state.epoch, state.cleared_to, 0, state.head, header)
    found = []
    while place is not None:
        piece = await chat_list.piece(Transcript(store), state, place, max_bytes)
        found.append(piece.data)
        place = export.unpack(export.pack(piece.next)) if piece.next is not None else None
    return found


@patiently
@given(logs(), st.integers(1, 400), st.sampled_from([chat_list.LIST, chat_list.LINE]))
def test_pieces_joined_are_the_whole(
    log: tuple[list[ev.AnyEvent], SessionState], max_bytes: int, header: bytes
) -> None:
    """Valid JSON of what an agent is shown, whole or cut small; every call has its result right behind it."""
    events, state = log
    small = asyncio.run(pieces(events, state, header, max_bytes))
    whole = b"".join(small)
    assert [whole] == asyncio.run(pieces(events, state, header, 2**30))
    said: Any = json.loads(whole)
    messages = said if header == chat_list.LIST else said["messages"]
    assert header == chat_list.LIST or whole.count(b"\n") == 1
    there = [event for event in events if event.seq > state.cleared_to]
    assert messages == [json.loads(json.dumps(message_of(message))) for message in chat_messages(there)]
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] == waiting.pop(0)
        else:
            assert waiting == []
            waiting = [call["id"] for call in message.get("tool_calls", ())]
    assert waiting == []


async def test_a_message_that_waited_long() -> None:
    """It stands where its turn began, also when that is in another piece than it is itself."""
    waiting = [
        event for n in range(250) for event in (user(f"w{n}", f"m{n}"), ev.TurnQueued(turn=f"w{n}", position=n + 1))
    ]
    turns = [
        event
        for n in range(250)
        for event in (started(f"w{n}"), assistant(f"w{n}", f"a{n}"), ev.TurnCompleted(turn=f"w{n}"))
    ]
    first = [created(), user("t"), started("t")]
    events = numbered(born(), [*first, *waiting, assistant("t"), ev.TurnCompleted(turn="t"), *turns])
    messages = json.loads(b"".join(await pieces(events, fold(born(), *events), chat_list.LIST, 1)))
    assert [message["content"] for message in messages] == ["hi", "ho"] + [f"{k}{n}" for n in range(250) for k in "ma"]


async def test_nothing_was_said() -> None:
    """An empty list is a list."""
    state = fold(born(), created())
    assert await pieces(numbered(born(), [created()]), state, chat_list.LIST, 9) == [b"[\n\n]\n"]
    assert await pieces(numbered(born(), [created()]), state, chat_list.LINE, 9) == [b'{"messages":[]}\n']
