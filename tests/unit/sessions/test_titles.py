"""A title from a first message: one line, cut where people would cut it."""

import regex
from hypothesis import given
from hypothesis import strategies as st
from pytest import mark

from gateway.sessions.titles import LENGTH, LONGEST, from_message
from tests.unit.sessions.logs import patiently

FAMILY = "👩‍👩‍👧‍👦"
FLAG = "🇵🇹"
ENGLAND = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
ACCENT = "e\u0301"
ZALGO = "z" + "\u0300\u0316\u0489" * 10
WAVE = "👋🏽"
HANGUL = "\u1112\u1161\u11ab"
DEVANAGARI = "क्षि"


def graphemes(text: str) -> list[str]:
    return regex.findall(r"\X", text)


@mark.parametrize(
    ("message", "title"),
    [
        ("hello", "hello"),
        ("  hello\n\n  there\tyou ", "hello there you"),
        ("a\u00a0b\u2003c\u2028d\x0be\x85f", "a b c d e f"),
        ("bell\x07 null\x00 escape\x1b[31m", "bell null escape [31m"),
        ("half \ud83d pair", "half pair"),
        ("", None),
        (" \n\t\u3000 ", None),
        ("\x00\x1b", None),
        ("ünïcödé", "ünïcödé"),
        ("\u202eevil\u2066 turn", "evil turn"),
        ("\u200b \u2060\ufeff", None),
        ("\ue000", "\ue000"),
    ],
)
def test_one_line(message: str, title: str | None) -> None:
    """Whitespace collapsed; no control characters, none that turn the line; nothing to see is no title."""
    assert from_message(message) == title


@mark.parametrize(
    ("message", "title"),
    [
        ("x" * LENGTH, "x" * LENGTH),
        ("x" * (LENGTH + 1), "x" * LENGTH + "…"),
        ("word " * 12, "word " * 11 + "word"),
        ("word " * 13, "word " * 11 + "word…"),
        ("four " * 11 + "x" * 20, "four " * 10 + "four…"),
        ("short " + "x" * 200, "short " + "x" * (LENGTH - 6) + "…"),
        ("a" * 59 + " " + "b" * 59, "a" * 59 + "…"),
        ("a" * 60 + " b", "a" * 60 + "…"),
    ],
)
def test_cut(message: str, title: str) -> None:
    """Near 60 characters, at a word's end unless that would lose half of it, and it shows."""
    assert from_message(message) == title


@mark.parametrize("character", [FAMILY, FLAG, ENGLAND, ACCENT, ZALGO, WAVE, HANGUL, DEVANAGARI])
def test_what_people_see_as_one_character(character: str) -> None:
    """Counts as one and is never cut."""
    assert graphemes(character) == [character]
    assert from_message(character * LENGTH) == character * LENGTH
    assert from_message(character * (LENGTH + 1)) == character * LENGTH + "…"
    assert from_message(("ab " + character) * 500 + "z") == title_of_whole(("ab " + character) * 500)


def title_of_whole(line: str) -> str:
    """As long as may be, back to a word's end."""
    cut = "".join(graphemes(line)[:LENGTH])
    return cut.rpartition(" ")[0].rstrip() + "…"


@mark.parametrize("lead", ["\n" * 3000, " " * 99_000, "\x00" * 5000])
def test_much_before_the_first_word(lead: str) -> None:
    """The title is still the message's."""
    assert from_message(lead + "hello") == "hello"


@mark.parametrize("marks", [45, 700, 90_000])
def test_characters_with_marks_without_end(marks: int) -> None:
    """Make no title of thousands, and are still not cut, unless the first one alone is too long."""
    character = "a" + "\u0300" * marks
    title = from_message(character * LENGTH)
    assert title is not None
    assert len(title) <= LONGEST + 1
    assert title.endswith("…")
    assert set(graphemes(title[:-1])) == {character[:LONGEST]}


@patiently
@given(st.text())
def test_any_message(message: str) -> None:
    """One line of at most 60 characters and an ellipsis, a beginning of the message, or nothing."""
    title = from_message(message)
    if title is None:
        assert not regex.sub(r"[\s\p{Cc}\p{Cf}\p{Cs}]", "", message)
        return
    assert title == title.strip() != ""
    assert title == " ".join(title.split())
    assert regex.search(r"[\p{Cc}\p{Cs}]", title) is None
    seen = regex.sub("[\u202a-\u202e\u2066-\u2069]", "", regex.sub(r"[\p{Cc}\p{Cs}]", " ", message))
    line = " ".join(seen.split())
    assert title == line if len(graphemes(line)) <= LENGTH else line.startswith(title[:-1])
    assert len(graphemes(title)) <= LENGTH + 1
