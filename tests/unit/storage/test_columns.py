"""What the columns must not do, however right their answers are."""

from collections.abc import Iterator

from gateway.storage.base import SessionQuery
from gateway.storage.columns import Columns
from tests.contract.stores import row


class Unwalked(list[str | None]):
    """Values that are looked up, never all looked at."""

    def __iter__(self) -> Iterator[str | None]:
        raise AssertionError("every value was walked through")


def found(columns: Columns, term: str) -> list[int]:
    return columns.find(SessionQuery(tenant=None, include_empty=True, search=term, limit=10)).ids


def test_searches_among_many_channels() -> None:
    """Clients choose them, so there may be as many as sessions: a search does not look at each."""
    columns = Columns()
    columns.put([row(id, channel=f"Room {id:03}") for id in range(1, 301)], {})
    names = columns._names["channel"]
    names.values = Unwalked(names.values)
    assert found(columns, "room 017") == [17]
    assert found(columns, "k17\nroom") == []
    columns.put([row(17, channel="attic")], {})
    assert (found(columns, "room 017"), found(columns, "AT")) == ([], [17])
