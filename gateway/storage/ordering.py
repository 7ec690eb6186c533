"""Order of strings as numbers, so that a million of them sort by comparing integers. Not thread-safe.

`Names` is for columns with few values, `Ranges` for those where nearly every row
has its own: it keeps rows in ranges of the alphabet, and ranges in order.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
RANGE_ROWS = 512
"""A range with more rows is split, unless all are equal; at most `topmost.ENOUGH`, as ids must not tell rows apart."""


def grown(column: NDArray[Any], rows: int) -> NDArray[Any]:
    """The column with room for that many rows, new ones zero."""
    bigger = np.zeros(rows, dtype=column.dtype)
    bigger[: len(column)] = column
    return bigger


class Names:
    """Values by code, and their alphabetical order. A value that was once there keeps its code."""

    def __init__(self) -> None:
        self.values: list[str | None] = []
        self._codes: dict[str | None, int] = {}
        self._sorted: list[str] = []
        self._ranks: Ints = np.zeros(0, dtype=np.int32)

    def code(self, value: str | None) -> int:
        """Its code, a new one where it is new."""
        code = self._codes.setdefault(value, len(self.values))
        if code == len(self.values):
            self.values.append(value)
        return code

    def codes(self, values: Sequence[object]) -> list[int]:
        """The codes of those that are known."""
        return [self._codes[value] for value in values if isinstance(value, str) and value in self._codes]

    def ranks(self) -> Ints:
        """By code: its place in the alphabet, in steps of two."""
        if len(self._ranks) < len(self.values):
            self._sorted = sorted(value for value in self.values if value is not None)
            places = {value: 2 * place for place, value in enumerate(self._sorted)}
            self._ranks = np.array([places[value] if value is not None else -2 for value in self.values], np.int32)
        return self._ranks

    def rank(self, value: str) -> int:
        """The place of a value, between two steps where it is not known."""
        self.ranks()
        place = bisect_left(self._sorted, value)
        return 2 * place if place < len(self._sorted) and self._sorted[place] == value else 2 * place - 1


class Ranges:
    """Rows by ranges of the alphabet: `text_of` tells a row's string.

    Rows of one range are in no order; there are at most RANGE_ROWS of them, or
    they are equal.
    """

    def __init__(self, text_of: Callable[[int], str], rows: int) -> None:
        self._text_of = text_of
        self._starts, self._codes, self._sizes = [""], [0], [0]
        self._of: Ints = np.full(rows, -1, dtype=np.int32)
        self._ranks: Ints = np.zeros(1, dtype=np.int32)

    def grow(self, rows: int) -> None:
        """Make room."""
        bigger = np.full(rows, -1, dtype=np.int32)
        bigger[: len(self._of)] = self._of
        self._of = bigger

    def put(self, row: int, text: str) -> None:
        """Take the row in, or move it; `text_of` must tell this text already."""
        self.drop(row)
        place = bisect_right(self._starts, text) - 1
        code = self._codes[place]
        self._of[row] = code
        self._sizes[code] += 1
        while self._sizes[code] > RANGE_ROWS and not self._is_uniform(place):
            self._split(place)
            place = bisect_right(self._starts, text) - 1
            code = self._codes[place]

    def drop(self, row: int) -> None:
        """Take the row out."""
        code = int(self._of[row])
        if code >= 0:
            self._sizes[code] -= 1
            self._of[row] = -1

    def ranks(self) -> Ints:
        """By row: the place of its range; of rows that are not in, anything."""
        if len(self._ranks) < len(self._codes):
            self._ranks = np.empty(len(self._codes), dtype=np.int32)
            self._ranks[self._codes] = np.arange(len(self._codes), dtype=np.int32)
        return np.take(self._ranks, self._of, mode="wrap")

    def place(self, text: str) -> int:
        """The place of the range that the text belongs to."""
        return bisect_right(self._starts, text) - 1

    def _is_uniform(self, place: int) -> bool:
        """Whether one string alone can be in it: between "a" and "a\\0" there is no other."""
        return place + 1 < len(self._starts) and self._starts[place + 1] == self._starts[place] + "\0"

    def _split(self, place: int) -> None:
        rows = np.flatnonzero(self._of == self._codes[place]).tolist()
        middle = sorted(map(self._text_of, rows))[len(rows) // 2]
        start = middle if middle > self._starts[place] else middle + "\0"
        code = len(self._sizes)
        moved = [row for row in rows if self._text_of(row) >= start]
        self._starts.insert(place + 1, start)
        self._codes.insert(place + 1, code)
        self._sizes.append(len(moved))
        self._sizes[self._codes[place]] -= len(moved)
        self._of[moved] = code
