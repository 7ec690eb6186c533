"""The floor of durable writing: what the gateway wrote, written again with nothing around SQLite.

The same file format, pragmas, rows and groups: one thread takes what waits, at
most GROUP commits, and stores it in one transaction.
"""

import asyncio
import itertools
import sqlite3
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

GROUP = 128
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "temp_store=MEMORY")
"""As in `gateway.storage.sqlite`."""

EVENTS_OF_COMMITS = (2, 1, 3)
"""The events of a message and its answer, in the groups in which the gateway commits them."""


class Commit(NamedTuple):
    """A session's row in the projection, and the events (seq, type, body) that made it so."""

    row: tuple[Any, ...]
    events: tuple[tuple[int, str, bytes], ...]


Message = tuple[Commit, ...]
"""The commits of one message and its answer."""


class Copy:
    """A store like the gateway's, filled by hand. Close it."""

    def __init__(self, like: Path, path: Path) -> None:
        with sqlite3.connect(f"file:{like}?mode=ro", uri=True) as model:
            schema = [sql for (sql,) in model.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
            columns = [column[1] for column in model.execute("PRAGMA table_info(sessions)")]
        model.close()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for statement in (*(f"PRAGMA {pragma}" for pragma in PRAGMAS), *schema):
            self._connection.execute(statement).fetchall()
        self._upsert = (
            f"INSERT INTO sessions ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
            f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in columns[1:])}"
        )
        self._thread = ThreadPoolExecutor(1)
        self._queue: list[tuple[int, Commit, asyncio.Future[None]]] = []
        self._rounds = itertools.count(1)
        self._writing: asyncio.Task[None] | None = None

    async def write(self, conversations: Iterable[Sequence[Message]]) -> list[float]:
        """All conversations side by side; milliseconds until the first commit of each message was durable."""
        offset = next(self._rounds) * 1_000_000
        waits = await asyncio.gather(*(self._converse(messages, offset) for messages in conversations))
        return list(itertools.chain(*waits))

    def close(self) -> None:
        self._thread.shutdown()
        self._connection.close()

    async def _converse(self, messages: Sequence[Message], offset: int) -> list[float]:
        waits = []
        for first, *rest in messages:
            begun = time.monotonic()
            await self._commit(offset, first)
            waits.append((time.monotonic() - begun) * 1000)
            for commit in rest:
                await self._commit(offset, commit)
        return waits

    def _commit(self, offset: int, commit: Commit) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((offset, commit, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        return done

    async def _write_all(self) -> None:
        while self._queue:
            group, self._queue = self._queue[:GROUP], self._queue[GROUP:]
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, group)
            for _, _, done in group:
                done.set_result(None)

    def _write(self, group: Sequence[tuple[int, Commit, Any]]) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        for offset, (row, events), _ in group:
            session = row[0] + offset
            connection.executemany(
                "INSERT INTO events (session, seq, type, body) VALUES (?, ?, ?, ?)",
                [(session, *event) for event in events],
            )
            connection.execute(self._upsert, (session, *row[1:]))
        connection.execute("COMMIT")


def written(store: Path) -> list[list[Message]]:
    """What the gateway wrote, by session: for each message its commits."""
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    sessions = connection.execute("SELECT * FROM sessions").fetchall()
    read = "SELECT seq, type, body FROM events WHERE session = ? ORDER BY seq"
    conversations = [_messages(row, connection.execute(read, row[:1]).fetchall()) for row in sessions]
    connection.close()
    return conversations


def _messages(row: tuple[Any, ...], events: Sequence[tuple[int, str, bytes]]) -> list[Message]:
    """Cut a log where the gateway committed."""
    rest = iter(events[1:])  # after session.created
    return [
        tuple(Commit(row, tuple(itertools.islice(rest, count))) for count in EVENTS_OF_COMMITS)
        for _ in range(len(events) // sum(EVENTS_OF_COMMITS))
    ]
