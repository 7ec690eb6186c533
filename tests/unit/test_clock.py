"""Time that nobody can turn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import SteadyClock, SystemClock
from tests.fakes import FakeClock

HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS


@given(
    up_s=st.floats(min_value=0, max_value=1e8),
    steps_ms=st.lists(st.integers(min_value=0, max_value=YEAR_MS), max_size=20),
)
def test_time_passes_to_the_millisecond(up_s: float, steps_ms: list[int]) -> None:
    """Seconds are floats, what is stored are milliseconds; none is lost between them, whatever the machine's uptime."""
    machine = FakeClock(up_s=up_s)
    clock = SteadyClock(machine)
    start_ms = clock.now_ms()
    for step_ms in steps_ms:
        machine.advance(ms=step_ms)
    assert clock.now_ms() == start_ms + sum(steps_ms)
    assert clock.behind_ms == 0


@pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS, YEAR_MS, -YEAR_MS, 1, -1])
def test_setting_the_wall_clock_moves_nothing(jump_ms: int) -> None:
    """Neither forward nor back; the difference can be read."""
    machine = FakeClock()
    clock = SteadyClock(machine)
    before_ms = clock.now_ms()
    machine.set_wall(by_ms=jump_ms)
    assert clock.now_ms() == before_ms
    assert clock.behind_ms == jump_ms
    machine.advance(ms=1500)
    assert clock.now_ms() == before_ms + 1500
    machine.set_wall(by_ms=-jump_ms)
    assert clock.behind_ms == 0


def test_it_starts_at_the_wall_clock() -> None:
    """On a machine that nobody touches it is the wall clock."""
    machine = SystemClock()
    clock = SteadyClock(machine)
    assert abs(clock.now_ms() - machine.now_ms()) < 1000
    assert abs(clock.monotonic() - machine.monotonic()) < 1
