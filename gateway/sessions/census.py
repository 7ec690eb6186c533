"""How many sessions there are of each state, kept up to date without asking the store."""

from collections.abc import Mapping, Sequence

from gateway.storage.base import EventRow

from .lanes import Lane
from .state import SessionState

STATES = ("live", "idle", "paused", "ended")


class Census:
    """Counts. A Follower; starts from what the store counted."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(STATES, 0)

    def begin(self, counts: Mapping[str, int]) -> None:
        """Take over what is there."""
        self._counts.update(counts)

    def committed(self, lane: Lane, before: SessionState | None, after: SessionState, rows: Sequence[EventRow]) -> None:
        """Move a session from where it was counted to where it is."""
        if before is not None and before.deleted_at is None:
            self._counts[before.lifecycle] -= 1
        if after.deleted_at is None:
            self._counts[after.lifecycle] += 1

    def counts(self) -> dict[str, int]:
        """Sessions by state, deleted ones apart."""
        return dict(self._counts)
