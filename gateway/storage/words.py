"""What can be searched and how words compare, for every engine. Pure.

Index and query pass through the same `folded`, so a word is found however it
was written: in capitals, with accents, in full width. Scripts that put no
spaces between words are indexed character by character; a run of them in a
query is a phrase.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import regex
from msgspec import Struct

SEARCHED = ("message.user", "message.assistant", "message.system", "tool.call", "tool.result")
SHORTEST_PREFIX = 3
SNIPPET = 160
_LEAD = 50
_DEEPEST = 64
_LONGEST_LOOK = 256 * 1024  # characters in which the place of a match is looked for
_CODE_POINTS = 4  # for each character of a snippet: people see any number as one

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Extended_Pictographic}"
_ONE = regex.compile(rf"[[{_UNSPACED}]--\p{{ASCII}}]\p{{M}}*", regex.V1)
_TOKEN = regex.compile(rf"{_ONE.pattern}|[[\p{{L}}\p{{N}}\p{{M}}\p{{Co}}]--[{_UNSPACED}]]+", regex.V1)
_ACCENTS = regex.compile(r"[[\p{Mn}&&\p{Script=Inherited}]--[\u3099\u309a]]|[\u0591-\u05bd\u05bf-\u05c7]", regex.V1)
_PIECE = re.compile(r'"([^"]*)"?|([^\s"]+)')
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")
_UNSEEN = regex.compile(r"[\p{Cc}\p{Cs}\u2028-\u202e\u2066-\u2069]")


class Term(Struct, frozen=True):
    """Tokens that follow each other; with `is_prefix` the last may go on."""

    tokens: tuple[str, ...]
    is_prefix: bool = False


class _Spoken(Struct):
    content: str = ""
    name: str = ""
    input: Any = None
    output: Any = None
    error: str | None = None
    at: str = ""


def parse(query: str) -> list[Term]:
    """What a person typed: words, "phrases" and beginnings*, each once. Anything else only separates."""
    terms = []
    for piece in _PIECE.finditer(query):
        said = piece[1] if piece[1] is not None else piece[2]
        tokens = tuple(_TOKEN.findall(folded(said)))
        if tokens:
            is_open = piece[2] is not None and said.endswith("*") and len(tokens[-1]) >= SHORTEST_PREFIX
            terms.append(Term(tokens, is_open))
    return list(dict.fromkeys(terms))


def folded(text: str) -> str:
    """The text as it is indexed: without case and accents, a space around each character of an unspaced script."""
    if text.isascii():
        return text.lower()
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    return _ONE.sub(r" \g<0> ", unicodedata.normalize("NFC", bare).casefold())


def spoken(body: bytes) -> tuple[str, str]:
    """What an event says to somebody who searches, and when it was; nothing if it cannot be read."""
    try:
        event = msgspec.json.decode(body, type=_Spoken)
    except (msgspec.DecodeError, RecursionError):
        return "", ""
    parts = (event.content, event.name, *map(_flat, (event.input, event.output)), event.error or "")
    return " ".join(part for part in parts if part), event.at


class Matcher:
    """Finds terms in texts as they were written."""

    def __init__(self, terms: Iterable[Term]) -> None:
        self._terms = list(terms)
        plain = [_ascii_pattern(term) for term in self._terms if all(token.isascii() for token in term.tokens)]
        self._plain = re.compile(f"(?<![a-z0-9])(?:{'|'.join(plain)})(?![a-z0-9])", re.I | re.A) if plain else None

    def matches(self, text: str) -> bool:
        """Whether all terms are in the text."""
        tokens = _TOKEN.findall(folded(text))
        return bool(self._terms) and all(
            any(_begins(tokens, place, term) for place in range(len(tokens))) for term in self._terms
        )

    def first(self, text: str) -> int:
        """Where the first of the terms begins; 0 where none can be pointed at."""
        if text.isascii():
            found = self._plain.search(text) if self._plain is not None else None
            return found.start() if found is not None else 0
        places, tokens = list[int](), list[str]()
        for place, token in _tokens(text[:_LONGEST_LOOK]):
            places.append(place)
            tokens.append(token)
        starts = {term.tokens[0][:SHORTEST_PREFIX] for term in self._terms}
        for index, token in enumerate(tokens):
            if token[:SHORTEST_PREFIX] in starts and any(_begins(tokens, index, term) for term in self._terms):
                return places[index]
        return 0

    def snippet(self, text: str) -> str:
        """The text around the first match on one line, about SNIPPET characters, never cut inside one."""
        place = self.first(text)
        begun = max(0, place - SNIPPET * _CODE_POINTS)
        before = _graphemes(text[begun:place])
        after = _graphemes(text[place : place + SNIPPET * _CODE_POINTS])
        lead = before[-_LEAD:] if begun or len(before) > _LEAD else before
        is_cut_before, room = begun > 0 or len(lead) < len(before), SNIPPET - len(lead)
        is_cut_after = len(after) > room or len(text) > place + SNIPPET * _CODE_POINTS
        start, end = "".join(lead), "".join(after[:room])
        start = f"…{start.partition(' ')[2] or start}" if is_cut_before else start.lstrip()
        end = f"{_to_word(end)}…" if is_cut_after else end.rstrip()
        return start + end


def _flat(value: Any, depth: int = 0) -> str:
    """The words of a JSON value, on one line, as deep as anybody looks."""
    if value is None or depth > _DEEPEST:
        return ""
    match value:
        case str():
            return value
        case dict():
            return ", ".join(f"{name}: {_flat(inside, depth + 1)}" for name, inside in value.items())
        case list():
            return ", ".join(_flat(inside, depth + 1) for inside in value)
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    """Each token of a text, folded, and where it begins."""
    for found in _TOKEN.finditer(text):
        for token in folded(found[0]).split():
            yield found.start(), token


def _begins(tokens: list[str], place: int, term: Term) -> bool:
    *whole, last = term.tokens
    end = place + len(whole)
    if end >= len(tokens) or tokens[place:end] != whole:
        return False
    return tokens[end].startswith(last) if term.is_prefix else tokens[end] == last


def _ascii_pattern(term: Term) -> str:
    return "[^a-z0-9]+".join(term.tokens) + ("[a-z0-9]*" if term.is_prefix else "")


def _graphemes(text: str) -> list[str]:
    """What people see as one character each; any white space is one space, nothing drives a terminal."""
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    if text.isascii():
        return list(_SPACE.sub(" ", text))
    return regex.findall(r"\X", _SPACE.sub(" ", _UNSEEN.sub(" ", text)))


def _to_word(text: str) -> str:
    at_word = text.rpartition(" ")[0]
    return (at_word if len(at_word) > len(text) // 2 else text).rstrip()
