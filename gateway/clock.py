"""Time, injected: what is stored and said is UTC milliseconds, durations are monotonic seconds."""

import time
from datetime import UTC, datetime
from typing import Protocol

DAY_MS = 24 * 60 * 60 * 1000


class Clock(Protocol):
    """Where a room gets the time from; tests hand in one that they turn by hand."""

    def now_ms(self) -> int:
        """Wall-clock time, milliseconds since 1970 UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        """Wall-clock time, milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


class SteadyClock:
    """A `Clock` that nobody can turn: the wall-clock time of its start, and what was counted since.

    Stamps and deadlines that are compared with each other come from one of
    these. Only the monotonic clock makes its time pass: setting the wall clock
    moves nothing, and the sleep of a machine whose monotonic clock sleeps too
    does not count. Where both clocks went on, the time did pass.

    The price is that it may come to differ from the wall clock, by `behind_ms`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start_ms = clock.now_ms()
        self._start_s = clock.monotonic()

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC; they never go back and never jump."""
        # The microsecond makes up for floats: 2.3 s must not become 2,299 ms.
        return self._start_ms + int((self._clock.monotonic() - self._start_s) * 1000 + 0.001)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._clock.monotonic()

    def wall_ms(self) -> int:
        """What the wall clock says, where that is later: for what ends at an instant that others set, as tokens do."""
        return self.now_ms() + max(self.behind_ms, 0)

    @property
    def behind_ms(self) -> int:
        """How far the wall clock is ahead: next to nothing until somebody sets it or the machine sleeps."""
        return self._clock.now_ms() - self.now_ms()


def instant(ms: int) -> str:
    """RFC 3339 in UTC with milliseconds: how the wire says a time."""
    seconds, millis = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix('+00:00')}.{millis:03d}Z"


def parse_instant(text: str) -> int:
    """The milliseconds of an `instant`."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)
