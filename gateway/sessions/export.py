"""Sessions as files, in pieces that joined are the whole: JSON Lines with a checksum, or a page for people.

Nothing is kept between the pieces: the cursor carries the header and the head
at the start, so that later events do not change a file that is being read. A
reset or a delete meanwhile ends the export. The third format is in `chat_list`.
"""

import base64
import hashlib
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.storage.base import EventQuery, EventRow
from rpc_schema.errors import InvalidCursor
from rpc_schema.types import Policy, Seq, Session

from . import markdown
from .state import SessionState
from .transcript import PAGE_EVENTS, Transcript, decode_event

VERSION = 1
_OF_THE_MOMENT = ("timeRemainingMs", "isNearExpiration")


class Place(Struct, array_like=True):
    """Where an export is: in which log, after which seq, up to where.

    `index` counts the keys of the question. For a filter `waiting` are the
    sessions found and not done, the current one first, as tenant and key; `more`
    is the cursor of those not looked for yet. `given` counts the messages of a
    list, `skip` those of them that come from events after `after`.
    """

    epoch: str
    cleared_to: Seq
    after: Seq
    to: Seq
    header: bytes
    index: int = 0
    waiting: list[tuple[str, str]] = []
    more: str | None = None
    given: Seq = 0
    skip: Seq = 0


class Piece(Struct, frozen=True):
    """Some of one session's file, and the place after it; None with the last."""

    data: bytes
    next: Place | None


def header(session: Session, policy: Policy, metadata: dict[str, Any]) -> bytes:
    """The first line of a session's file; what only time changes is not in it."""
    summary = {name: value for name, value in msgspec.to_builtins(session).items() if name not in _OF_THE_MOMENT}
    line = {"type": "session", "version": VERSION, **summary, "policy": policy, "metadata": metadata}
    return msgspec.json.encode(line) + b"\n"


def check_log(state: SessionState, place: Place) -> None:
    """Refuse to go on in another log than the one the export began in.

    Raises:
        InvalidCursor: it was reset, or its key used again.
    """
    if (state.epoch, state.cleared_to) != (place.epoch, place.cleared_to):
        raise InvalidCursor(reason="the session was reset or replaced since the export began")


async def lines(transcript: Transcript, state: SessionState, place: Place, max_bytes: int) -> Piece:
    """The next lines: at least one, at most about `max_bytes`."""
    data, events, after = await _read(transcript, state, place, max_bytes)
    data += [row.body + b"\n" for row in events]
    if after is not None:
        return Piece(b"".join(data), after)
    return Piece(b"".join([*data, await _end_line(transcript, state, place)]), None)


async def page(transcript: Transcript, state: SessionState, place: Place, max_bytes: int, agent_name: str) -> Piece:
    """The next part of the page, of about so many bytes of the log."""
    data, events, after = await _read(transcript, state, place, max_bytes, markdown.SHOWN)
    data += [markdown.block(decode_event(row.body), agent_name).encode() for row in events]
    return Piece(b"".join(data), after)


async def _read(
    transcript: Transcript, state: SessionState, place: Place, max_bytes: int, types: Sequence[str] = ()
) -> tuple[list[bytes], list[EventRow], Place | None]:
    """The header where the file begins, the next events, and the place after them; None at the end."""
    data = [place.header] if place.after == 0 else []
    room = max(max_bytes - sum(map(len, data)), 1)
    query = EventQuery(
        session=state.id,
        after=place.after,
        before=place.to + 1,
        limit=10 * PAGE_EVENTS,
        max_bytes=room,
        types=types,
    )
    found = await transcript.page(query)
    return data, found.events, replace(place, after=found.events[-1].seq) if found.has_more else None


async def _end_line(transcript: Transcript, state: SessionState, place: Place) -> bytes:
    """The checksum over all lines before it, read anew: a hash cannot travel in a cursor."""
    digest, count = hashlib.sha256(place.header), 0
    async for row in transcript.each(state.id, 0, place.to):
        digest.update(row.body + b"\n")
        count += 1
    return msgspec.json.encode({"type": "end", "events": count, "sha256": digest.hexdigest()}) + b"\n"


def pack(place: Place) -> str:
    """The place as a short word for a cursor; what others wrote must not get to `unpack`."""
    return base64.b85encode(zlib.compress(msgspec.msgpack.encode(place))).decode()


def unpack(packed: str) -> Place:
    """The place that `pack` made short."""
    return msgspec.msgpack.decode(zlib.decompress(base64.b85decode(packed)), type=Place)
