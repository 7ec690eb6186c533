"""Which rows may contain a term: a Bloom filter a row, stored bit by bit across rows.

Each three neighbouring bytes of a text, and the first byte and first two of each
word, set one of SLICES bits. A search reads the few slices of its term, so its
cost hangs on neither the texts nor the alphabet. What it finds must be looked at:
rows may be wrong, none is missing.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SLICES = 512
BLOCK = 65_536
_A, _B, _C, _D = (np.uint32(odd) for odd in (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F))
_SHIFT = np.uint32(32 - 9)
_IS_WORD = np.array([chr(code).isalnum() and code < 128 for code in range(256)])
Bools = NDArray[np.bool_]
Words = NDArray[np.uint32]


class Signatures:
    """The filters of all rows, in blocks."""

    def __init__(self) -> None:
        self._blocks: list[NDArray[np.uint8]] = []

    def put(self, rows: Sequence[int], texts: Sequence[str]) -> None:
        """Set what these rows are found by; what they were found by before is gone."""
        by_block: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            by_block.setdefault(row // BLOCK, []).append(place)
        for block, places in by_block.items():
            while len(self._blocks) <= block:
                self._blocks.append(np.zeros((SLICES, BLOCK // 8), np.uint8))
            self._put(self._blocks[block], [rows[p] % BLOCK for p in places], [texts[p].encode() for p in places])

    def find(self, term: str, rows: int) -> Bools:
        """Rows below `rows` that may contain the term, or a word that begins with it where it is short."""
        wanted = np.unique(_term_slices(term))
        found = [np.bitwise_and.reduce(block[wanted], axis=0) for block in self._blocks]
        if not found:
            return np.zeros(rows, np.bool_)
        bits = np.unpackbits(np.concatenate(found)).view(np.bool_)
        return bits[:rows] if len(bits) >= rows else np.concatenate([bits, np.zeros(rows - len(bits), np.bool_)])

    def _put(self, block: NDArray[np.uint8], rows: list[int], texts: list[bytes]) -> None:
        first, last = min(rows) // 8, max(rows) // 8 + 1
        bits = np.unpackbits(block[:, first:last], axis=1)
        inside = np.array(rows, np.int64) - first * 8
        bits[:, inside] = 0
        slices, owners = _text_slices(texts)
        bits[slices, inside[owners]] = 1
        block[:, first:last] = np.packbits(bits, axis=1)


def _text_slices(texts: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The slices that the texts set, and beside each the number of the text that sets it."""
    joined = b"\n\n\n".join(texts) + b"\n\n\n"
    data = np.frombuffer(joined, np.uint8).astype(np.uint32)
    owners = np.repeat(np.arange(len(texts)), [len(text) + 3 for text in texts])
    before = np.concatenate([[10], data[:-1]])
    starts = np.flatnonzero(~_IS_WORD[before])
    starts = starts[starts < len(data) - 1]
    slices = [_threes(data), _ones(data[starts]), _twos(data[starts], data[starts + 1])]
    return np.concatenate(slices).astype(np.int64), np.concatenate([owners[:-2], owners[starts], owners[starts]])


def _term_slices(term: str) -> Words:
    data = np.frombuffer(term.encode(), np.uint8).astype(np.uint32)
    found = [_threes(data)] if len(data) >= 3 else []
    if len(term) < 3:
        found.append(_ones(data[:1]))
        if len(data) >= 2:
            found.append(_twos(data[:1], data[1:2]))
    return np.concatenate(found)


def _threes(data: Words) -> Words:
    slices: Words = ((data[:-2] * _A) ^ (data[1:-1] * _B) ^ (data[2:] * _C)) * _D >> _SHIFT
    return slices


def _twos(first: Words, second: Words) -> Words:
    return ((first * _B) ^ (second * _C)) * _A >> _SHIFT


def _ones(first: Words) -> Words:
    return (first + np.uint32(1)) * _D >> _SHIFT
