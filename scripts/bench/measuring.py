"""Rounds, turn about, and what they come to.

CPU is the best of the rounds: whatever else runs on the machine only adds to
it. Times on the wall and rates are the median.
"""

import statistics
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
Round = Callable[[], Awaitable[T]]


async def turn_about(count: int, floor: Round[T], gateway: Round[T]) -> tuple[list[T], list[T]]:
    """Rounds of both, alternating so that the same noise meets both; a first of each does not count."""
    floors: list[T] = []
    gateways: list[T] = []
    for _ in range(count + 1):
        floors.append(await floor())
        gateways.append(await gateway())
    return floors[1:], gateways[1:]


def best(values: Sequence[float]) -> float:
    """The least: for costs."""
    return min(values)


def middle(values: Sequence[float]) -> float:
    """The median: for times and rates."""
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
