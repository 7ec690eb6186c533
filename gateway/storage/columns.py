"""Every session in columns of numbers: any filter with any order by scanning, no index to choose or to miss.

A million rows are a few milliseconds, whatever is asked. A row's number is the
session's id. Nothing of this is ever in a file. It knows no SQL and no threads.
"""

import hashlib
import os
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from .base import COUNT_LIMIT, SessionQuery, SessionRow
from .matching import finder
from .ordering import Names, Ranges, grown
from .signatures import Signatures
from .topmost import topmost

Bools = NDArray[np.bool_]
Column = NDArray[Any]
_NAMES = ("tenant", "user", "agent", "model", "channel", "source", "project", "lifecycle")
_NUMBERS = ("message_count", "tokens", "created_at", "last_activity_at")
_BY_NUMBER = {
    "lastActivityAt": "last_activity_at",
    "createdAt": "created_at",
    "messageCount": "message_count",
    "tokens": "tokens",
    "costUsd": "cost_usd",
}
_BY_NAME = {"agent": "agent", "channel": "channel", "state": "lifecycle"}
_THERE, _ARCHIVED, _PINNED, _EMPTY, _NEWEST = 1, 2, 4, 8, 16
_FEW = 50_000
"""So many candidates of a search are all looked at; of more, only those that sort first."""


class Words(Struct):
    """What lists look at of the words that a person wrote."""

    title: str | None = None
    labels: dict[str, str] = {}


class Found(Struct):
    """Ids in order, the sort position after the last, how many match (at most COUNT_LIMIT + 1)."""

    ids: list[int]
    last: Sequence[Any] | None
    total: int


_decode_words = msgspec.json.Decoder(Words).decode


class Columns:
    """All sessions, as lists see them."""

    def __init__(self) -> None:
        self._end, rows = 1, 1024
        self._flags = np.zeros(rows, np.uint8)
        self._names = {name: Names() for name in _NAMES}
        self._columns: dict[str, Column] = {name: np.zeros(rows, np.int32) for name in _NAMES}
        self._columns |= {name: np.zeros(rows, np.int64) for name in _NUMBERS}
        self._columns["cost_usd"] = np.zeros(rows, np.float64)
        self._keys, self._texts = [""] * rows, [""] * rows  # texts: title, key and channel, folded, a line each
        self._ranges = {"key": Ranges(self._keys.__getitem__, rows), "title": Ranges(self._title, rows)}
        self._signatures = Signatures()
        self._labels = _Labels()
        self._empties: dict[tuple[int, int], list[int]] = {}

    def put(self, rows: Iterable[SessionRow], words: dict[int, bytes | None]) -> None:
        """Take over lines of the projection, and words of the sessions that are named in `words`."""
        named = set[int]()
        for row in rows:
            is_new = self._put(row)
            if is_new:
                words.setdefault(row.id, None)
            elif self._retell(row.id):
                named.add(row.id)
        for id, details in words.items():
            if id < self._end and self._flags[id]:
                self._put_words(id, _decode_words(details) if details else Words())
                named.add(id)
        if named:
            self._signatures.put(list(named), [self._texts[id] for id in named])

    def find(self, query: SessionQuery) -> Found:
        """One page and how many there are in all."""
        mask = self._asked_for(query)
        if query.search is not None:
            return self._search(query, mask, query.search.casefold())
        total = min(int(np.count_nonzero(mask)), COUNT_LIMIT + 1)
        return self._page(query, self._first(query, mask, query.limit + 1), total)

    def _page(self, query: SessionQuery, ids: list[int], total: int) -> Found:
        page = ids[: query.limit]
        return Found(page, self._place(query.by)(page[-1]) if len(ids) > len(page) else None, total)

    def _search(self, query: SessionQuery, mask: Bools, term: str) -> Found:
        """Rows of agents that match are certain, those of the signatures are looked at."""
        sure = mask & self._is_in("agent", query.search_agents)
        maybe = mask & ~sure & self._signatures.find(term, self._end)
        contains = self._contains(term)
        if np.count_nonzero(maybe) <= _FEW:
            sure[[id for id in np.flatnonzero(maybe).tolist() if contains(id)]] = True
            total = min(int(np.count_nonzero(sure)), COUNT_LIMIT + 1)
            return self._page(query, self._first(query, sure, query.limit + 1), total)
        total = int(np.count_nonzero(sure))
        for id in np.flatnonzero(maybe).tolist():
            if total > COUNT_LIMIT:
                break
            total += contains(id)
        return self._page(query, self._first_of_many(query, sure, maybe, contains), min(total, COUNT_LIMIT + 1))

    def _first_of_many(
        self, query: SessionQuery, sure: Bools, maybe: Bools, contains: Callable[[int], bool]
    ) -> list[int]:
        """Look at candidates in order until a page is full."""
        either, looked_at = sure | maybe, 4 * (query.limit + 1)
        while True:
            ids = self._first(query, either, looked_at)
            found = [id for id in ids if sure[id] or contains(id)]
            if len(found) > query.limit or len(ids) < looked_at:
                return found[: query.limit + 1]
            looked_at *= 8

    def _contains(self, term: str) -> Callable[[int], bool]:
        texts, is_in = self._texts, finder(term)
        if "\n" in term:
            return lambda id: any(map(is_in, texts[id].rsplit("\n", 2)))
        return lambda id: is_in(texts[id])

    def _asked_for(self, query: SessionQuery) -> Bools:
        mask: Bools = np.take(self._allowed_flags(query), self._flags[: self._end], mode="clip")
        columns = dict(query.columns)
        columns.pop("pinned", None)
        if query.tenant is not None:
            mask &= self._is_in("tenant", [query.tenant])
        if query.visible_to is not None:
            mask &= self._is_in("user", [query.visible_to]) | self._is_in("agent", query.owned_agents)
        for column, allowed in columns.items():
            mask &= self._is_in(column, allowed)
        if query.updated_since is not None:
            mask &= self._columns["last_activity_at"][: self._end] >= query.updated_since
        for name, value in query.labels.items():
            mask &= self._labels.find(name, value, self._end)
        return mask

    def _allowed_flags(self, query: SessionQuery) -> Bools:
        """Of each combination of flags: whether such rows are asked for."""
        flags = np.arange(32)
        allowed = flags & _THERE != 0
        if query.archived is not None:
            allowed &= (flags & _ARCHIVED != 0) == query.archived
        if "pinned" in query.columns:
            allowed &= np.isin(flags & _PINNED != 0, np.array(query.columns["pinned"], np.bool_))
        if not query.include_empty:
            allowed &= flags & (_EMPTY | _PINNED | _NEWEST) != _EMPTY
        chosen: Bools = allowed
        return chosen

    def _is_in(self, column: str, values: Sequence[object]) -> Bools:
        codes, rows = self._names[column].codes(values), self._columns[column][: self._end]
        if len(codes) == 1:
            same: Bools = rows == codes[0]
            return same
        allowed = np.zeros(len(self._names[column].values) + 1, np.bool_)
        allowed[codes] = True
        found: Bools = np.take(allowed, rows, mode="clip")
        return found

    def _first(self, query: SessionQuery, mask: Bools, count: int) -> list[int]:
        """The ids that sort first behind `query.after`."""
        keys = self._sort_keys(query.by)
        if query.after is not None:
            mask = mask & self._behind(query, mask, keys, query.after)
        ids = topmost(mask, keys, count, descending=query.descending)
        return sorted(ids, key=self._place(query.by), reverse=query.descending)[:count]

    def _sort_keys(self, by: str) -> list[Column]:
        """Columns that sort as the words do, as far as they go; behind them all comes the id."""
        if by == "default":
            return [self._flags[: self._end] & _PINNED, self._columns["last_activity_at"][: self._end]]
        if by in _BY_NUMBER:
            return [self._columns[_BY_NUMBER[by]][: self._end]]
        if by in _BY_NAME:
            return [np.take(self._names[_BY_NAME[by]].ranks(), self._columns[_BY_NAME[by]][: self._end], mode="clip")]
        return [self._ranges[by].ranks()[: self._end]]

    def _behind(self, query: SessionQuery, mask: Bools, keys: list[Column], after: Sequence[Any]) -> Bools:
        """Rows that sort behind a position."""
        by, down = query.by, query.descending
        values = list(after[:-1])
        if len(values) != len(keys) or not all(isinstance(value, int | float | str) for value in after):
            raise ValueError(f"no position of the order {by}: {after}")
        if by == "default":
            values[0] = _PINNED if values[0] else 0
        elif by in _BY_NAME:
            values = [self._names[_BY_NAME[by]].rank(values[0])]
        elif by in self._ranges:
            values = [self._ranges[by].place(values[0])]
        beyond, same = np.zeros(self._end, np.bool_), np.ones(self._end, np.bool_)
        for key, value in zip(keys, values, strict=True):
            beyond |= same & (key < value if down else key > value)
            same &= key == value
        if by in self._ranges:
            place, limit = self._place(by), tuple(after)
            tied = np.flatnonzero(same & mask).tolist()
            beyond[[id for id in tied if (place(id) < limit if down else place(id) > limit)]] = True
            return beyond
        id = min(max(after[-1], 0), self._end)
        beyond |= same & ((np.arange(self._end) < id) if down else (np.arange(self._end) > id))
        return beyond

    def _place(self, by: str) -> Callable[[int], tuple[Any, ...]]:
        """Where a row sorts, exactly."""
        if by == "default":
            activity = self._columns["last_activity_at"]
            return lambda id: (int(self._flags[id] & _PINNED != 0), activity[id].item(), id)
        if by in _BY_NUMBER:
            numbers = self._columns[_BY_NUMBER[by]]
            return lambda id: (numbers[id].item(), id)
        if by in _BY_NAME:
            names, codes = self._names[_BY_NAME[by]].values, self._columns[_BY_NAME[by]]
            return lambda id: (names[codes[id]], id)
        text_of = self._title if by == "title" else self._keys.__getitem__
        return lambda id: (text_of(id), id)

    def _title(self, id: int) -> str:
        return self._texts[id].rsplit("\n", 2)[0]

    def _put(self, row: SessionRow) -> bool:
        """Take over a line; whether the session was not there."""
        id = row.id
        self._make_room(id)
        is_new = not self._flags[id]
        if row.deleted_at is not None:
            self._drop(id)
            return False
        self._move_empty(row)
        for name in _NAMES:
            self._columns[name][id] = self._names[name].code(getattr(row, name))
        for name in _NUMBERS:
            self._columns[name][id] = getattr(row, name)
        self._columns["cost_usd"][id] = -1.0 if row.cost_usd is None else row.cost_usd
        archived = _ARCHIVED if row.archived_at is not None else 0
        empty = _EMPTY if row.is_empty and row.source == "manual" else 0
        newest = int(self._flags[id]) & _NEWEST
        self._flags[id] = _THERE | archived | empty | newest | (_PINNED if row.pinned else 0)
        if self._keys[id] != row.key:
            self._keys[id] = row.key
            self._ranges["key"].put(id, row.key)
        return is_new

    def _put_words(self, id: int, words: Words) -> None:
        self._texts[id] = self._text(id, (words.title or "").casefold())
        self._ranges["title"].put(id, self._title(id))
        self._labels.put(id, words.labels)

    def _retell(self, id: int) -> bool:
        """Make the text anew with the title that it has; whether it is another."""
        text = self._text(id, self._title(id)) if self._flags[id] else ""
        is_other = text != self._texts[id]
        self._texts[id] = text
        return is_other

    def _text(self, id: int, title: str) -> str:
        channel = self._names["channel"].values[self._columns["channel"][id]]
        return f"{title}\n{self._keys[id].casefold()}\n{(channel or '').casefold()}"

    def _drop(self, id: int) -> None:
        if self._flags[id]:
            self._move_empty(None, id)
            self._labels.put(id, {})
            for ranges in self._ranges.values():
                ranges.drop(id)
        self._flags[id], self._keys[id], self._texts[id] = 0, "", ""

    def _move_empty(self, row: SessionRow | None, id: int = 0) -> None:
        """Keep who has which empty sessions, and mark each user's newest."""
        id = row.id if row is not None else id
        before = after = None
        if self._flags[id] & _EMPTY and not self._flags[id] & _ARCHIVED:
            before = int(self._columns["tenant"][id]), int(self._columns["user"][id])
        if row is not None and row.is_empty and row.source == "manual" and row.archived_at is None:
            after = self._names["tenant"].code(row.tenant), self._names["user"].code(row.user)
        if before == after:
            return
        if before is not None:
            self._mark_newest(before, lambda mine: mine.remove(id))
        if after is not None:
            self._mark_newest(after, lambda mine: insort(mine, id))

    def _mark_newest(self, whose: tuple[int, int], change: Callable[[list[int]], None]) -> None:
        mine = self._empties.setdefault(whose, [])
        if mine:
            self._flags[mine[-1]] &= ~np.uint8(_NEWEST)
        change(mine)
        if mine:
            self._flags[mine[-1]] |= _NEWEST
        else:
            del self._empties[whose]

    def _make_room(self, id: int) -> None:
        self._end = max(self._end, id + 1)
        if id < len(self._flags):
            return
        rows = max(id + 1, 2 * len(self._flags))
        self._keys.extend([""] * (rows - len(self._keys)))
        self._texts.extend([""] * (rows - len(self._texts)))
        self._flags = grown(self._flags, rows)
        self._columns = {name: grown(column, rows) for name, column in self._columns.items()}
        for ranges in self._ranges.values():
            ranges.grow(rows)


class _Labels:
    """Pairs of label and session: labels as keyed hashes of 64 bits, which nobody can make collide."""

    def __init__(self) -> None:
        self._key = os.urandom(16)
        self._count = 0
        self._hashes = np.zeros(64, np.uint64)
        self._rows = np.zeros(64, np.int32)
        self._labelled: set[int] = set()

    def put(self, row: int, labels: dict[str, str]) -> None:
        """The labels of a session from now on."""
        if row in self._labelled:
            self._rows[self._rows == row] = 0  # there is no session 0
            self._labelled.discard(row)
        if labels:
            self._labelled.add(row)
        for name, value in labels.items():
            if self._count == len(self._rows):
                self._make_room()
            self._hashes[self._count], self._rows[self._count] = self._hash(name, value), row
            self._count += 1

    def find(self, name: str, value: str, rows: int) -> Bools:
        """Which sessions have it."""
        found = np.zeros(rows, np.bool_)
        found[self._rows[: self._count][self._hashes[: self._count] == self._hash(name, value)]] = True
        return found

    def _make_room(self) -> None:
        """Leave out what is dead, then double."""
        live = self._rows[: self._count] != 0
        self._hashes, self._rows = self._hashes[: self._count][live], self._rows[: self._count][live]
        self._count = len(self._rows)
        room = max(64, 2 * self._count)
        self._hashes, self._rows = grown(self._hashes, room), grown(self._rows, room)

    def _hash(self, name: str, value: str) -> np.uint64:
        text = msgspec.json.encode((name, value))
        return np.uint64(int.from_bytes(hashlib.blake2b(text, digest_size=8, key=self._key).digest(), "big"))
