"""Tables, JSON, and nothing that drives the terminal."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli import output

EVIL = "a\x1b[31mb\x07\x08c\x9b2Jd\x7fe\rf\u202eg\u2066h"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 40 columns."""
    monkeypatch.setattr(output, "is_terminal", lambda stream=None: True)
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_: False)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((40, 20)))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_control_characters_never_get_through() -> None:
    """Neither C0 nor C1 nor what reverses the writing; lines and tabs stay."""
    assert output.clean(EVIL) == "a[31mbc2Jdefgh"
    assert output.clean("a\n\tb") == "a\n\tb"
    assert output.one_line(" a\n\n\tb\r\nc ") == "a b c"


@given(st.text())
def test_cleaned_text_is_safe_and_otherwise_the_same(text: str) -> None:
    """Cleaning twice changes nothing more, and printable text is left alone."""
    cleaned = output.clean(text)
    assert output.clean(cleaned) == cleaned
    assert all(character in "\n\t" or ord(character) >= 32 for character in cleaned)
    assert not any("\x7f" <= character <= "\x9f" for character in cleaned)
    if text.isprintable():
        assert cleaned == text


@given(st.dictionaries(st.text(), st.text()))
def test_json_is_safe_and_the_same_data(value: dict[str, str]) -> None:
    """Control characters are escaped, not lost."""
    for text in (output.as_json(value), output.as_json(value, is_pretty=True)):
        assert json.loads(text) == value
        assert output.clean(text) == text


def test_json_is_compact_in_a_pipe_and_pretty_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line for scripts, indented for people."""
    output.print_json({"a": ["é", 1]})
    assert capsys.readouterr().out == '{"a":["é",1]}\n'
    monkeypatch.setattr(output, "is_terminal", lambda stream=None: True)
    output.print_json({"a": 1})
    assert capsys.readouterr().out == '{\n  "a": 1\n}\n'


def test_a_table_in_a_pipe_is_plain_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Aligned, by the width that characters take; nothing cut, nothing coloured."""
    output.print_table(["KEY", "TITLE"], [["k", "x" * 300], ["日本", f"evil {EVIL}"]])
    header, first, second = capsys.readouterr().out.splitlines()
    assert header == "KEY   TITLE"
    assert first == f"k     {'x' * 300}"
    assert second == "日本  evil a[31mbc2Jdefgh"


@pytest.mark.usefixtures("terminal")
def test_a_table_on_a_terminal_fits(capsys: pytest.CaptureFixture[str]) -> None:
    """The last column gives way; the header stands out."""
    output.print_table(["KEY", "TITLE"], [["k", "x" * 300], ["k", "日" * 30]])
    header, first, second = capsys.readouterr().out.splitlines()
    assert header == "\x1b[1mKEY  TITLE\x1b[0m"
    assert first == f"k    {'x' * 34}…"
    assert second == f"k    {'日' * 17}…"


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """NO_COLOR (no-color.org) and terminals that have none."""
    assert output.styled("x", bold=True) == "\x1b[1mx\x1b[0m"
    monkeypatch.setenv(name, value)
    assert output.styled("x", bold=True) == "x"
