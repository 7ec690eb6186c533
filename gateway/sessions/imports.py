"""A session's file read back: every line checked before anything is made of it. Pure.

The file is the JSON Lines of `export`. Its events go into the log byte for
byte, so a file that is exported anew has the same event lines.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NoReturn

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import asdict, replace

from gateway.clock import parse_instant
from gateway.ids import new_id
from gateway.rpc.frames import is_deeper, reason_of, unreadable
from gateway.storage.base import EventRow
from rpc_schema import errors
from rpc_schema import events as ev
from rpc_schema.types import Labels, Source, Title, TitleSource, Word

from . import keys
from .export import VERSION
from .state import Details, SessionState
from .titles import LONGEST

DEEPEST = 128
"""Levels of a line: more than a message to the gateway may have, far from what a parser gives up at."""
_MOST = 2**53
_MOST_NUMBERED = 100
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_MESSAGES = ("message.user", "message.assistant", "message.system")

Count = Annotated[int, Meta(ge=0, le=_MOST)]


class Header(Struct, rename="camel", kw_only=True):
    """What is taken from the first line; the rest of it (state, deadlines, model, policy) was the old session's."""

    key: str
    agent: Word
    channel: Word
    source: Source
    project: Word | None = None
    pinned: bool
    title: Annotated[str, Meta(min_length=1, max_length=LONGEST + 1, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")] | None = None
    title_source: TitleSource | None = None
    labels: Labels
    metadata: dict[str, Any]
    message_count: Count
    input_tokens: Count
    output_tokens: Count
    cache_read_tokens: Count
    cache_write_tokens: Count
    tool_calls: Count
    compactions: Count
    resets: Count
    cost_usd: Annotated[float, Meta(ge=0, le=_MOST)] | None = None
    renewal_count: Count
    head: Count


class _Kind(Struct):
    type: str
    version: Any = None


class _End(Struct):
    type: Literal["end"]
    events: int
    sha256: str


_COUNTERS = (
    "message_count", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens",
    "cost_usd", "tool_calls", "compactions", "resets", "renewal_count",
)  # fmt: skip


def header(data: str) -> Header:
    """The first line.

    Raises:
        InvalidParams: it is not that of a session's file; the reason names the line, here and everywhere.
    """
    if data.startswith("\ufeff"):
        _refuse(1, "it begins with a byte order mark; a file is plain UTF-8")
    first, newline, _ = data.partition("\n")
    if not newline:
        _refuse(1, "it is empty" if not first else "the file ends here, without an LF")
    _check_text(1, first)
    kind = _decode(1, first, _Kind)
    if kind.type != "session":
        _refuse(1, f"a session's file begins with a line of the type session, not {kind.type[:40]!r}")
    if kind.version != VERSION or isinstance(kind.version, bool):
        _refuse(1, f"it is of another version than {VERSION}, the one that this gateway reads")
    found: Header = _decode(1, first, Header)
    _check_header(found)
    return found


def events(data: str, head: Header) -> list[EventRow]:
    """The events of a file whose first line is `head`; the whole file has been checked then.

    Raises:
        InvalidParams: a line is wrong, missing or too many.
    """
    *lines, rest = data.split("\n")
    if rest:
        _refuse(len(lines) + 1, "the file ends here, without an LF")
    rows: list[EventRow] = []
    for number, line in enumerate(lines[1:-1], start=2):
        _check_text(number, line)
        kind: str = _decode(number, line, _Kind).type
        if kind in ("session", "end"):
            _refuse_second(number, kind, lines)
        rows.append(_row(number, line, kind, rows[-1].seq if rows else 0))
    _check_end(lines, rows)
    if not rows or rows[-1].seq != head.head:
        last = rows[-1].seq if rows else 0
        _refuse(1, f"head is {head.head}, but the last event has the seq {last}")
    if (messages := sum(row.type in _MESSAGES for row in rows)) != head.message_count:
        _refuse(1, f"messageCount is {head.message_count}, but there are {messages} messages")
    return rows


def names(key: str, *, rename: bool, now_ms: int) -> Iterator[str]:
    """The keys to try, until one is free."""
    yield key
    if rename:
        for number in range(2, _MOST_NUMBERED):
            yield _ending(key, f"-{number}")
        yield _ending(key, f"-{new_id(now_ms)}")


def _ending(key: str, end: str) -> str:
    return key.encode()[: keys.MAX_BYTES - len(end)].decode(errors="ignore") + end


def details(head: Header) -> Details:
    """The words of the session. Its overrides of the policy are not there: the agent's rules hold."""
    return Details(title=head.title, title_source=head.title_source, labels=head.labels, metadata=head.metadata)


def settle(state: SessionState, head: Header, rows: list[EventRow]) -> SessionState:
    """The state of a new session once it has this log and these counters; no turn runs in it."""
    counters = {name: value for name, value in asdict(head).items() if name in _COUNTERS}
    return replace(state, head=rows[-1].seq, cleared_to=rows[0].seq - 1, **counters)


def _check_header(head: Header) -> None:
    try:
        keys.check(head.key)
    except errors.InvalidKey as error:
        _refuse(1, f"key: {error.reason}")
    if (head.title is None) != (head.title_source is None):
        _refuse(1, "title and titleSource go together")
    if head.title_source == "user":
        try:
            msgspec.convert(head.title, Title)
        except msgspec.ValidationError as error:
            _refuse(1, f"title: {reason_of(error)[1]}")


def _refuse_second(number: int, kind: str, lines: list[str]) -> NoReturn:
    """Say where the second session of a file begins."""
    if kind == "end":
        number += 1
        _check_text(number, lines[number - 1])
        kind = _decode(number, lines[number - 1], _Kind).type
    is_session = kind == "session"
    _refuse(number, "a second session begins here; import them one by one" if is_session else "it follows the end line")


def _row(number: int, line: str, kind: str, before: int) -> EventRow:
    """One event, in its place behind the one with the seq `before`; the first has 0 before it."""
    event: ev.AnyEvent = _decode(number, line, ev.AnyEvent)
    _check_place(number, event, before)
    _check_values(number, event)
    return EventRow(event.seq, kind, line.encode())


def _check_place(number: int, event: ev.AnyEvent, before: int) -> None:
    """A log begins with the session's beginning or with what a reset left of it, and has no gap."""
    match event:
        case ev.SessionCreated() if event.seq == 1 and before == 0:
            pass
        case ev.Reset() if 1 < event.seq <= _MOST // 2 and event.cleared_to == event.seq - 1 and before == 0:
            pass
        case ev.SessionCreated() | ev.Reset():
            _refuse(number, f"{event.__struct_config__.tag} with the seq {event.seq} cannot stand here")
        case _ if before == 0:
            _refuse(number, "a log begins with session.created or reset; the lines before this one are missing")
        case _ if event.seq != before + 1:
            _refuse(number, f"the seq is {event.seq}, but {before + 1} comes next")
        case _:
            pass


def _check_values(number: int, event: ev.AnyEvent) -> None:
    """What a type alone does not say: a time that is one, counts that every client can read."""
    if not _is_instant(event.at):
        _refuse(number, "at is no instant like 2026-11-20T09:30:00.123Z")
    members = asdict(event)
    if isinstance(event, ev.GenerationEnd):
        members |= asdict(event.usage)
    for name, value in members.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 <= value <= _MOST:
            _refuse(number, f"{name} is {value:.3g}; it may be 0 to 2^53")


def _is_instant(text: str) -> bool:
    try:
        return _INSTANT.fullmatch(text) is not None and parse_instant(text) is not None
    except ValueError:
        return False


def _check_end(lines: list[str], rows: list[EventRow]) -> None:
    """The last line counts and seals what is before it."""
    number = len(lines)
    _check_text(number, lines[-1])
    if number == 1 or _decode(number, lines[-1], _Kind).type != "end":
        _refuse(number + 1, "the end line is missing: the file was cut")
    end = _decode(number, lines[-1], _End)
    if end.events != len(rows):
        _refuse(number, f"it counts {end.events} events, but there are {len(rows)}")
    sealed = "".join(f"{line}\n" for line in lines[:-1]).encode()
    if hashlib.sha256(sealed).hexdigest() != end.sha256:
        _refuse(number, "the checksum is not that of the lines before: the file was changed")


def _check_text(number: int, line: str) -> None:
    if line.endswith("\r"):
        _refuse(number, "it ends in CR LF; lines end in LF alone")
    if not line:
        _refuse(number, "it is empty")
    if is_deeper(line, DEEPEST):
        _refuse(number, f"it is nested deeper than {DEEPEST} levels")


def _decode(number: int, line: str, type: Any) -> Any:
    try:
        return _decoders[type].decode(line)
    except msgspec.ValidationError as error:
        path, reason = reason_of(error)
        _refuse(number, f"{reason} at {path}")
    except msgspec.DecodeError as error:
        _refuse(number, unreadable(line, error).reason)


def _refuse(number: int, reason: str) -> NoReturn:
    raise errors.InvalidParams(path="$.data", reason=f"line {number}: {reason}")


_decoders: dict[Any, msgspec.json.Decoder[Any]] = {
    type: msgspec.json.Decoder(type) for type in (_Kind, Header, _End, ev.AnyEvent)
}
