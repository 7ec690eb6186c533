"""The file and its directory: who has them, which version they are of, and the threads that work on them."""

import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

import aiosqlite

from .base import StoreRefused

BUSY_MS = 5000
SPARE_BYTES = 256 * 1024
MIGRATIONS = Path(__file__).parent / "sql" / "sqlite"

T = TypeVar("T")


class Connection(aiosqlite.Connection):
    """A connection with its own thread, to which whole functions are handed: one hop each."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the connection's thread."""
        result: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]  # aiosqlite has no other
        return result


async def connect(target: str, *, uri: bool = False) -> Connection:
    """Open it, with a thread that does not hold the process."""
    connection = Connection(
        lambda: sqlite3.connect(target, uri=uri, isolation_level=None, cached_statements=256), iter_chunk_size=64
    )
    connection._thread.daemon = True  # a hung disk must not hold the process
    await connection
    return connection


def claim(data_dir: Path) -> int:
    """Make the directory and lock it; the lock goes with the process, however it ends."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(data_dir / "gateway.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreRefused(
            f"The data directory {data_dir} cannot be used: {error.strerror}."
            " Make it writable, or name another with --data-dir."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StoreRefused(
            f"Another gateway is using the data directory {data_dir}. Stop it, or name another with --data-dir."
        ) from error
    return lock


def prepare(connection: sqlite3.Connection) -> int:
    """Set the connection up, run the migrations that are new, return the highest session id."""
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        "temp_store=MEMORY",
        f"busy_timeout={BUSY_MS}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    scripts = sorted(MIGRATIONS.glob("*.sql"))
    if version > len(scripts):
        raise StoreRefused(
            f"The store was written by a newer gateway (schema {version}, this one knows {len(scripts)})."
            " Upgrade the gateway."
        )
    for number, script in enumerate(scripts[version:], start=version + 1):
        connection.executescript(f"BEGIN;\n{script.read_text()}\nPRAGMA user_version = {number};\nCOMMIT;")
    truncate_wal(BUSY_MS, connection)  # a crash may have come between an erasing commit and this
    (last,) = connection.execute("SELECT COALESCE(MAX(id), 0) FROM sessions").fetchone()
    return int(last)


def fill(data_dir: Path) -> None:
    """Write SPARE_BYTES to the disk, under no name, and give them back."""
    with tempfile.TemporaryFile(dir=data_dir) as file:
        file.write(bytes(SPARE_BYTES))
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str) -> Iterator[None]:
    """All that is done inside, or nothing of it; whatever happens, none is open afterwards."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def snapshot(connection: sqlite3.Connection) -> AbstractContextManager[None]:
    """Everything read inside is as of one commit: the last one before the first reading."""
    return transaction(connection, "DEFERRED")


def in_transaction(work: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
    """Do it all, or nothing of it."""
    with transaction(connection, "IMMEDIATE"):
        return work(connection)


def truncate_wal(patience_ms: int, connection: sqlite3.Connection) -> bool:
    """Move the log's pages into the file and empty it: what was erased is gone from both.

    False when a reader was in the way so long (ours are short: the caller tries again).
    """
    try:
        connection.execute(f"PRAGMA busy_timeout={patience_ms}").fetchall()
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        connection.execute(f"PRAGMA busy_timeout={BUSY_MS}").fetchall()
    except sqlite3.Error:
        return False
    return not busy
