"""The index keeps up with the log: each event in it once, erased ones never, whatever comes in between."""

import asyncio
import random
import shutil
import sqlite3
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.storage import sqlite_file, sqlite_indexer, sqlite_indexing, sqlite_search, sqlite_writes
from gateway.storage.base import Commit, SearchQuery, SessionQuery
from gateway.storage.words import parse
from tests.contract.stores import row, said
from tests.contract.stores import sqlite as sqlite_store
from tests.disk import full_disk

EVERYTHING = SessionQuery(tenant=None, include_empty=True, limit=1)


def query(words: str, **fields: int) -> SearchQuery:
    return SearchQuery(terms=parse(words), sessions=EVERYTHING, **{"limit": 10_000} | fields)


def old_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables as they were before there was an index."""
    scripts = tmp_path / "old"
    scripts.mkdir()
    for script in sorted(sqlite_file.MIGRATIONS.glob("*.sql")):
        if script.name < "0004":
            shutil.copy(script, scripts)
    monkeypatch.setattr(sqlite_file, "MIGRATIONS", scripts)


@pytest.mark.parametrize("seed", range(40))
def test_every_event_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Sessions that speak and are erased in any order, tiny parts, an old store: what is found is what is there."""
    monkeypatch.setattr(sqlite_indexing, "PART_DOCS", 4)
    monkeypatch.setattr(sqlite_indexing, "_PART_MOST", 9)
    monkeypatch.setattr(sqlite_indexing, "_STEP_EVENTS", 5)
    monkeypatch.setattr(sqlite_search, "_BATCH", 3)
    chance, there, heads = random.Random(seed), set[tuple[str, int]](), dict[int, int]()
    with closing(sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)) as connection:

        def act() -> None:
            id = chance.randrange(1, 9)
            head = heads.get(id, 0)
            if chance.random() < 0.8:
                count = chance.randrange(1, 4)
                seqs = range(head + 1, head + 1 + count)
                heads[id] = head + count
                there.update((f"k{id}", seq) for seq in seqs)
                commit = said(id, *seqs, text="rain")
                commit.row = row(id)
            else:
                to = head if chance.random() < 0.8 else head // 2
                there.difference_update([(f"k{id}", seq) for seq in range(1, to + 1)])
                commit = Commit(session=id, purge_to=to, forget=True)
            assert sqlite_writes.write([commit], connection) == [None]

        with monkeypatch.context() as patch:
            old_schema(tmp_path, patch)
            sqlite_file.prepare(connection)
            with patch.context() as no_index:
                no_index.setattr(sqlite_indexing, "erase", lambda *_: None)
                for _ in range(20):
                    act()
        sqlite_file.prepare(connection)
        for _ in range(300):
            if chance.random() < 0.5:
                act()
            else:
                sqlite_file.in_transaction(sqlite_indexing.step, connection)
            if chance.random() < 0.1:
                hits = sqlite_search.search(query("rain"), connection).hits
                assert {(hit.key, hit.seq) for hit in hits} <= there
        for _ in range(1000):
            progress = sqlite_file.in_transaction(sqlite_indexing.step, connection)
        assert progress.tail == progress.newest
        assert progress.is_complete
        hits = sqlite_search.search(query("rain"), connection).hits
        assert sorted((hit.key, hit.seq) for hit in hits) == sorted(there)
        (docs,) = connection.execute("SELECT SUM(docs) FROM search_parts").fetchone()
        assert docs >= len(there)


async def test_an_old_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is indexed while it is used; until then new words are found, and a search says that it is not complete."""
    monkeypatch.setattr(sqlite_indexing, "_STEP_EVENTS", 5)
    data_dir = tmp_path / "data"
    with monkeypatch.context() as patch:
        old_schema(tmp_path, patch)
        async with sqlite_store(data_dir) as store:
            for id in range(1, 200):
                await store.commit(Commit(session=id, row=row(id), events=said(id, 1, text="rain").events))
    async with asyncio.timeout(30), sqlite_store(data_dir) as store:
        await store.commit(said(1, 2, text="rain snow"))
        monkeypatch.setattr(sqlite_indexer, "PATIENCE_S", 0)
        page = await store.search(query("rain"))
        assert page.hits[0].seq == 2
        assert page.is_incomplete
        assert len(page.hits) < 200
        monkeypatch.setattr(sqlite_indexer, "PATIENCE_S", 30)
        page = await store.search(query("rain"))
        assert not page.is_incomplete
        assert len(page.hits) == 200


async def test_nobody_has_to_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index follows by itself, soon after."""
    monkeypatch.setattr(sqlite_indexer, "LAG_S", 0.01)
    async with asyncio.timeout(10), sqlite_store(tmp_path) as store:
        await store.commit(Commit(session=1, row=row(1), events=said(1, 1, text="rain").events))
        with closing(sqlite3.connect(tmp_path / "gateway.db")) as connection:
            while not sqlite_search.search(query("rain"), connection).hits:
                await asyncio.sleep(0.01)


async def test_a_search_that_looks_at_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers in time with what it has; going on, all is found."""
    monkeypatch.setattr(sqlite_search, "LOOKED_AT", 10)
    monkeypatch.setattr(sqlite_search, "_BATCH", 4)
    async with asyncio.timeout(10), sqlite_store(tmp_path) as store:
        for id in range(1, 41):
            pinned = row(id, pinned=id in (1, 38))
            await store.commit(Commit(session=id, row=pinned, events=said(id, 1, text="rain").events))
        few = SessionQuery(tenant=None, include_empty=True, limit=1, columns={"pinned": [True]})
        keys, before, pages = list[str](), None, 0
        while pages == 0 or before is not None:
            ask = SearchQuery(terms=parse("rain"), sessions=few, before=before, limit=5)
            page = await store.search(ask)
            keys, before, pages = keys + [hit.key for hit in page.hits], page.before, pages + 1
        assert keys == ["k38", "k1"]
        assert pages >= 4


async def test_a_full_disk(tmp_path: Path) -> None:
    """What is in the index is found, and the answer says that it is not all."""
    async with asyncio.timeout(10), sqlite_store(tmp_path) as store:
        await store.commit(Commit(session=1, row=row(1), events=said(1, 1, text="rain").events))
        assert len((await store.search(query("rain"))).hits) == 1
        await store.commit(said(1, 2, text="rain"))
        with full_disk(tmp_path):
            page = await store.search(query("rain"))
        assert (len(page.hits), page.is_incomplete) == (1, True)
        page = await store.search(query("rain"))
        assert (len(page.hits), page.is_incomplete) == (2, False)


async def test_an_index_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it, whatever it had done before, and it is not tried again and again; later it is."""
    monkeypatch.setattr(sqlite_indexing, "_STEP_EVENTS", 5)
    with monkeypatch.context() as patch:
        old_schema(tmp_path, patch)
        async with sqlite_store(tmp_path / "data") as store:
            for id in range(1, 30):
                await store.commit(Commit(session=id, row=row(id), events=said(id, 1, text="rain").events))
    async with asyncio.timeout(10), sqlite_store(tmp_path / "data") as store:
        begun, steps, step, is_broken = time.monotonic(), list[float](), sqlite_indexing.step, [True]

        def failing(connection: sqlite3.Connection) -> sqlite_indexing.Progress:
            steps.append(time.monotonic())
            if is_broken[0] and len(steps) > 1:  # the newest is found, what is older is not
                raise sqlite3.OperationalError("disk I/O error")
            return step(connection)

        monkeypatch.setattr(sqlite_indexing, "step", failing)
        pages = [await store.search(query("rain")) for _ in range(4)]
        assert all(page.is_incomplete for page in pages)
        assert time.monotonic() - begun < sqlite_indexer.PATIENCE_S
        assert min(later - sooner for sooner, later in pairwise(steps[1:])) >= 0.9 * sqlite_indexer.BACK_OFF_S
        is_broken[0] = False
        assert not (await store.search(query("rain"))).is_incomplete
