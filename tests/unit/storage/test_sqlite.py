"""What only the store on disk can get wrong: its directory, its lock, its schema, a full disk."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.storage import sqlite, sqlite_file, sqlite_writes
from gateway.storage.base import Commit, StoreFault, StoreRefused
from gateway.storage.sqlite import SqliteStore
from gateway.storage.sqlite_file import MIGRATIONS
from gateway.storage.sqlite_listing import Listing
from tests.contract.stores import answer, commit_all, event, ids_of, said, seqs_of, session
from tests.disk import full_disk

HOLDER = """
import asyncio, sys, pathlib
from gateway.storage.sqlite import SqliteStore

async def hold():
    await SqliteStore.open(pathlib.Path(sys.argv[1]))
    print("held", flush=True)
    await asyncio.Event().wait()

asyncio.run(hold())
"""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with asyncio.timeout(30):
        opened = await SqliteStore.open(tmp_path)
        yield opened
        await opened.close()


async def reopened(data_dir: Path) -> SqliteStore:
    """Opened once more, to see what a restart finds."""
    async with asyncio.timeout(10):
        return await SqliteStore.open(data_dir)


async def refusal(data_dir: Path) -> str:
    """Why the store cannot be opened."""
    with pytest.raises(StoreRefused) as refused:
        await reopened(data_dir)
    return str(refused.value)


async def test_a_directory_of_its_own(tmp_path: Path) -> None:
    """Made with its parents, for its owner alone."""
    data_dir = tmp_path / "deep" / "data"
    await (await reopened(data_dir)).close()
    assert data_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["with space", "a#b?c", "100%25", "ü 👩‍👩‍👧", "it's"])
async def test_any_directory_name(tmp_path: Path, name: str) -> None:
    """Nothing in a path is taken for more than a name."""
    store = await reopened(tmp_path / name)
    await store.commit(said(1, 1))
    assert await seqs_of(store, 1) == [1]
    await store.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


async def test_a_relative_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stays where it was when it was opened, wherever the process goes."""
    monkeypatch.chdir(tmp_path)
    store = await reopened(Path("data"))
    await store.commit(said(1, 1))
    assert await seqs_of(store, 1) == [1]
    await store.close()
    assert (tmp_path / "data" / "gateway.db").is_file()


async def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """With a sentence that says why; kill -9 of the first frees the directory."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            assert str(tmp_path) in (said := await refusal(tmp_path))
            assert "Another gateway" in said
        finally:
            holder.kill()
            holder.wait(10)
    await (await reopened(tmp_path)).close()


async def test_the_same_process_is_refused_too(store: SqliteStore, tmp_path: Path) -> None:
    """One store a directory; once closed it is free again."""
    assert "Another gateway" in await refusal(tmp_path)
    await store.close()
    await (await reopened(tmp_path)).close()


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/gateway", "/dev/null/data"])
async def test_a_directory_that_cannot_be(tmp_path: Path, place: str) -> None:
    """A file, a place under a file, a place that takes no directories: named in the refusal, with what to do."""
    (tmp_path / "file").write_text("mine")
    said = await refusal(tmp_path / place)
    assert str(tmp_path / place) in said
    assert "--data-dir" in said
    assert (tmp_path / "file").read_text() == "mine"


async def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    """Is left as it is, and nothing keeps the lock."""
    (tmp_path / "gateway.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    for _ in range(2):
        assert str(tmp_path / "gateway.db") in await refusal(tmp_path)
    assert (tmp_path / "gateway.db").read_bytes().startswith(b"not a database")


def user_version(data_dir: Path, version: int | None = None) -> int:
    """The schema's number; set, when one is given."""
    with closing(sqlite3.connect(data_dir / "gateway.db", isolation_level=None)) as connection:
        if version is not None:
            connection.execute(f"PRAGMA user_version = {version}")
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


async def test_migrations_run_once(tmp_path: Path) -> None:
    """A restart finds the schema up to date and the data where they were; ids go on."""
    for expected in (1, 2, 3):
        store = await reopened(tmp_path)
        assert await store.next_session_id() == expected
        await store.commit(session(expected, key=f"k{expected}"))
        assert sorted(await ids_of(store)) == list(range(1, expected + 1))
        await store.close()
        assert user_version(tmp_path) == len(list(MIGRATIONS.glob("*.sql")))


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """An older gateway does not touch the data of a newer one."""
    store = await reopened(tmp_path)
    await store.commit(said(1, 1))
    await store.close()
    known = user_version(tmp_path)
    user_version(tmp_path, known + 1)
    assert "newer gateway" in await refusal(tmp_path)
    assert user_version(tmp_path, known) == known
    store = await reopened(tmp_path)
    assert await seqs_of(store, 1) == [1]
    await store.close()


async def test_a_new_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is new is run; one that fails changes nothing."""
    scripts = tmp_path / "sql"
    shutil.copytree(MIGRATIONS, scripts)
    known = len(list(scripts.iterdir()))
    monkeypatch.setattr(sqlite_file, "MIGRATIONS", scripts)
    await (await reopened(tmp_path / "data")).close()
    script = scripts / "9999_more.sql"
    script.write_text("CREATE TABLE more (x); CREATE TABLE sessions (x);")
    await refusal(tmp_path / "data")
    assert user_version(tmp_path / "data") == known
    script.write_text("CREATE TABLE more (x);")
    await (await reopened(tmp_path / "data")).close()
    assert user_version(tmp_path / "data") == known + 1


@pytest.mark.parametrize(
    "bad",
    [
        session(9, message_count=2**63),
        session(9, title="x", key="half \ud800"),
        session(9, cost_usd=object()),
        Commit(session=2**64, chunks=[b"x"]),
    ],
    ids=["too large a number", "no UTF-8", "no value", "too large an id"],
)
async def test_what_no_column_takes(store: SqliteStore, bad: Commit) -> None:
    """Is the fault of its commit alone, whatever the driver raises."""
    results = await commit_all(store, said(1, 1), bad, said(1, 2))
    assert [type(result) for result in results] == [type(None), StoreFault, type(None)]
    await store.commit(said(1, 3))
    assert (await seqs_of(store, 1), await ids_of(store)) == ([1, 2, 3], [])


async def test_questions_that_no_column_answers(store: SqliteStore) -> None:
    """Are a StoreFault, and the next one is answered."""
    for question in (seqs_of(store, 2**64), ids_of(store, after=(1,)), ids_of(store, after=({}, 1, 2))):
        with pytest.raises(StoreFault):
            await question
    for _ in range(4):
        assert await ids_of(store) == []


async def test_what_is_queued_when_it_closes(tmp_path: Path) -> None:
    """Closing commits what was queued before; later commits are refused; closing twice is nothing."""
    store = await reopened(tmp_path)
    queued = [store.commit(said(1, seq)) for seq in range(1, 300)]
    await store.close()
    await asyncio.gather(*queued)
    with pytest.raises(StoreFault):
        await store.commit(said(1, 300))
    await store.close()
    store = await reopened(tmp_path)
    assert await seqs_of(store, 1) == list(range(1, 300))
    await store.close()


async def test_a_full_disk(store: SqliteStore, tmp_path: Path) -> None:
    """Every commit that finds no room is a StoreFault and changes nothing; with room again all is well."""
    await store.commit(Commit(session=1, events=[event(1)], chunks=[b"kept"]))
    big = Commit(session=1, events=[event(2, "x" * 200_000)], drop_chunks=True, purge_to=1)
    with full_disk(tmp_path):
        results = await commit_all(store, big, big)
        assert {type(result) for result in results} == {StoreFault}
        assert (await seqs_of(store, 1), await store.chunks(1)) == ([1], [b"kept"])
    assert await store.writable()
    await store.commit(big)
    assert (await seqs_of(store, 1), await store.chunks(1)) == ([2], [])


async def test_a_disk_without_any_room(store: SqliteStore, tmp_path: Path) -> None:
    """It says that it takes no writes, for as long as that is so."""
    await store.commit(Commit(session=1, events=[event(1)], answer=answer(b"old", at=1)))
    with full_disk(tmp_path):
        assert not await store.writable()
        with pytest.raises(StoreFault):
            await store.commit(said(1, 2))
        with pytest.raises(StoreFault):
            await store.prune_answers(2)
        assert await seqs_of(store, 1) == [1]
    assert await store.writable()
    assert await store.answer(b"old") is not None
    await store.commit(said(1, 2))
    assert await seqs_of(store, 1) == [1, 2]


@pytest.mark.parametrize("fault", [sqlite3.OperationalError("disk I/O error"), ValueError("no words"), OSError(5, "x")])
@pytest.mark.parametrize("place", ["connect", "fill"])
async def test_a_start_that_fails_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, fault: Exception
) -> None:
    """Is a refusal, and leaves no connection, no thread and no lock."""
    opened, closed = list[sqlite_file.Connection](), list[sqlite_file.Connection]()

    async def connect(target: str, *, uri: bool = False) -> sqlite_file.Connection:
        if place == "connect" and len(opened) == 4:
            raise fault
        opened.append(await sqlite_file.connect(target, uri=uri))
        return opened[-1]

    async def fill_some(self: Listing) -> None:
        raise fault

    close = sqlite_file.Connection.close

    async def closing(self: sqlite_file.Connection) -> None:
        closed.append(self)
        await close(self)

    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "connect", connect)
        patch.setattr(sqlite_file.Connection, "close", closing)
        if place == "fill":
            patch.setattr(Listing, "fill_some", fill_some)
        assert str(tmp_path / "gateway.db") in await refusal(tmp_path)
    assert opened
    assert closed == opened[::-1]
    await (await reopened(tmp_path)).close()


async def test_a_writer_that_meets_something_unforeseen(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its group is told, and the next one is stored."""

    def broken(*_: object, **__: object) -> list[Exception | None]:
        raise KeyError("nobody thought of that")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_writes, "write", broken)
        results = await commit_all(store, said(1, 1), said(1, 2))
        assert [type(result) for result in results] == [StoreFault, StoreFault]
    await store.commit(said(1, 1))
    assert await seqs_of(store, 1) == [1]
