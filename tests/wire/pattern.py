"""Patterns of JSON: what a golden script expects to hear. Pure.

A pattern is JSON, with five words more:

    …            any value
    "t_…"        a string; `…` stands for any text in it
    "⟨turn⟩"     a string that is called `turn` from now on, and is the same wherever that name comes again
    {"a":1, …}   an object that may have further members; so for the items of an array
    ~[1, 2]      an array in any order

Numbers are equal by value, and nothing else is equal across types: 1 is 1.0, not true and not "1".
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

ELLIPSIS = "…"
_NAME = re.compile(r"⟨(\w+)⟩")
_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null")
_decode_from = json.JSONDecoder().raw_decode
_SPACE = re.compile(r"[ \t\n\r]*")

Names = Mapping[str, str]


class Mismatch(Exception):
    """What was heard is not what was expected; the text says where and why."""

    def __init__(self, path: str, expected: str, heard: Any) -> None:
        super().__init__(f"{path}: expected {expected}, heard {json.dumps(heard, ensure_ascii=False)}")


class Anything(Struct, frozen=True):
    """`…`."""


class Exactly(Struct, frozen=True):
    """A number, a word or a string without holes."""

    value: Any


class Text(Struct, frozen=True):
    """A string with holes."""

    pieces: tuple[str, ...]


class Named(Struct, frozen=True):
    """A string that has or gets a name."""

    name: str


class Members(Struct, frozen=True):
    """An object."""

    by_name: dict[str, Any]
    is_open: bool


class Items(Struct, frozen=True):
    """An array."""

    patterns: tuple[Any, ...]
    is_open: bool
    is_ordered: bool


Pattern = Anything | Exactly | Text | Named | Members | Items


def read(text: str) -> Pattern:
    """The pattern that the text writes down.

    Raises:
        ValueError: it is not a pattern.
    """
    reader = _Reader(text)
    pattern = reader.pattern()
    if not reader.is_at_end():
        raise ValueError(f"more after the pattern: {reader.rest()}")
    return pattern


def match(pattern: Pattern, heard: Any, names: Names, path: str = "$") -> Names:
    """The names that are known when this has been heard.

    Raises:
        Mismatch: it is something else.
    """
    match pattern:
        case Anything():
            return names
        case Named(name):
            if not isinstance(heard, str) or names.get(name, heard) != heard:
                raise Mismatch(path, f"the {name} {names.get(name, '')!r}", heard)
            return {**names, name: heard}
        case Text(pieces):
            if not isinstance(heard, str) or not re.fullmatch(".*".join(map(re.escape, pieces)), heard, re.DOTALL):
                raise Mismatch(path, f'"{ELLIPSIS.join(pieces)}"', heard)
            return names
        case Exactly(value):
            if _kind(value) != _kind(heard) or value != heard:
                raise Mismatch(path, json.dumps(value, ensure_ascii=False), heard)
            return names
        case Members():
            return _match_members(pattern, heard, names, path)
        case Items():
            return _match_items(pattern, heard, names, path)


def _match_members(pattern: Members, heard: Any, names: Names, path: str) -> Names:
    if not isinstance(heard, dict):
        raise Mismatch(path, "an object", heard)
    if missing := pattern.by_name.keys() - heard.keys():
        raise Mismatch(path, f"a member {min(missing)}", heard)
    if not pattern.is_open and (extra := heard.keys() - pattern.by_name.keys()):
        raise Mismatch(f"{path}.{min(extra)}", "no such member", heard[min(extra)])
    for name, member in pattern.by_name.items():
        names = match(member, heard[name], names, f"{path}.{name}")
    return names


def _match_items(pattern: Items, heard: Any, names: Names, path: str) -> Names:
    if not isinstance(heard, list):
        raise Mismatch(path, "an array", heard)
    count = len(pattern.patterns)
    if len(heard) < count or (len(heard) > count and not pattern.is_open):
        raise Mismatch(path, f"{count} items", heard)
    if not pattern.is_ordered:
        return match_unordered(pattern.patterns, heard, names, path)
    for place, item in enumerate(pattern.patterns):
        names = match(item, heard[place], names, f"{path}[{place}]")
    return names


def match_unordered(patterns: tuple[Pattern, ...], heard: list[Any], names: Names, path: str = "$") -> Names:
    """Give each pattern the first of what was heard that fits it and that no other has.

    Raises:
        Mismatch: nothing is left that fits.
    """
    left = list(heard)
    for number, pattern in enumerate(patterns, start=1):
        for place, item in enumerate(left):
            try:
                names = match(pattern, item, names, path)
            except Mismatch:
                continue
            del left[place]
            break
        else:
            raise Mismatch(path, f"something like pattern {number} of {len(patterns)}", left)
    return names


def _kind(value: Any) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


class _Reader:
    """Reads a pattern from its text, from left to right."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def is_at_end(self) -> bool:
        self._skip_space()
        return self._at == len(self._text)

    def rest(self) -> str:
        return self._text[self._at :]

    def pattern(self) -> Pattern:
        if self._takes(ELLIPSIS):
            return Anything()
        if self._takes("{"):
            return self._members()
        if self._takes("~["):
            return self._items(is_ordered=False)
        if self._takes("["):
            return self._items(is_ordered=True)
        if self._takes('"'):
            return self._string()
        if found := _SCALAR.match(self._text, self._at):
            self._at = found.end()
            return Exactly(json.loads(found.group()))
        raise ValueError(f"not a pattern: {self.rest()}")

    def _string(self) -> Pattern:
        content = self._string_content()
        if named := _NAME.fullmatch(content):
            return Named(named[1])
        return Text(tuple(content.split(ELLIPSIS))) if ELLIPSIS in content else Exactly(content)

    def _string_content(self) -> str:
        content: str
        content, self._at = _decode_from(self._text, self._at - 1)
        return content

    def _members(self) -> Members:
        by_name: dict[str, Pattern] = {}
        is_open = False
        while not self._takes("}"):
            self._separate(is_first=not by_name, is_closed=is_open)
            if self._takes(ELLIPSIS):
                is_open = True
                continue
            self._expect('"')
            name = self._string_content()
            if name in by_name:
                raise ValueError(f"the member {name} is there twice")
            self._expect(":")
            by_name[name] = self.pattern()
        return Members(by_name, is_open)

    def _items(self, *, is_ordered: bool) -> Items:
        patterns: list[Pattern] = []
        is_open = False
        while not self._takes("]"):
            self._separate(is_first=not patterns, is_closed=is_open)
            if is_open := self._takes(f"{ELLIPSIS}]"):
                break
            patterns.append(self.pattern())
        return Items(tuple(patterns), is_open, is_ordered)

    def _separate(self, *, is_first: bool, is_closed: bool) -> None:
        if is_closed:
            raise ValueError(f"nothing comes after {ELLIPSIS}: {self.rest()}")
        if not is_first:
            self._expect(",")

    def _expect(self, word: str) -> None:
        if not self._takes(word):
            raise ValueError(f"expected {word}: {self.rest()}")

    def _takes(self, word: str) -> bool:
        self._skip_space()
        if not self._text.startswith(word, self._at):
            return False
        self._at += len(word)
        return True

    def _skip_space(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
