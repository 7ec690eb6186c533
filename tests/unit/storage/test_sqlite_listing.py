"""Lists when something fails below them: the next one is right again, and nothing piles up."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.storage import sqlite_directory, sqlite_listing, sqlite_search
from gateway.storage.base import SearchQuery, SessionQuery, StoreFault
from gateway.storage.columns import Columns
from gateway.storage.sqlite import SqliteStore
from gateway.storage.words import parse
from tests.contract.stores import commit_all, ids_of, session, sqlite


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
    [
        (Columns, "find"),
        (sqlite_listing, "_stored"),
        (sqlite_listing.Listing, "_caught_up"),
        (sqlite_directory, "page"),
    ],
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


async def filled(store: SqliteStore) -> None:
    """When the columns hold every session."""
    while not store._listing.is_filled:
        await asyncio.sleep(0.005)


def once(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, times: int = 1) -> list[int]:
    """Let something fail so many times; the list returned grows with each."""
    real, failures = getattr(place, name), list[int]()

    def sometimes(*args: Any, **fields: Any) -> Any:
        if len(failures) < times:
            failures.append(1)
            raise KeyError("no such thing")
        return real(*args, **fields)

    monkeypatch.setattr(place, name, sometimes)
    return failures


async def test_filling_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again; until then the file answers, and commits leave nothing behind in memory."""
    monkeypatch.setattr(sqlite_listing, "CHUNK", 3)
    async with sqlite(tmp_path) as store:
        await commit_all(store, *(session(id) for id in range(1, 11)))
    async with asyncio.timeout(10), sqlite(tmp_path) as store:
        monkeypatch.setattr(sqlite_listing, "RETRY_S", 0.2)
        failures = once(monkeypatch, Columns, "put", 2)
        while not failures:
            await asyncio.sleep(0.001)
        await commit_all(store, *(session(id, title="new") for id in range(1, 12)))
        assert not store._listing.is_filled
        assert store._listing._fed == []
        assert await ids_of(store, by="key", descending=False, search="new") == [1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]
        await filled(store)
        assert len(failures) == 2
        assert await ids_of(store, by="key", descending=False, search="new") == [1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]


async def test_columns_that_take_no_commit(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read from the file again; the list that found out is answered from there."""
    monkeypatch.setattr(sqlite_listing, "RETRY_S", 0.01)
    await commit_all(store, session(1), session(2))
    failures = once(monkeypatch, Columns, "put")
    assert await ids_of(store) == [2, 1]
    assert failures
    await commit_all(store, session(3))
    assert await ids_of(store) == [3, 2, 1]
    await filled(store)
    assert await ids_of(store) == [3, 2, 1]


async def test_many_commits_and_no_list(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are taken over by themselves, also when that fails at first."""
    monkeypatch.setattr(sqlite_listing, "FED", 4)
    monkeypatch.setattr(sqlite_listing, "RETRY_S", 0.01)
    for failing_times in (0, 1):
        failures = once(monkeypatch, Columns, "put", failing_times)
        await commit_all(store, *(session(id) for id in range(1, 9)))
        while store._listing._fed or len(failures) < failing_times:
            await asyncio.sleep(0.005)
        await filled(store)
        assert sorted(await ids_of(store)) == list(range(1, 9))


async def test_commits_wait_for_no_list(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are answered while a list keeps its thread busy."""
    monkeypatch.setattr(sqlite_listing, "FED", 1)
    released, real = threading.Event(), Columns.find

    def slow(*args: Any) -> Any:
        released.wait(5)
        return real(*args)

    monkeypatch.setattr(Columns, "find", slow)
    listing = asyncio.create_task(ids_of(store))
    try:
        async with asyncio.timeout(2):
            for id in range(1, 5):
                await store.commit(session(id))
    finally:
        released.set()
        await listing
