"""Files read back: what was exported comes back as it was, and nothing else comes in."""

import asyncio
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.sessions import export, imports
from gateway.sessions.export import Place
from gateway.sessions.journal import row_of
from gateway.sessions.policy import effective
from gateway.sessions.state import Details, SessionState
from gateway.sessions.summary import summary
from gateway.sessions.transcript import Transcript
from gateway.settings import AgentPolicySettings, PolicySettings
from gateway.storage.base import Commit, EventRow
from rpc_schema import events as ev
from rpc_schema.errors import InvalidParams
from tests.fakes import BEGINNING_MS, MemoryStore
from tests.unit.sessions.logs import born, logs, patiently

POLICY = effective(PolicySettings(), AgentPolicySettings()).policy
AT = "2026-11-20T09:30:00.123Z"
CREATED = {
    "type": "session.created",
    "seq": 1,
    "at": AT,
    "agent": "echo",
    "model": "e",
    "source": "manual",
    "channel": "c",
}
HEADER: dict[str, Any] = {
    "type": "session",
    "version": 1,
    "key": "k",
    "agent": "echo",
    "channel": "api",
    "source": "manual",
    "pinned": False,
    "labels": {},
    "metadata": {},
    "messageCount": 0,
    "inputTokens": 0,
    "outputTokens": 0,
    "cacheReadTokens": 0,
    "cacheWriteTokens": 0,
    "toolCalls": 0,
    "compactions": 0,
    "resets": 0,
    "renewalCount": 0,
    "head": 1,
}


def line(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value) + "\n"


def file(*events: Any, end: dict[str, Any] | None = None, **header: Any) -> str:
    """A file with these events (values, or lines as they are) and a true end line, but for what is asked for."""
    heads = [event["seq"] for event in events if isinstance(event, dict) and isinstance(event.get("seq"), int)]
    messages = sum(isinstance(event, dict) and str(event.get("type")).startswith("message.") for event in events)
    first = HEADER | {"head": heads[-1] if heads else 0, "messageCount": messages} | header
    lines = "".join(map(line, [{name: value for name, value in first.items() if value is not ...}, *events]))
    true = {"type": "end", "events": len(events), "sha256": hashlib.sha256(lines.encode()).hexdigest()}
    return lines + line(true | (end or {}))


def user(seq: int, **fields: Any) -> dict[str, Any]:
    return {"type": "message.user", "seq": seq, "at": AT, "turn": "t", "author": "ann", "content": "hi"} | fields


def read(data: str) -> tuple[imports.Header, list[EventRow]]:
    header = imports.header(data)
    return header, imports.events(data, header)


def why_not(data: str) -> str:
    """The reason, without the error's other words."""
    with pytest.raises(InvalidParams) as refused:
        read(data)
    assert refused.value.path == "$.data"
    return refused.value.reason


def exported(state: SessionState, rows: list[EventRow]) -> str:
    """The whole file of a session that was stored."""
    store = MemoryStore()
    store._apply(Commit(session=state.id, events=rows))
    header = export.header(summary(state, POLICY, "Echo", BEGINNING_MS), POLICY, state.details.metadata)
    place = Place(state.epoch, state.cleared_to, 0, state.head, header)
    return asyncio.run(export.lines(Transcript(store), state, place, 2**30)).data.decode()


KEPT = ("title", "titleSource", "labels", "metadata", "messageCount", "inputTokens", "outputTokens", "cacheReadTokens",
        "cacheWriteTokens", "costUsd", "toolCalls", "compactions", "resets", "renewalCount", "head", "key")  # fmt: skip


@patiently
@given(logs(), st.dictionaries(st.text(min_size=1, max_size=5).filter(str.isalnum), st.text(max_size=5), max_size=2))
def test_there_and_back(log: tuple[list[ev.AnyEvent], SessionState], metadata: dict[str, str]) -> None:
    """Export, import, export: the same event lines byte for byte, the same words and counters; no turn runs."""
    events, state = log
    title = state.details.title and ("".join(filter(str.isprintable, state.details.title)) or "x")
    state = replace(state, details=replace(state.details, title=title, metadata=metadata), renewal_count=3)
    rows = [row_of(event) for event in events if event.seq > state.cleared_to]
    first = exported(state, rows)
    header, read_rows = read(first)
    assert read_rows == rows
    back = imports.settle(born(id=2, key=header.key, details=imports.details(header)), header, read_rows)
    assert (back.turn, back.queue, back.lifecycle, back.cleared_to) == (None, (), "live", state.cleared_to)
    second = exported(back, read_rows)
    assert second.split("\n")[1:-2] == first.split("\n")[1:-2]
    one, two = (json.loads(data.partition("\n")[0]) for data in (first, second))
    assert {name: one.get(name) for name in KEPT} == {name: two.get(name) for name in KEPT}


def test_what_a_reset_left() -> None:
    """A log that begins later keeps its numbers."""
    reset = {"type": "reset", "seq": 8, "at": AT, "messagesCleared": 2, "clearedTo": 7}
    header, rows = read(file(reset, user(9), resets=1))
    state = imports.settle(born(), header, rows)
    assert (state.head, state.cleared_to, state.resets, state.message_count) == (9, 7, 1, 1)


def test_lines_stay_as_they_are() -> None:
    """Members that this gateway does not know, their order and their white space go into the log."""
    odd = json.dumps({"content": "ü", "later": [1], **user(2)}, ensure_ascii=False, separators=(" , ", " : "))
    _, rows = read(file(CREATED, odd + "\n", head=2, messageCount=1))
    assert rows[1] == EventRow(2, "message.user", odd.encode())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "line 1: it is empty"),
        ("\n", "line 1: it is empty"),
        ("\ufeff" + file(CREATED), "line 1: it begins with a byte order mark; a file is plain UTF-8"),
        (file(CREATED).replace("\n", "\r\n"), "line 1: it ends in CR LF; lines end in LF alone"),
        (file(CREATED)[:-1], "line 3: the file ends here, without an LF"),
        (file(CREATED)[:300], "line 1: the file ends here, without an LF"),
        (file(CREATED) + "\n", "line 4: it is empty"),
        (file(CREATED) + file(CREATED), "line 4: a second session begins here; import them one by one"),
        (file(CREATED) + line(user(2)) + "{}\n", "line 4: it follows the end line"),
        (line(HEADER) + line(HEADER) + line(CREATED), "line 2: a second session begins here; import them one by one"),
        ("".join(file(CREATED, user(2)).splitlines(keepends=True)[:-1]), "line 4: the end line is missing"),
        (line(HEADER), "line 2: the end line is missing"),
        (file(CREATED, end={"events": 2}), "line 3: it counts 2 events, but there are 1"),
        (file(CREATED, end={"sha256": "0"}), "line 3: the checksum is not that of the lines before"),
        (file(CREATED, user(2)).replace('"hi"', '"ho"'), "line 4: the checksum is not that of the lines before"),
        (file(CREATED, end={"events": "1"}), "line 3: Expected `int`, got `str` at $.events"),
        (file(head=0), "line 1: head is 0, but the last event has the seq 0"),
        (file(CREATED, head=2), "line 1: head is 2, but the last event has the seq 1"),
        (file(CREATED, messageCount=1), "line 1: messageCount is 1, but there are 0 messages"),
        ("[1]\n", "line 1: Expected `object`, got `array`"),
        ("hello\n", "line 1: JSON is malformed"),
        ("[" * 100_000 + "\n", "line 1: it is nested deeper than 128 levels"),
        (file(CREATED, type="export"), "line 1: a session's file begins with a line of the type session"),
        (file(CREATED, type=...), "line 1: Object missing required field `type`"),
        (file(CREATED, version=2), "line 1: it is of another version than 1"),
        (file(CREATED, version="1"), "line 1: it is of another version than 1"),
        (file(CREATED, version=True), "line 1: it is of another version than 1"),
        (file(CREATED, key="a b"), "line 1: key: character 2 is a space"),
        (file(CREATED, key="x" * 257), "line 1: key: it has 257 bytes"),
        (file(CREATED, key=""), "line 1: key: it is empty"),
        (file(CREATED, title="x" * 1_000_000, titleSource="user"), "line 1: Expected `str` of length"),
        (file(CREATED, title="x" * 201, titleSource="user"), "line 1: title: Expected `str`"),
        (file(CREATED, title="\x1b[31m", titleSource="ai"), "line 1: Expected one line without control characters"),
        (file(CREATED, title="x"), "line 1: title and titleSource go together"),
        (file(CREATED, title="x", titleSource="me"), "line 1: Invalid enum value 'me' at $.titleSource"),
        (file(CREATED, labels={"a": 1}), "line 1: Expected `str`, got `int`"),
        (file(CREATED, metadata=[]), "line 1: Expected `object`, got `array` at $.metadata"),
        (file(CREATED, inputTokens=-1), "line 1: Expected `int` >= 0 at $.inputTokens"),
        (file(CREATED, inputTokens=2**60), "line 1: Expected `int` <= 9007199254740992"),
        (file(CREATED, inputTokens=1.5), "line 1: Expected `int`, got `float`"),
        (file(CREATED, costUsd=float("nan")), "line 1: JSON is malformed"),
        (file(CREATED, costUsd=-0.5), "line 1: Expected `float` >= 0"),
        (file(CREATED).replace('"head": 1', '"head": 1e400'), "line 1: Number out of range"),
        (file(CREATED, agent=...), "line 1: Object missing required field `agent` at $.agent"),
        (file(user(1)), "line 2: a log begins with session.created or reset"),
        (file(user(7), user(8)), "line 2: a log begins with session.created or reset"),
        (file(CREATED, user(3)), "line 3: the seq is 3, but 2 comes next"),
        (file(CREATED, user(2), user(2)), "line 4: the seq is 2, but 3 comes next"),
        (file(CREATED, user(2**70), head=2), "line 3: the seq is 1180591620717411303424, but 2 comes next"),
        (file(CREATED, CREATED | {"seq": 2}), "line 3: session.created with the seq 2 cannot stand here"),
        (file(CREATED | {"seq": 2}), "line 2: session.created with the seq 2 cannot stand here"),
        (file({"type": "reset", "seq": 8, "at": AT, "messagesCleared": 2, "clearedTo": 3}), "line 2: reset with"),
        (file({"type": "reset", "seq": 2**53, "at": AT, "messagesCleared": 2, "clearedTo": 2**53 - 1}), "line 2"),
        (file(CREATED, {"type": "reset", "seq": 2, "at": AT, "messagesCleared": 0, "clearedTo": 1}), "line 3: reset"),
        (file(CREATED, user(2, type="message.alien")), "line 3: Invalid value 'message.alien' at $.type"),
        (file(CREATED, user(2, content=7)), "line 3: Expected `str`, got `int` at $.content"),
        (file(CREATED, user(2, at="yesterday")), "line 3: at is no instant like"),
        (file(CREATED, user(2, at="2026-13-20T09:30:00.123Z")), "line 3: at is no instant like"),
        (file(CREATED, "{\n", head=2), "line 3: Input data was truncated"),
        (file(CREATED, '{"type":"message.user","seq":2,"content":"\\ud800"}\n'), "line 3: a string has half"),
        (file(CREATED, '{"type":"message.user","seq":2,"metadata":{"x":NaN}}\n'), "line 3: JSON is malformed"),
        (file(CREATED, '{"type":"message.user","x":' + "[" * 3000 + "]" * 3000 + "}\n"), "line 3: it is nested"),
        (file(CREATED, {"type": "turn.queued", "seq": 2, "at": AT, "position": 2**60}), "line 3: position is 1.15e+18"),
        (file(CREATED, {"type": "turn.queued", "seq": 2, "at": AT, "position": -1}), "line 3: position is -1"),
        ("x\n" * 100_000, "line 1: JSON is malformed"),
        (file(CREATED, *["x\n"] * 100_000), "line 3: JSON is malformed"),
    ],
)  # fmt: skip
def test_what_is_no_file(data: str, reason: str) -> None:
    """Cut, edited, foreign, hostile: each is refused by its line."""
    assert why_not(data).startswith(reason)


@patiently
@given(st.data())
def test_any_cut(data: st.DataObject) -> None:
    """A file that lacks anything at its end is refused."""
    whole = file(CREATED, user(2), user(3))
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert why_not(whole[:cut]).startswith("line ")


@patiently
@given(st.data())
def test_any_line_left_out(data: st.DataObject) -> None:
    """So is one that lacks a line."""
    lines = file(CREATED, user(2), user(3), user(4)).splitlines(keepends=True)
    del lines[data.draw(st.integers(0, len(lines) - 1))]
    assert why_not("".join(lines)).startswith("line ")


def test_names() -> None:
    """A number behind the key, at last a word nobody has; never too long, never cut inside a character."""
    assert list(imports.names("k", rename=False, now_ms=0)) == ["k"]
    found = list(imports.names("k", rename=True, now_ms=0))
    assert found[:3] == ["k", "k-2", "k-3"]
    assert len(set(found)) == len(found) == 100
    assert all(len(name.encode()) <= 256 for name in imports.names("ü" * 128, rename=True, now_ms=0))


def test_words() -> None:
    """Title, labels and metadata are the session's; an override of the policy is not taken over."""
    header, _ = read(
        file(CREATED, title="T", titleSource="user", labels={"a": "b"}, metadata={"m": 1}, policy={"x": 1})
    )
    assert imports.details(header) == Details(title="T", title_source="user", labels={"a": "b"}, metadata={"m": 1})
