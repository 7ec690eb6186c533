"""Time, injected: what is stored and said is UTC milliseconds, durations are monotonic seconds."""

import time
from datetime import UTC, datetime
from typing import Protocol


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


def instant(ms: int) -> str:
    """RFC 3339 in UTC with milliseconds: how the wire says a time."""
    seconds, millis = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix('+00:00')}.{millis:03d}Z"


def parse_instant(text: str) -> int:
    """The milliseconds of an `instant`."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)
