"""A session as a Chat Completions message list, in pieces that joined are the whole.

What an agent is shown and what is exported is the same list: a user message
stands where its turn began, and every tool call is followed by its result.
"""

from collections.abc import AsyncIterator, Sequence

import msgspec
from msgspec.structs import replace

from gateway.agents.chat_completions import message_of
from gateway.storage.base import EventQuery
from rpc_schema import events as ev

from .export import Piece, Place
from .state import SessionState
from .transcript import PAGE_BYTES, SEEN_BY_AGENTS, Transcript, chat_messages, decode_event

LIST = b"[\n"
LINE = b'{"messages":['
_REST = {LIST: (b",\n", b"\n]\n"), LINE: (b",", b"]}\n")}
_LOOKED_BACK = 100


async def piece(transcript: Transcript, state: SessionState, place: Place, max_bytes: int) -> Piece:
    """The next messages: at least one, at most about `max_bytes`; the place's header is LIST or LINE."""
    between, end = _REST[place.header]
    found, size, given, skip = [] if place.given else [place.header], 0, place.given, place.skip
    async for before, events in _turns(transcript, state, place.after, place.to):
        for number, message in enumerate(chat_messages(events)):
            if number < skip:
                continue
            if size >= max_bytes:
                return Piece(b"".join(found), replace(place, after=before, given=given, skip=number))
            found.append((between if given else b"") + msgspec.json.encode(message_of(message)))
            size, given = size + len(found[-1]), given + 1
        skip = 0
    return Piece(b"".join([*found, end]), None)


async def _turns(
    transcript: Transcript, state: SessionState, after: int, to: int
) -> AsyncIterator[tuple[int, Sequence[ev.AnyEvent]]]:
    """The turns that begin after that seq, in order, each with the seq before it and with its own message."""
    waiting: dict[str | None, ev.MessageUser] = {}
    turn: list[ev.AnyEvent] = []
    before = after
    async for row in transcript.each(state.id, after, to, SEEN_BY_AGENTS):
        event = decode_event(row.body)
        match event:
            case ev.MessageUser():
                waiting[event.turn] = event
            case ev.TurnStarted():
                if turn:
                    yield before, turn
                before = event.seq - 1
                message = waiting.pop(event.turn, None)
                if message is None and after > 0:
                    message = await _message_of(transcript, state, event.turn, after)
                turn = [message, event] if message is not None else [event]
            case _:
                turn.append(event)
    yield before, turn


async def _message_of(transcript: Transcript, state: SessionState, turn: str | None, to: int) -> ev.MessageUser | None:
    """The message of a turn that waited: it stands somewhere before."""
    before: int | None = to + 1
    while before is not None:
        page = await transcript.page(
            EventQuery(
                session=state.id,
                after=0,
                before=before,
                limit=_LOOKED_BACK,
                max_bytes=PAGE_BYTES,
                types=("message.user",),
                newest=True,
            )
        )
        for row in reversed(page.events):
            event = decode_event(row.body)
            if isinstance(event, ev.MessageUser) and event.turn == turn:
                return event
        before = page.events[0].seq if page.has_more else None
    return None
