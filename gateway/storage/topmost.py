"""The rows that sort first, without sorting them all. Pure."""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
ENOUGH = 512
"""So few rows are handed back as they are: sorting them costs less than choosing."""
_SAMPLE = 65_536
_LEAST = 64


def topmost(mask: Bools, keys: Iterable[NDArray[Any]], count: int, *, descending: bool) -> list[int]:
    """Rows of the mask, in no order, among which are the `count` that sort first by keys and row number.

    A cut is guessed from a sample; what lies beyond it is kept when it is
    enough, what lies on it is told apart by the next key.
    """
    kept: list[NDArray[np.int64]] = []
    left = int(np.count_nonzero(mask))
    for key in chain(keys, (np.arange(len(mask)),)):
        slack = 1.0
        while left > max(ENOUGH, count):
            cut = _cut(mask, key, count / left, slack, descending=descending)
            beyond = mask & (key > cut if descending else key < cut)
            found = int(np.count_nonzero(beyond))
            if found >= count:
                mask, left, slack = beyond, found, 1.0
                continue
            level = mask & (key == cut)
            ties = int(np.count_nonzero(level))
            if found + ties >= count:
                kept.append(np.flatnonzero(beyond))
                mask, left, count = level, ties, count - found
                break
            slack *= 8
    kept.append(np.flatnonzero(mask))
    return [row for rows in kept for row in rows.tolist()]


def _cut(mask: Bools, key: NDArray[Any], share: float, slack: float, *, descending: bool) -> Any:
    """A value of the key that about `share` of the rows lie beyond, or more with more slack."""
    step = max(1, len(mask) // _SAMPLE)
    sample = key[::step][mask[::step]]
    place = int(slack * (1.5 * share * len(sample) + 8))
    if len(sample) < _LEAST or place >= len(sample):
        sample = key[mask]
        place = min(len(sample) - 1, place)
    place = len(sample) - 1 - place if descending else place
    return np.partition(sample, place)[place]
