"""Deadlines of a million sessions, in the wheel and as the event loop's own timers.

Activity moves a deadline out: the loop has to cancel a timer and set another,
the wheel writes a number. At random means that each touch misses the CPU's
caches, as the activity of a million sessions does.
"""

import asyncio
import gc
import random
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from gateway.clock import SteadyClock
from gateway.timers import TimerWheel

from .measuring import best, turn_about
from .report import Row
from .scale import Scale

ROUNDS = 1
LONGEST_MS = 30 * 60_000
TICK_MS = 50


class Cost(NamedTuple):
    """CPU for one timer, µs."""

    armed: float
    moved: float
    moved_at_random: float
    cancelled: float
    fired: float


WORDS = ("arm", "move out", "move out, at random", "cancel, at random", "fire")


async def measure(scale: Scale) -> list[Row]:
    load = Load(scale.timers)
    floor, gateway = await turn_about(min(scale.rounds, ROUNDS), lambda: _by_loop(load), lambda: _by_wheel(load))
    costs = zip(WORDS, zip(*floor, strict=True), zip(*gateway, strict=True), strict=True)
    rows = [Row(f"timers: {what}", best(theirs), best(ours), "µs CPU") for what, theirs, ours in costs]
    return [*rows, Row("timers: memory of one", await _size_in_loop(load), _size_in_wheel(load), "B")]


class Load:
    """The same keys, deadlines and order for both."""

    def __init__(self, count: int) -> None:
        self.keys = range(count)
        self.delays_ms = [random.randrange(LONGEST_MS) for _ in self.keys]
        self.at_random = random.sample(self.keys, count)

    def cpu_us(self, work: Callable[[], object]) -> float:
        """CPU for each key."""
        gc.collect()
        before_ns = time.process_time_ns()
        work()
        return (time.process_time_ns() - before_ns) / 1000 / len(self.keys)

    def size_bytes(self, work: Callable[[], object]) -> float:
        """Memory for each key, the key included."""
        tracemalloc.start()
        try:
            work()
            return tracemalloc.get_traced_memory()[0] / len(self.keys)
        finally:
            tracemalloc.stop()


def each(work: Callable[..., object], *columns: Iterable[int]) -> Callable[[], object]:
    """Do it for all."""
    return lambda: deque(map(work, *columns), maxlen=0)


async def _by_loop(load: Load) -> Cost:
    loop = asyncio.get_running_loop()
    handles: list[asyncio.TimerHandle] = []
    fired: list[int] = []

    def arm(key: int, delay_ms: int) -> None:
        handles.append(loop.call_later(60 + delay_ms / 1000, fired.append, key))

    def move(key: int) -> None:
        handles[key].cancel()
        handles[key] = loop.call_later(120 + load.delays_ms[key] / 1000, fired.append, key)

    def cancel(key: int) -> None:
        handles[key].cancel()

    armed = load.cpu_us(each(arm, load.keys, load.delays_ms))
    moved = load.cpu_us(each(move, load.keys))
    moved_at_random = load.cpu_us(each(move, load.at_random))
    cancelled = load.cpu_us(each(cancel, load.at_random))
    return Cost(armed, moved, moved_at_random, cancelled, await _fire_by_loop(load))


async def _fire_by_loop(load: Load) -> float:
    """All are due by the time when the loop comes to look."""
    loop = asyncio.get_running_loop()
    fired: list[int] = []
    done = asyncio.Event()
    for key, delay_ms in enumerate(load.delays_ms):
        loop.call_later(delay_ms / LONGEST_MS / 1000, fired.append, key)
    loop.call_later(0.002, done.set)
    gc.collect()
    before_ns = time.process_time_ns()
    await done.wait()
    assert len(fired) == len(load.keys)
    return (time.process_time_ns() - before_ns) / 1000 / len(fired)


async def _by_wheel(load: Load) -> Cost:
    hands = Hands()
    clock = SteadyClock(hands)
    fired: list[int] = []
    wheel = TimerWheel(clock, fired.append, tick_ms=TICK_MS)
    deadlines_ms, later_ms, latest_ms = ([ms + out for ms in load.delays_ms] for out in (0, 60_000, 120_000))

    def move(key: int) -> None:
        wheel.arm(key, latest_ms[key])

    def fire() -> None:
        while len(wheel):
            hands.ms += TICK_MS
            wheel.tick()

    armed = load.cpu_us(each(wheel.arm, load.keys, deadlines_ms))
    moved = load.cpu_us(each(wheel.arm, load.keys, later_ms))
    moved_at_random = load.cpu_us(each(move, load.at_random))
    cancelled = load.cpu_us(each(wheel.cancel, load.at_random))
    each(wheel.arm, load.keys, deadlines_ms)()
    return Cost(armed, moved, moved_at_random, cancelled, load.cpu_us(fire))


async def _size_in_loop(load: Load) -> float:
    call_later, handles = asyncio.get_running_loop().call_later, list[asyncio.TimerHandle]()

    def arm(key: int) -> None:
        handles.append(call_later(60, abs, key))

    size = load.size_bytes(each(arm, load.keys))
    for handle in handles:
        handle.cancel()
    return size


def _size_in_wheel(load: Load) -> float:
    wheel = TimerWheel(SteadyClock(Hands()), abs, tick_ms=TICK_MS)
    return load.size_bytes(each(wheel.arm, load.keys, load.delays_ms))


class Hands:
    """A clock to be turned by hand."""

    ms = 0

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000
