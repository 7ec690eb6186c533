"""Lists: `Columns` finds, the file tells what was found, both as of the same commit.

A list runs in a thread of its own, so that no question holds up another kind of
reading. After a start the columns are filled in the background; until then the
file answers (`sqlite_directory`), right but slower.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import structlog
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
RETRY_S, RETRY_MOST_S = 1.0, 300.0
"""Pause after a fault, twice as long each time; meanwhile the file answers, and nothing is fed."""
_COLUMNS = [field.name for field in fields(SessionRow)]
_CHUNK = (
    f"SELECT t.body, {', '.join(f's.{name}' if name != 'state' else 'NULL' for name in _COLUMNS)}"
    " FROM sessions s LEFT JOIN texts t ON t.pos = s.details WHERE s.id > ? ORDER BY s.id LIMIT ?"
)

log = structlog.get_logger(__name__)


class Thread(Protocol):
    """Runs functions on a connection, one after the other."""

    async def run(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Run `work` in the connection's thread."""


class Listing:
    """Answers session queries; `publish` is how the writer ends its transactions.

    The columns belong to the filler's thread until they are filled, then to the
    lists'. A fault while they are written starts them over from the file.
    """

    def __init__(self, thread: Thread, filler: Thread) -> None:
        self._thread, self._filler = thread, filler
        self._columns = Columns()
        self._filled_to: int | None = 0
        self._between_commits = threading.Lock()
        self._fed: list[Commit] = []
        self._fed_to: int | None = 0  # commits of sessions beyond are not fed: they will be read from the file
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()

    @property
    def is_filled(self) -> bool:
        """Whether the columns hold every session."""
        return self._filled_to is None

    def publish(self, connection: sqlite3.Connection, commits: Sequence[Commit]) -> None:
        """Commit the transaction, and feed the columns, with nobody looking in between."""
        with self._between_commits:
            connection.execute("COMMIT")
            both = (one for commit in commits for one in (commit, commit.also) if one is not None)
            self._fed += [one for one in both if self._fed_to is None or one.session <= self._fed_to]
            is_much = len(self._fed) >= FED
        if is_much:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def page(self, query: SessionQuery) -> SessionPage:
        """Read a page of the projection."""
        page: SessionPage = await self._thread.run(partial(self._page, query))
        return page

    async def fill_some(self) -> None:
        """Take over one chunk: all of a small store."""
        await self._filler.run(self._fill_some)

    async def keep_up(self) -> None:
        """Fill the columns, take over what was fed when nobody lists; never ends, whatever fails."""
        pause = RETRY_S
        while True:
            try:
                await self._fill()
                await self._wake.wait()
                self._wake.clear()
                await self._thread.run(self._drain)
                pause = RETRY_S
            except Exception as error:
                log.error("columns_failed", error=str(error), retry_s=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_MOST_S)

    async def _fill(self) -> None:
        while not self.is_filled:
            begun = time.monotonic()
            await self.fill_some()
            if not self.is_filled:
                await asyncio.sleep(REST * (time.monotonic() - begun))

    def _page(self, query: SessionQuery, connection: sqlite3.Connection) -> SessionPage:
        with snapshot(connection):
            if not (self.is_filled and self._caught_up(connection)):
                return sqlite_directory.page(query, connection)
            found = self._columns.find(query)
            return SessionPage(_stored(connection, found.ids), found.last, found.total)

    def _drain(self, connection: sqlite3.Connection) -> None:
        try:
            if self.is_filled and len(self._fed) >= FED:
                self._caught_up(connection)
        except Exception:  # nothing may pile up until it is tried again
            self._start_over()
            raise

    def _caught_up(self, connection: sqlite3.Connection) -> bool:
        """Bring the columns to the very commit that the connection sees from here on; False: they start over."""
        with self._between_commits:
            connection.execute("SELECT 1 FROM sessions LIMIT 1").fetchall()
            fed, self._fed, self._fed_to = self._fed, [], None
        try:
            self._take(fed)
        except Exception as error:
            log.error("columns_lost", error=str(error))
            self._start_over()
            return False
        return True

    def _start_over(self) -> None:
        """Half of something may be in the columns: everything is read from the file again."""
        with self._between_commits:
            self._columns, self._fed, self._fed_to, self._filled_to = Columns(), [], 0, 0
        self._loop.call_soon_threadsafe(self._wake.set)

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
        try:
            with snapshot(connection):
                if not self._caught_up(connection):
                    return
                found = connection.execute(_CHUNK, (self._filled_to, CHUNK)).fetchall()
            rows = [SessionRow(**dict(zip(_COLUMNS, row[1:], strict=True))) for row in found]
            self._columns.put(rows, {row.id: line[0] for row, line in zip(rows, found, strict=True)})
        except Exception:
            self._start_over()
            raise
        with self._between_commits:
            self._filled_to = self._fed_to = rows[-1].id if len(rows) == CHUNK else None


def _stored(connection: sqlite3.Connection, ids: Sequence[int]) -> list[StoredSession]:
    rows = connection.execute(
        "SELECT s.id, s.state, t.body FROM sessions s LEFT JOIN texts t ON t.pos = s.details"
        f" WHERE s.id IN ({', '.join('?' * len(ids))})",
        ids,
    ).fetchall()
    by_id = {id: StoredSession(state, body) for id, state, body in rows}
    return [by_id[id] for id in ids]
