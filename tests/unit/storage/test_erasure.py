"""What was reset or deleted is in no file of the store, whatever happened around it."""

import asyncio
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from gateway.storage import sqlite, sqlite_writes
from gateway.storage.base import Answer, Commit, EventQuery, EventRow, SearchQuery, SessionQuery, SessionRow, Store
from gateway.storage.words import parse
from tests.contract.stores import NO_END, row
from tests.contract.stores import sqlite as sqlite_store

ALL = SessionQuery(tenant=None, include_empty=True, limit=1)
RUNS = 8
STEPS = 150


def files(data_dir: Path) -> bytes:
    """Every byte of the store: database, write-ahead log, shared memory, and whatever else is there."""
    return b"".join(path.read_bytes() for path in sorted(data_dir.iterdir()))


class Scribe:
    """Writes words that can be found again, and knows which of them must be gone."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store, self.chance = store, random.Random(seed)
        self.kept: dict[int, set[bytes]] = {}
        self.erased: set[bytes] = set()
        self.heads: dict[int, int] = {}
        self._words = 0

    def word(self, id: int) -> str:
        """A marker of this session, somewhere in text of some length."""
        self._words += 1
        marker = f"marker-{id}-{self._words:05}-{self.chance.randrange(10**15):015}"
        self.kept.setdefault(id, set()).add(marker.encode())
        long = self.chance.random() < 0.15
        filler = "lorem " * self.chance.randrange(300 if long else 10)
        return f"{filler}{marker} {filler[:100]}"

    def events(self, id: int) -> list[EventRow]:
        """Messages and tool output."""
        found = []
        for _ in range(self.chance.randrange(1, 5)):
            self.heads[id] = self.heads.get(id, 0) + 1
            body = msgspec.json.encode({"seq": self.heads[id], "content": self.word(id), "output": [self.word(id)]})
            found.append(EventRow(self.heads[id], "message.user", body))
        return found

    def details(self, id: int) -> bytes:
        """Title, label and metadata."""
        words = {"title": self.word(id), "labels": {"l": self.word(id)}, "metadata": {"m": [self.word(id)]}}
        return msgspec.json.encode(words)

    def answer(self, id: int) -> Answer:
        """One that shows a title."""
        self._words += 1
        scope, result = b"s%d" % self._words, self.word(id).encode()
        return Answer(scope=scope, fingerprint=b"f", at=self._words, result=result, has_words=True)

    def step(self) -> asyncio.Future[None]:
        """Something that happens to some session."""
        id = self.chance.randrange(1, 9)
        match self.chance.choice(["events", "events", "details", "chunk", "chunk", "message", "answer", "reset"]):
            case "events":
                return self.store.commit(Commit(session=id, row=self.row(id), events=self.events(id)))
            case "details":
                return self.store.commit(Commit(session=id, row=self.row(id), details=self.details(id)))
            case "chunk":
                return self.store.commit(Commit(session=id, chunks=[self.word(id).encode()]))
            case "message":
                return self.store.commit(Commit(session=id, row=self.row(id), events=self.events(id), drop_chunks=True))
            case "answer":
                return self.store.commit(Commit(session=id, answer=self.answer(id)))
            case _:
                return self.erase(id)

    def row(self, id: int) -> SessionRow:
        """Its line, changed."""
        return row(id, last_activity_at=self._words, tokens=self.chance.randrange(10**6))

    def erase(self, id: int) -> asyncio.Future[None]:
        """Reset or delete it: all it said is to be gone, and what it says from now on is not."""
        self.erased |= self.kept.pop(id, set())
        head = self.heads.get(id, 0)
        details = self.details(id) if self.chance.random() < 0.5 else None
        gone = Commit(session=id, row=self.row(id), purge_to=head, forget=True, drop_chunks=True, details=details)
        return self.store.commit(gone)


async def read_on(store: Store) -> None:
    """A reader that never rests."""
    while True:
        await store.events(EventQuery(session=1, after=0, before=NO_END, limit=500, max_bytes=2**20))
        await store.sessions(SessionQuery(tenant=None, include_empty=True, limit=200, search="lorem", by="title"))
        await store.search(SearchQuery(terms=parse("lorem"), sessions=ALL, limit=200))


@pytest.mark.parametrize("seed", range(RUNS))
async def test_nothing_erased_is_left(tmp_path: Path, seed: int) -> None:
    """After each reset or delete, with readers and writers at work, and at the end; all that was kept is there."""
    async with asyncio.timeout(30), sqlite_store(tmp_path) as store:
        scribe = Scribe(store, seed)
        readers = [asyncio.create_task(read_on(store)) for _ in range(2)]
        for _ in range(STEPS):
            await asyncio.gather(*(scribe.step() for _ in range(scribe.chance.randrange(1, 4))))
            if scribe.chance.random() < 0.05:
                await scribe.erase(scribe.chance.randrange(1, 9))
                assert remains(tmp_path, scribe) == set()
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        for id in (1, 2, 3):
            await scribe.erase(id)
        assert remains(tmp_path, scribe) == set()
        kept = await everything_kept(store, scribe)
    assert remains(tmp_path, scribe) == set()
    content = files(tmp_path)
    assert kept
    assert {marker for marker in kept if marker not in content} == set()


def remains(data_dir: Path, scribe: Scribe) -> set[bytes]:
    """Markers that should be gone and are not; the index has the end of their last number."""
    content = files(data_dir)
    return {marker for marker in scribe.erased if marker in content or marker[-11:] in content}


async def everything_kept(store: Store, scribe: Scribe) -> set[bytes]:
    """The markers that can still be read from logs; each session's log is complete."""
    found: set[bytes] = set()
    for id in scribe.heads:
        page = await store.events(EventQuery(session=id, after=0, before=NO_END, limit=10_000, max_bytes=2**30))
        text = b"".join(event.body for event in page.events)
        found |= {marker for marker in scribe.kept.get(id, ()) if marker in text}
        assert not any(marker in text for marker in scribe.erased)
    return found


async def test_an_erased_word_survives_no_crash(tmp_path: Path) -> None:
    """One between erasing and emptying the write-ahead log leaves words in it: the next start takes them out."""
    before, after = tmp_path / "before", tmp_path / "after"
    async with sqlite_store(before):
        pass
    with closing(sqlite3.connect(before / "gateway.db", isolation_level=None)) as connection:
        said = Commit(session=1, row=row(1), events=[EventRow(1, "message.user", b"marker")], details=b'{"x":"marker"}')
        assert sqlite_writes.write([said], connection) == [None]
        gone = Commit(session=1, row=row(1, deleted_at=1), purge_to=1, forget=True)
        assert sqlite_writes.write([gone], connection) == [None]
        shutil.copytree(before, after)
    assert b"marker" in files(after)
    async with asyncio.timeout(10), sqlite_store(after):
        is_left = b"marker" in files(after)
    assert not is_left


async def test_a_reader_of_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that holds the write-ahead log keeps words in it until it lets go, and holds up no other commit."""
    monkeypatch.setattr(sqlite, "ERASE_PATIENCE_MS", 200)
    async with asyncio.timeout(30), sqlite_store(tmp_path) as store:
        await store.commit(Commit(session=1, events=[EventRow(1, "message.user", b"marker")]))
        with closing(sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)) as backup:
            backup.execute("BEGIN")
            backup.execute("SELECT COUNT(*) FROM events").fetchone()
            await store.commit(Commit(session=1, purge_to=1))
            assert b"marker" in files(tmp_path)
            async with asyncio.timeout(2):
                for n in range(20):
                    await store.commit(Commit(session=1, chunks=[b"%d" % n]))
        while b"marker" in files(tmp_path):
            await asyncio.sleep(0.01)
