"""When to come back, as servers say it."""

from datetime import UTC, datetime

import pytest

from gateway.agents.chat_failures import retry_after_ms

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Fri, 20 Nov 2026 09:30:30 GMT", 30_000),
        ("Fri, 20 Nov 2026 10:30:30 +0100", 30_000),
        ("Fri, 20 Nov 2026 09:30:30 -0000", 30_000),
        ("Fri, 20 Nov 2026 09:29:30 GMT", 0),
        ("Fri, 20 Nov 2026 09:30:30 +99999999999999", None),
        ("1.0001", 1001),
        ("inf", None),
    ],
)
def test_retry_after(said: str, expected: int | None) -> None:
    """Milliseconds from now, rounded up: nobody comes back too early."""
    assert retry_after_ms({"Retry-After": said}, now=NOW) == expected


def test_no_retry_after() -> None:
    """Nothing said is nothing known."""
    assert retry_after_ms({}, now=NOW) is None
