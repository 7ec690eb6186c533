"""The timer wheel: when it fires, in which order, and what it costs to change one's mind."""

import asyncio
import contextlib
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from structlog.testing import capture_logs

from gateway.clock import SteadyClock, SystemClock
from gateway.timers import TimerWheel
from tests.fakes import FakeClock

TICK_MS = 50
BLOCK_MS = 4096 * TICK_MS
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
MONTH_MS = 30 * 24 * HOUR_MS
YEAR_MS = 365 * 24 * HOUR_MS


class Rig:
    """A wheel on a machine, and what it fired."""

    def __init__(self, *, most: int = 256, into_tick_ms: int = 0) -> None:
        self.machine = FakeClock()
        self.machine.advance(ms=-self.machine.now_ms() % TICK_MS + into_tick_ms)
        self.clock = SteadyClock(self.machine)
        self.fired: list[int] = []
        self.reaction: Callable[[int], object] = lambda key: None
        self.wheel = TimerWheel(self.clock, self._fire, tick_ms=TICK_MS, most=most)

    @property
    def now_ms(self) -> int:
        return self.clock.now_ms()

    def arm(self, key: int, *, in_ms: int) -> None:
        self.wheel.arm(key, self.now_ms + in_ms)

    def after(self, ms: int) -> list[int]:
        """What one tick fires after some time."""
        self.machine.advance(ms=ms)
        self.fired.clear()
        assert self.wheel.tick() == len(self.fired)
        return self.fired[:]

    def _fire(self, key: int) -> None:
        self.fired.append(key)
        self.reaction(key)


@pytest.fixture
def rig() -> Rig:
    return Rig()


# When


@pytest.mark.parametrize("into_tick_ms", [0, 1, 49])
@pytest.mark.parametrize(
    "in_ms",
    [1, 49, 50, 51, 99, 100, 101]
    + [BLOCK_MS * blocks + ms for blocks in (1, 2, 3) for ms in (-51, -50, -1, 0, 1, 50, 51)]
    + [30 * MINUTE_MS, 24 * HOUR_MS, MONTH_MS],
)
def test_a_key_is_fired_at_its_millisecond_and_not_before(in_ms: int, into_tick_ms: int) -> None:
    """Wherever in a slot, at whatever distance, and however the time up to it passed."""
    for stops in ([in_ms - 1], [in_ms // 2, in_ms - 1 - in_ms // 2]):
        rig = Rig(into_tick_ms=into_tick_ms)
        rig.arm(7, in_ms=in_ms)
        for stop_ms in stops:
            assert rig.after(stop_ms) == []
        assert rig.after(1) == [7]
        assert len(rig.wheel) == 0
        assert rig.after(in_ms) == []


@pytest.mark.parametrize("ago_ms", [0, 1, 50, HOUR_MS, 60 * YEAR_MS])
def test_what_is_overdue_when_armed_is_met_by_the_next_tick(rig: Rig, ago_ms: int) -> None:
    """No time has to pass: `deadline <= now` is expired."""
    rig.arm(7, in_ms=-ago_ms)
    assert rig.after(0) == [7]


@pytest.mark.parametrize("first_tick_ms", [0, 13])
def test_ticking_every_50_ms_is_late_by_at_most_50_ms(first_tick_ms: int) -> None:
    """Whether or not the ticks agree with the slots."""
    rig = Rig(into_tick_ms=first_tick_ms)
    begun_ms = rig.now_ms
    for key in range(300):
        rig.arm(key, in_ms=key * 7)
    while len(rig.wheel):
        for key in rig.after(TICK_MS):
            assert 0 <= rig.now_ms - (begun_ms + key * 7) <= TICK_MS


def test_the_wheel_and_a_check_on_access_agree(rig: Rig) -> None:
    """At every millisecond either both say that it is over or neither does."""
    deadline_ms = rig.now_ms + 120
    rig.wheel.arm(7, deadline_ms)
    for _ in range(200):
        is_fired = bool(rig.after(1)) or not len(rig.wheel)
        assert is_fired == (deadline_ms <= rig.clock.now_ms())


def test_deadlines_take_64_bits(rig: Rig) -> None:
    """Never is far enough away; what does not fit is refused and changes nothing."""
    rig.wheel.arm(1, 2**63 - 1)
    rig.wheel.arm(2**63 - 1, -(2**63))
    for key, deadline_ms in ((3, 2**63), (2**63, 0)):
        with pytest.raises(OverflowError):
            rig.wheel.arm(key, deadline_ms)
    assert rig.after(MONTH_MS) == [2**63 - 1]
    assert len(rig.wheel) == 1


# Which


def test_deadlines_are_met_in_their_order_and_equal_ones_by_key(rig: Rig) -> None:
    """The order does not depend on when and how a deadline came about."""
    for key, in_ms in ((5, 100), (3, 110), (9, 100), (1, 30_000), (2, 99)):
        rig.arm(key, in_ms=in_ms)
    rig.arm(4, in_ms=10)
    rig.arm(4, in_ms=100)
    rig.arm(1, in_ms=100)
    assert rig.after(1000) == [2, 1, 4, 5, 9, 3]


def test_a_deadline_that_moves_out_is_met_there(rig: Rig) -> None:
    """However often; the place that it had before comes to nothing."""
    for minute in range(90):
        rig.wheel.arm(7, rig.now_ms + 30 * MINUTE_MS)
        assert rig.after(MINUTE_MS) == [], minute
    assert rig.after(29 * MINUTE_MS - 1) == []
    assert rig.after(1) == [7]


def test_a_deadline_that_moves_in_is_met_there(rig: Rig) -> None:
    """And not a second time where it was."""
    rig.arm(7, in_ms=HOUR_MS)
    rig.arm(7, in_ms=10 * MINUTE_MS)
    rig.arm(7, in_ms=40)
    assert rig.after(40) == [7]
    assert rig.after(HOUR_MS) == []


def test_what_is_cancelled_is_not_fired(rig: Rig) -> None:
    """From every place: overdue, near, far; only the first time was there anything to cancel."""
    for key, in_ms in ((1, -5), (2, 40), (3, 10 * MINUTE_MS), (4, 9 * HOUR_MS)):
        rig.arm(key, in_ms=in_ms)
        assert rig.wheel.deadline(key) == rig.now_ms + in_ms
        assert rig.wheel.cancel(key)
        assert not rig.wheel.cancel(key)
        assert rig.wheel.deadline(key) is None
    assert rig.after(HOUR_MS * 10) == []


def test_changing_ones_mind_leaves_nothing_behind(rig: Rig) -> None:
    """Sessions that come and go, or pause and resume, cost no memory that lasts until their deadlines or beyond."""

    def come_and_go() -> None:
        for in_ms in (HOUR_MS, 3 * BLOCK_MS, 10 * MINUTE_MS, 0):
            for key in range(1000):
                rig.arm(key, in_ms=in_ms + key)
        for key in range(1000):
            rig.wheel.cancel(key)
        for key in range(100):
            rig.arm(key, in_ms=key * BLOCK_MS)
        while len(rig.wheel):
            rig.after(BLOCK_MS)
        rig.fired.clear()

    tracemalloc.start()
    try:
        come_and_go()
        before_bytes = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            come_and_go()
        assert tracemalloc.get_traced_memory()[0] - before_bytes < 5000
    finally:
        tracemalloc.stop()


# How much at once


def test_a_hundred_thousand_overdue_deadlines_come_bit_by_bit() -> None:
    """After a restart: in order, as many in a tick as one may fire, and none is forgotten."""
    rig = Rig(most=1000)
    count = 100_000
    for key in range(count):
        rig.arm(key, in_ms=-((key * 7919) % count) * 100)
    met: list[int] = []
    for _ in range(count // 1000):
        fired = rig.after(TICK_MS)
        assert len(fired) == 1000
        met += fired
    assert met == sorted(range(count), key=lambda key: (-((key * 7919) % count), key))
    assert len(rig.wheel) == 0


def test_what_falls_due_during_a_hold_up_comes_bit_by_bit() -> None:
    """Both clocks went on for a day: the time did pass, and the order holds through near and far."""
    rig = Rig(most=100)
    for key in range(1000):
        rig.arm(key, in_ms=(key + 1) * MINUTE_MS)
    met = rig.after(24 * HOUR_MS)
    assert met == list(range(100))
    rig.arm(5000, in_ms=-12 * HOUR_MS)
    rig.arm(5001, in_ms=1)
    for _ in range(9):
        met += rig.after(TICK_MS)
    met += rig.after(TICK_MS)
    expected = [*range(719), *sorted((719, 5000)), *range(720, 1000), 5001]
    assert met == expected


def test_many_keys_of_a_far_block_are_brought_near_in_time() -> None:
    """More keys than one tick brings near, whether the block comes up slowly or at once."""
    for step_ms in (TICK_MS, 4 * BLOCK_MS):
        rig = Rig(most=10_000)
        for key in range(3000):
            rig.arm(key, in_ms=3 * BLOCK_MS + key)
        met: list[int] = []
        while len(rig.wheel):
            met += rig.after(step_ms)
        assert met == list(range(3000))


# Clocks that jump


@pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS, YEAR_MS, -YEAR_MS])
def test_setting_the_wall_clock_neither_expires_nor_prolongs(rig: Rig, jump_ms: int) -> None:
    """What was armed fires when so much time has passed, as does what is armed afterwards."""
    rig.arm(1, in_ms=30 * MINUTE_MS)
    rig.arm(2, in_ms=-5)
    rig.machine.set_wall(by_ms=jump_ms)
    rig.arm(3, in_ms=30 * MINUTE_MS)
    assert rig.after(0) == [2]
    assert rig.after(30 * MINUTE_MS - 1) == []
    assert rig.after(1) == [1, 3]


def test_the_sleep_of_a_laptop_does_not_count(rig: Rig) -> None:
    """The wall clock is eight hours on, the monotonic clock slept as well: the remainder is what it was."""
    rig.arm(1, in_ms=30 * MINUTE_MS)
    assert rig.after(10 * MINUTE_MS) == []
    rig.machine.set_wall(by_ms=8 * HOUR_MS)
    assert rig.after(20 * MINUTE_MS - 1) == []
    assert rig.after(1) == [1]


def test_a_year_that_did_pass_is_caught_up_with(rig: Rig) -> None:
    """Quickly, though it has 630 million ticks."""
    rig.arm(1, in_ms=HOUR_MS)
    rig.arm(2, in_ms=YEAR_MS)
    rig.arm(3, in_ms=YEAR_MS + 1)
    assert rig.after(YEAR_MS) == [1, 2]
    assert rig.after(1) == [3]


@pytest.mark.parametrize("midnight", [datetime(2027, 3, 28), datetime(2027, 10, 31)])
def test_the_hour_that_local_clocks_skip_or_repeat_is_nothing_special(rig: Rig, midnight: datetime) -> None:
    """Deadlines are UTC: six hours take six hours in a Berlin night that has a different number of them."""
    begun_ms = round(midnight.replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1000)
    rig.machine.advance(ms=begun_ms - rig.now_ms)
    rig.wheel.arm(7, begun_ms + 6 * HOUR_MS)
    assert rig.after(6 * HOUR_MS - 1) == []
    assert rig.after(1) == [7]


# What `fire` does


def test_a_failure_is_logged_and_stops_nothing(rig: Rig) -> None:
    """The other keys of the tick are fired, the failed one is not fired again by itself."""

    def fail(key: int) -> None:
        if key == 2:
            raise RuntimeError("no")

    rig.reaction = fail
    for key in (1, 2, 3):
        rig.arm(key, in_ms=key)
    with capture_logs() as logged:
        assert rig.after(10) == [1, 2, 3]
    assert [(line["event"], line["key"], line["log_level"]) for line in logged] == [("timer_failed", 2, "error")]
    assert rig.after(HOUR_MS) == []


def test_an_exit_out_of_fire_loses_no_other_key(rig: Rig) -> None:
    """Ctrl+C passes; whoever ticks again finds the rest."""

    def leave(key: int) -> None:
        rig.reaction = lambda key: None
        rig.arm(key, in_ms=-1)
        raise KeyboardInterrupt

    rig.reaction = leave
    for key in (1, 2, 3):
        rig.arm(key, in_ms=key)
    with pytest.raises(KeyboardInterrupt):
        rig.after(10)
    assert rig.after(0) == [2, 3]
    assert rig.after(0) == [1]


def test_a_key_may_be_armed_again_while_it_is_fired(rig: Rig) -> None:
    """A warning, then the end: two deadlines one after the other under one key."""
    rig.reaction = lambda key: rig.arm(key, in_ms=100) if len(rig.fired) == 1 else None
    rig.arm(7, in_ms=10)
    assert rig.after(10) == [7]
    assert len(rig.wheel) == 1
    rig.reaction = lambda key: None
    assert rig.after(99) == []
    assert rig.after(1) == [7]


def test_who_arms_overdue_keys_while_fired_starves_nobody() -> None:
    """They wait for the next tick, behind what waited before them, also while the wheel is catching up."""
    rig = Rig(most=2)
    rig.reaction = lambda key: rig.wheel.arm(key, 0) if key < 10 else None
    for key in (1, 2, 11, 12, 13):
        rig.arm(key, in_ms=key)
    rig.arm(14, in_ms=10 * MINUTE_MS)
    assert rig.after(HOUR_MS) == [1, 2]
    assert rig.after(0) == [11, 12]
    assert rig.after(0) == [13, 14]
    assert rig.after(0) == [1, 2]


def test_a_key_is_fired_once_a_tick_whatever_it_does(rig: Rig) -> None:
    """Also one that was moved about among what is overdue, and mentioned there more than once."""
    rig.reaction = lambda key: rig.wheel.arm(key, rig.now_ms - 1)
    rig.arm(7, in_ms=-10)
    rig.arm(7, in_ms=-20)
    rig.arm(7, in_ms=-30)
    for _ in range(3):
        assert rig.after(0) == [7]


def test_a_key_may_be_cancelled_by_one_that_is_fired_before_it(rig: Rig) -> None:
    """Although both are due in the same tick."""
    rig.reaction = lambda key: rig.wheel.cancel(key + 1)
    for key in (1, 2, 3):
        rig.arm(key, in_ms=key)
    assert rig.after(10) == [1, 3]


def test_a_key_may_be_moved_out_by_one_that_is_fired_before_it(rig: Rig) -> None:
    """What was due in the same tick is not any more."""
    rig.reaction = lambda key: rig.arm(2, in_ms=100) if key == 1 else None
    for key in (1, 2, 3):
        rig.arm(key, in_ms=key)
    assert rig.after(10) == [1, 3]
    assert rig.after(100) == [2]


Reaction = tuple[str, int, int]
KEYS = st.integers(min_value=1, max_value=8)
SPANS_MS = st.one_of(
    st.integers(min_value=-200, max_value=200),
    st.builds(lambda blocks, ms: blocks * BLOCK_MS + ms, st.integers(0, 4), st.integers(-60, 60)),
    st.sampled_from([-YEAR_MS, 30 * MINUTE_MS, HOUR_MS, 24 * HOUR_MS]),
)
STEPS_MS = SPANS_MS.filter(lambda ms: ms >= 0)


@given(
    armed=st.lists(st.tuples(KEYS, SPANS_MS), min_size=1, max_size=8),
    reactions=st.lists(st.tuples(st.sampled_from(["arm", "cancel"]), KEYS, SPANS_MS), max_size=30),
    steps_ms=st.lists(STEPS_MS, max_size=10),
    most=st.integers(min_value=1, max_value=4),
)
@settings(max_examples=200, deadline=None)
def test_whatever_fire_does_each_arming_is_met_once(
    armed: list[tuple[int, int]], reactions: list[Reaction], steps_ms: list[int], most: int
) -> None:
    """Never early, never twice in a tick, none forgotten; a sorted list would do the same."""
    rig = Rig(most=most)
    pending: dict[int, int] = {}
    waiting: set[int] = set()

    def arm(key: int, in_ms: int) -> None:
        pending[key] = rig.now_ms + in_ms
        waiting.add(key)
        rig.wheel.arm(key, pending[key])

    def react(key: int) -> None:
        assert pending.pop(key) <= rig.now_ms
        if not reactions:
            return
        what, other, in_ms = reactions.pop()
        if what == "arm":
            arm(other, in_ms)
        else:
            assert rig.wheel.cancel(other) == (pending.pop(other, None) is not None)

    rig.reaction = react
    for key, in_ms in armed:
        arm(key, in_ms)
    for step_ms in [*steps_ms, *[25 * HOUR_MS, *[TICK_MS] * 10] * 8]:
        waiting.clear()
        fired = rig.after(step_ms)
        assert len(set(fired)) == len(fired) <= most
        assert len(rig.wheel) == len(pending)
        if len(fired) < most:
            assert all(pending[key] > rig.now_ms for key in pending.keys() - waiting)
    assert not pending


class SortedList(RuleBasedStateMachine):
    """The wheel beside the plainest thing that does the same."""

    @initialize(most=st.integers(min_value=1, max_value=4), into_tick_ms=st.integers(min_value=0, max_value=49))
    def begin(self, most: int, into_tick_ms: int) -> None:
        self.most = most
        self.rig = Rig(most=most, into_tick_ms=into_tick_ms)
        self.deadlines: dict[int, int] = {}

    @rule(key=KEYS, in_ms=SPANS_MS)
    def arm(self, key: int, in_ms: int) -> None:
        self.deadlines[key] = self.rig.now_ms + in_ms
        self.rig.arm(key, in_ms=in_ms)

    @rule(key=KEYS, out_ms=STEPS_MS)
    def touch(self, key: int, out_ms: int) -> None:
        if key in self.deadlines:
            self.deadlines[key] += out_ms
            self.rig.wheel.arm(key, self.deadlines[key])

    @rule(key=KEYS)
    def cancel(self, key: int) -> None:
        assert self.rig.wheel.cancel(key) == (self.deadlines.pop(key, None) is not None)

    @rule(by_ms=st.sampled_from([HOUR_MS, -HOUR_MS, YEAR_MS, -YEAR_MS, 1, -1]))
    def set_the_wall_clock(self, by_ms: int) -> None:
        self.rig.machine.set_wall(by_ms=by_ms)

    @rule(ms=STEPS_MS)
    def advance(self, ms: int) -> None:
        self.rig.machine.advance(ms=ms)

    @rule(ms=STEPS_MS)
    def tick(self, ms: int) -> None:
        fired = self.rig.after(ms)
        due = sorted((at_ms, key) for key, at_ms in self.deadlines.items() if at_ms <= self.rig.now_ms)
        assert fired == [key for _, key in due[: self.most]]
        for key in fired:
            del self.deadlines[key]

    @precondition(lambda self: self.deadlines)
    @rule(data=st.data(), early_ms=st.integers(min_value=0, max_value=1))
    def tick_at_a_deadline(self, data: st.DataObject, early_ms: int) -> None:
        deadline_ms = data.draw(st.sampled_from(sorted(self.deadlines.values())))
        self.tick(max(deadline_ms - early_ms - self.rig.now_ms, 0))

    @invariant()
    def both_know_the_same_deadlines(self) -> None:
        if hasattr(self, "deadlines"):
            assert len(self.rig.wheel) == len(self.deadlines)
            assert all(self.rig.wheel.deadline(key) == at_ms for key, at_ms in self.deadlines.items())


SortedList.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestSortedList = SortedList.TestCase


# On the event loop


@contextlib.asynccontextmanager
async def running(wheel: TimerWheel) -> AsyncIterator[None]:
    task = asyncio.create_task(wheel.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_on_a_real_clock_it_is_never_early_and_hardly_late() -> None:
    """A tick and the lag of a busy machine, no more."""
    clock = SteadyClock(SystemClock())
    late_ms: dict[int, int] = {}
    done = asyncio.Event()

    def fire(key: int) -> None:
        late_ms[key] = clock.now_ms() - begun_ms - key
        if len(late_ms) == 4:
            done.set()

    wheel = TimerWheel(clock, fire)
    begun_ms = clock.now_ms()
    for key in (0, 60, 130, 131):
        wheel.arm(key, begun_ms + key)
    async with running(wheel), asyncio.timeout(5):
        await done.wait()
    assert list(late_ms) == [0, 60, 130, 131]
    assert all(0 <= ms < TICK_MS + 400 for ms in late_ms.values())


async def test_after_a_hold_up_of_the_loop_it_catches_up() -> None:
    """What fell due while something blocked the loop is met by the first tick after it."""
    fired: list[int] = []
    clock = SteadyClock(SystemClock())
    wheel = TimerWheel(clock, fired.append, tick_ms=5)
    async with running(wheel):
        await asyncio.sleep(0)
        for key in range(10):
            wheel.arm(key, clock.now_ms() + key * 10)
        time.sleep(0.1)
        await asyncio.sleep(0.02)
        assert fired == list(range(10))
