"""Lists: `Columns` finds, the file tells what was found, both as of the same commit.

A list runs in a thread of its own, so that no question holds up another kind of
reading. After a start the columns are filled in the background; until then the
file answers (`sqlite_directory`), right but slower.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

from msgspec.structs import fields

from . import sqlite_directory
from .base import Commit, SessionPage, SessionQuery, SessionRow, StoredSession
from .columns import Columns
from .sqlite_file import snapshot

CHUNK = 2000
REST = 0.5
"""Pause between chunks while filling, as a share of a chunk's time: a start must not starve everybody else."""
FED = 256
"""So many commits wait for the next list; then they are taken over without one."""
_COLUMNS = [field.name for field in fields(SessionRow)]
_CHUNK = (
    f"SELECT t.body, {', '.join(f's.{name}' if name != 'state' else 'NULL' for name in _COLUMNS)}"
    " FROM sessions s LEFT JOIN texts t ON t.pos = s.details WHERE s.id > ? ORDER BY s.id LIMIT ?"
)


class Thread(Protocol):
    """Runs functions on a connection, one after the other."""

    async def run(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Run `work` in the connection's thread."""


class Listing:
    """Answers session queries; `publish` is how the writer ends its transactions."""

    def __init__(self, thread: Thread, filler: Thread) -> None:
        self._thread, self._filler = thread, filler
        self._columns = Columns()
        self._filled_to: int | None = 0
        self._between_commits = threading.Lock()
        self._fed: list[Commit] = []

    @property
    def is_filled(self) -> bool:
        """Whether the columns hold every session."""
        return self._filled_to is None

    def publish(self, connection: sqlite3.Connection, commits: Sequence[Commit]) -> None:
        """Commit the transaction, and feed the columns, with nobody looking in between."""
        with self._between_commits:
            connection.execute("COMMIT")
            for commit in commits:
                self._fed += (commit,) if commit.also is None else (commit, commit.also)

    async def page(self, query: SessionQuery) -> SessionPage:
        """Read a page of the projection."""
        page: SessionPage = await self._thread.run(partial(self._page, query))
        return page

    async def fill(self) -> None:
        """Take over what the file holds."""
        while not self.is_filled:
            begun = time.monotonic()
            await self._filler.run(self._fill_some)
            if not self.is_filled:
                await asyncio.sleep(REST * (time.monotonic() - begun))

    async def fill_some(self) -> None:
        """Take over one chunk: all of a small store."""
        await self._filler.run(self._fill_some)

    def drain(self) -> Awaitable[None] | None:
        """Take over what was fed, when it is much: for when nobody lists."""
        if not self.is_filled or len(self._fed) < FED:
            return None
        return self._thread.run(lambda _: self._take(self._swap()))

    def _page(self, query: SessionQuery, connection: sqlite3.Connection) -> SessionPage:
        with snapshot(connection):
            if not self.is_filled:  # until then the columns are the filler's alone
                return sqlite_directory.page(query, connection)
            self._catch_up(connection)
            found = self._columns.find(query)
            return SessionPage(_stored(connection, found.ids), found.last, found.total)

    def _catch_up(self, connection: sqlite3.Connection) -> None:
        """Bring the columns to the very commit that the connection sees from here on."""
        with self._between_commits:
            connection.execute("SELECT 1 FROM sessions LIMIT 1").fetchall()
            fed = self._swap()
        self._take(fed)

    def _swap(self) -> list[Commit]:
        fed, self._fed = self._fed, []
        return fed

    def _take(self, commits: Sequence[Commit]) -> None:
        """Sessions that are not filled in yet will be read as they are then."""
        rows: dict[int, SessionRow] = {}
        words: dict[int, bytes | None] = {}
        for commit in commits:
            if self._filled_to is not None and commit.session > self._filled_to:
                continue
            if commit.row is not None:
                rows[commit.session] = commit.row
            if commit.forget or commit.details is not None:
                words[commit.session] = commit.details
        self._columns.put(rows.values(), words)

    def _fill_some(self, connection: sqlite3.Connection) -> None:
        with snapshot(connection):
            self._catch_up(connection)
            found = connection.execute(_CHUNK, (self._filled_to, CHUNK)).fetchall()
        rows = [SessionRow(**dict(zip(_COLUMNS, row[1:], strict=True))) for row in found]
        self._columns.put(rows, {row.id: line[0] for row, line in zip(rows, found, strict=True)})
        self._filled_to = rows[-1].id if len(rows) == CHUNK else None


def _stored(connection: sqlite3.Connection, ids: Sequence[int]) -> list[StoredSession]:
    rows = connection.execute(
        "SELECT s.id, s.state, t.body FROM sessions s LEFT JOIN texts t ON t.pos = s.details"
        f" WHERE s.id IN ({', '.join('?' * len(ids))})",
        ids,
    ).fetchall()
    by_id = {id: StoredSession(state, body) for id, state, body in rows}
    return [by_id[id] for id in ids]
