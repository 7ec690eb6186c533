"""How results look: tables for people, JSON for scripts, and nothing that drives the terminal.

Titles, answers and every other text may come from an agent or a stranger, so
control characters and what reverses the writing direction never get through.
"""

import os
import re
import sys
import unicodedata
from collections.abc import Sequence
from typing import IO, Any, Final

import click

_CONTROLS: Final = "\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"
_UNSAFE: Final = re.compile(f"[{_CONTROLS}]")
_UNSAFE_IN_JSON: Final = re.compile(f"[{_CONTROLS}\u2028\u2029]")


def clean(text: str) -> str:
    """The text without control characters; lines and tabs stay."""
    return _UNSAFE.sub("", text)


def one_line(text: str) -> str:
    """The cleaned text with every run of white space as one space."""
    return " ".join(clean(text).split())


def is_terminal(stream: IO[str] | None = None) -> bool:
    """Whether a person looks at it."""
    return (stream or sys.stdout).isatty()


def styled(text: str, stream: IO[str] | None = None, **style: bool) -> str:
    """The text with a style, where a terminal shows it and NO_COLOR is not set."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not is_terminal(stream)
    return text if is_plain else click.style(text, **style)


def print_json(value: Any) -> None:
    """Pretty on a terminal, one compact line elsewhere."""
    click.echo(as_json(value, is_pretty=is_terminal()))


def as_json(value: Any, *, is_pretty: bool = False) -> str:
    """A value as JSON that is safe to show."""
    import json

    shape: dict[str, Any] = {"indent": 2} if is_pretty else {"separators": (",", ":")}
    return escape(json.dumps(value, ensure_ascii=False, **shape))


def escape(text: str) -> str:
    """JSON text in which no control character stands as itself; it means the same."""
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns; on a terminal the last one is cut to fit."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(header, *cells, strict=True)]
    room = _room_for_last(widths) if is_terminal() else None
    click.echo(styled(_line(header, widths, room), bold=True))
    for row in cells:
        click.echo(_line(row, widths, room))


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """One name and value a line."""
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        click.echo(f"{styled(name.ljust(width), bold=True)}  {one_line(value)}")


def _room_for_last(widths: Sequence[int]) -> int:
    import shutil

    taken = sum(widths[:-1]) + 2 * (len(widths) - 1)
    return max(12, shutil.get_terminal_size().columns - taken)


def _line(cells: Sequence[str], widths: Sequence[int], room: int | None) -> str:
    *others, last = cells
    padded = [cell + " " * (width - _width(cell)) for cell, width in zip(others, widths, strict=False)]
    return "  ".join([*padded, last if room is None else _cut(last, room)]).rstrip()


def _cut(text: str, room: int) -> str:
    if _width(text) <= room:
        return text
    while _width(text) >= room:
        text = text[:-1]
    return text + "…"


def _width(text: str) -> int:
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
