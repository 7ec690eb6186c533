"""How many sessions there are of each state."""

import pytest
from msgspec.structs import replace

from gateway.sessions.census import Census
from gateway.sessions.lanes import Lane
from gateway.sessions.state import SessionState
from tests.unit.sessions.logs import born

LANE = Lane(("default", "k"))
LIVE, IDLE, ENDED = born(), born(lifecycle="idle"), born(lifecycle="ended")
NOBODY = {"live": 0, "idle": 0, "paused": 0, "ended": 0}


@pytest.mark.parametrize(
    ("before", "after", "counts"),
    [
        (None, LIVE, {"live": 3}),
        (LIVE, LIVE, {"live": 2}),
        (LIVE, IDLE, {"live": 1, "idle": 1}),
        (LIVE, ENDED, {"live": 1, "ended": 1}),
        (LIVE, replace(LIVE, deleted_at=1), {"live": 1}),
        (replace(LIVE, deleted_at=1), LIVE, {"live": 3}),
    ],
    ids=["born", "unchanged", "idle", "ended", "deleted", "born again"],
)
def test_moves(before: SessionState | None, after: SessionState, counts: dict[str, int]) -> None:
    """From where it was counted to where it is; deleted ones are nowhere."""
    census = Census()
    census.begin({"live": 2})
    census.committed(LANE, before, after, ())
    assert census.counts() == NOBODY | counts


def test_the_counts_are_a_copy() -> None:
    """Whoever changes them changes nothing here."""
    census = Census()
    census.counts()["live"] = 99
    assert census.counts() == NOBODY
