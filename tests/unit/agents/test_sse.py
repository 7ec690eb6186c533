"""Bytes in, payloads out."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.agents.sse import EventStream, EventTooLong

LINES = st.sampled_from(
    [
        b"data: one",
        b"data:two",
        b"data:  padded",
        b"data",
        b"data:",
        b"data: a:b",
        "data: žluťoučký 🐎".encode(),
        b": a comment",
        b"event: message",
        b"id: 7",
        b"retry: 10",
        b"database: no",
        b" data: no",
        b"nonsense",
        b"data: \xff\xfe",
        b"",
        b"",
    ]
)


def read(data: bytes, cuts: list[int]) -> list[bytes]:
    events = EventStream()
    edges = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    return [payload for piece in pieces for payload in events.feed(piece)] + events.end()


def reference(data: bytes) -> list[bytes]:
    """The same by the letter of the standard, over the whole stream."""
    lines = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").split(b"\n")
    payloads, held = [], []
    for line in [*lines, b""]:
        if not line:
            payloads += [b"\n".join(held)]
            held = []
        field, _, value = line.partition(b":")
        if field == b"data":
            held.append(value.removeprefix(b" "))
    return [payload for payload in payloads if payload]


@given(
    lines=st.lists(LINES, max_size=20),
    newline=st.sampled_from([b"\n", b"\r\n"]),
    bom=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    ends=st.booleans(),
    cuts=st.lists(st.integers(1, 300), max_size=40),
)
def test_any_cut(lines: list[bytes], newline: bytes, bom: bytes, ends: bool, cuts: list[int]) -> None:
    """However the bytes arrive, the payloads are those of the standard."""
    data = bom + newline.join(lines) + (newline * 2 if ends else b"")
    assert read(data, cuts) == reference(data)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_every_byte_a_cut(size: int) -> None:
    """A cut inside the BOM, a CRLF or a character changes nothing."""
    data = b"\xef\xbb\xbfdata: " + "ě🐎".encode() + b"\r\ndata: b\r\n\r\n: hm\r\n\r\ndata: [DONE]\r\n\r\n"
    assert read(data, list(range(size, len(data), size))) == ["ě🐎\nb".encode(), b"[DONE]"]


def test_bom_counts_once() -> None:
    """A BOM later on is part of its line."""
    assert read(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", []) == [b"a"]


def test_payloads_come_with_their_blank_line() -> None:
    """Nothing waits for the next event."""
    events = EventStream()
    assert events.feed(b"data: a\n") == []
    assert events.feed(b"\ndata: b") == [b"a"]
    assert events.feed(b"\n\n") == [b"b"]
    assert events.end() == []


def test_last_event_without_blank_line() -> None:
    """What the stream left open is still to be had, once."""
    events = EventStream()
    assert events.feed(b"data: [DONE]") == []
    assert events.end() == [b"[DONE]"]
    assert events.end() == []


@pytest.mark.parametrize(
    "data",
    [b"data: 0123456789ab\n\n", b"data: 0123456789ab", b": 0123456789abcdef\n", b"data: 01234\ndata: 56789\n\n"],
    ids=["line", "open line", "comment", "many lines"],
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_event_over_the_bound(data: bytes, size: int) -> None:
    """It is refused before it is held, in whatever pieces it comes."""
    events = EventStream(max_event_bytes=16)
    with pytest.raises(EventTooLong):
        for start in range(0, len(data), size):
            events.feed(data[start : start + size])


def test_bound_is_for_each_event() -> None:
    """A long stream of short events is no long event."""
    events = EventStream(max_event_bytes=16)
    data = b"data: 0123456789\n\n" * 100
    assert sum(len(events.feed(data[start : start + 7])) for start in range(0, len(data), 7)) == 100
