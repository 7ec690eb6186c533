"""Sessions as JSON Lines: header, events, checksum; in pieces that joined are the whole.

Nothing is kept between the pieces: the cursor carries the header line and the
head at the start, so that later events do not change a file that is being
read. A reset or a delete meanwhile ends the export.
"""

import base64
import binascii
import hashlib
import zlib
from collections.abc import AsyncIterator, Sequence

import msgspec
from msgspec import Struct

from gateway.storage.base import EventQuery
from rpc_schema.errors import InvalidCursor
from rpc_schema.types import Seq

from .state import SessionState
from .transcript import PAGE_BYTES, PAGE_EVENTS, Transcript

VERSION = 1
_CURSOR_MOST = 2 * 1024 * 1024  # a header holds at most the metadata, 1 MiB by its setting


class Place(Struct, array_like=True):
    """Where an export is: which of the keys, in which log, after which seq, up to where."""

    keys: str
    index: int
    epoch: str
    cleared_to: Seq
    after: Seq
    to: Seq
    header: bytes


class Piece(Struct, frozen=True):
    """Some lines of one session's file; `after` is the last seq in them, `is_last` with the end line."""

    data: bytes
    after: int
    is_last: bool


def header(session: dict[str, object]) -> bytes:
    """The first line of a session's file."""
    return msgspec.json.encode({"type": "session", "version": VERSION, **session}) + b"\n"


def name_keys(keys: Sequence[str]) -> str:
    """Names a list of keys, so that a cursor is not used with another."""
    return hashlib.blake2b(msgspec.json.encode(keys), digest_size=9).hexdigest()


async def piece(transcript: Transcript, state: SessionState, place: Place, max_bytes: int) -> Piece:
    """The next lines: at least one, at most about `max_bytes`."""
    if (state.epoch, state.cleared_to) != (place.epoch, place.cleared_to):
        raise InvalidCursor(reason="the session was reset or replaced since the export began")
    lines = [place.header] if place.after == 0 else []
    room = max_bytes - sum(map(len, lines))
    after, is_last = place.after, False
    page = await transcript.page(
        EventQuery(session=state.id, after=after, before=place.to + 1, limit=10 * PAGE_EVENTS, max_bytes=max(room, 1))
    )
    lines += [row.body + b"\n" for row in page.events]
    if page.events:
        after = page.events[-1].seq
    if not page.has_more:
        lines.append(await _end_line(transcript, state, place))
        is_last = True
    return Piece(b"".join(lines), after, is_last)


async def _end_line(transcript: Transcript, state: SessionState, place: Place) -> bytes:
    """The checksum over all lines before it, read anew: a hash cannot travel in a cursor."""
    digest, count = hashlib.sha256(place.header), 0
    async for body in _bodies(transcript, state.id, place.to):
        digest.update(body + b"\n")
        count += 1
    return msgspec.json.encode({"type": "end", "events": count, "sha256": digest.hexdigest()}) + b"\n"


async def _bodies(transcript: Transcript, session: int, to: int) -> AsyncIterator[bytes]:
    after, has_more = 0, True
    while has_more:
        page = await transcript.page(
            EventQuery(session=session, after=after, before=to + 1, limit=PAGE_EVENTS, max_bytes=PAGE_BYTES)
        )
        for row in page.events:
            yield row.body
            after = row.seq
        has_more = page.has_more


def make_cursor(place: Place) -> str:
    """The place as an opaque word."""
    return base64.urlsafe_b64encode(zlib.compress(msgspec.msgpack.encode(place))).decode()


def open_cursor(cursor: str, keys: Sequence[str]) -> Place:
    """The place that `make_cursor` packed.

    Raises:
        InvalidCursor: it is not a cursor of an export of these keys.
    """
    unpacker = zlib.decompressobj()
    try:
        place = msgspec.msgpack.decode(unpacker.decompress(base64.urlsafe_b64decode(cursor), _CURSOR_MOST), type=Place)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise InvalidCursor(reason="it is not a cursor of this gateway") from error
    if not unpacker.eof:
        raise InvalidCursor(reason="a part of it is missing")
    if place.keys != name_keys(keys) or not 0 <= place.index < len(keys):
        raise InvalidCursor(reason="it belongs to an export of other keys")
    return place
