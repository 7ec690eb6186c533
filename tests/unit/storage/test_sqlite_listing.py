"""Lists when something fails below them: the next one is right again, and nothing piles up."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.storage import sqlite_directory, sqlite_listing, sqlite_search
from gateway.storage.base import SearchQuery, SessionQuery, StoreFault
from gateway.storage.columns import Columns
from gateway.storage.sqlite import SqliteStore
from gateway.storage.words import parse
from tests.contract.stores import ids_of, session


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with asyncio.timeout(30):
        opened = await SqliteStore.open(tmp_path)
        yield opened
        await opened.close()


def failing(*_: Any, **__: Any) -> Any:
    raise sqlite3.OperationalError("disk I/O error")


@pytest.mark.parametrize(
    ("place", "name"),
    [(Columns, "find"), (sqlite_listing, "_stored"), (sqlite_listing.Listing, "_swap"), (sqlite_directory, "page")],
)
async def test_a_list_that_fails(store: SqliteStore, monkeypatch: pytest.MonkeyPatch, place: Any, name: str) -> None:
    """Leaves no transaction open: the next list is answered."""
    await store.commit(session(1))
    if place is sqlite_directory:
        store._listing._filled_to = 0
    with monkeypatch.context() as patch:
        patch.setattr(place, name, failing)
        with pytest.raises(StoreFault, match="disk I/O error"):
            await ids_of(store)
    assert await ids_of(store) == [1]


async def test_a_search_that_fails(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same: one thread answers all searches."""
    ask = SearchQuery(terms=parse("rain"), sessions=SessionQuery(tenant=None, limit=1), limit=1)
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_search, "_filter", failing)
        with pytest.raises(StoreFault, match="disk I/O error"):
            await store.search(ask)
    assert (await store.search(ask)).hits == []
