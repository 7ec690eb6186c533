"""One file, one writer, readers beside it: WAL, `synchronous=FULL`, group commit.

The writer thread takes what is queued (at most GROUP commits), stores it in one
transaction and answers all of it after one fsync. Readers have connections of
their own and always fetch everything, so that they never hold the WAL.
"""

import asyncio
import contextlib
import json
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from . import sqlite_directory, sqlite_indexing, sqlite_reads, sqlite_search, sqlite_tokens, sqlite_writes
from .base import (
    Commit,
    EventPage,
    EventQuery,
    Retimed,
    SearchPage,
    SearchQuery,
    SessionPage,
    SessionQuery,
    StoredAnswer,
    StoredSession,
    StoreFault,
    StoreRefused,
    Tally,
    TokenRow,
)
from .sqlite_file import Connection, claim, connect, fill, in_transaction, prepare, truncate_wal
from .sqlite_indexer import Indexer
from .sqlite_listing import Listing

GROUP = 128
READERS = 2
ERASE_PATIENCE_MS = 5000
ERASE_RETRY_S = 0.05

T = TypeVar("T")
log = structlog.get_logger(__name__)


class SqliteStore:
    """The store of one machine."""

    def __init__(
        self,
        data_dir: Path,
        *,
        writer: Connection,
        readers: list[Connection],
        listing: Listing,
        last_session: int,
        held: AsyncExitStack,
    ) -> None:
        self._data_dir, self._writer, self._listing, self._held = data_dir, writer, listing, held
        self._searcher, *self._readers = readers  # a long search holds nobody up but other searches
        self._last_session = last_session
        self._next_reader = 0
        self._queue: deque[tuple[Commit, asyncio.Future[None]]] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._unerased = False
        self._indexer = Indexer(lambda: self._writer.run(partial(in_transaction, sqlite_indexing.step)))
        self._task = asyncio.create_task(self._write(), name="store-writer")
        self._keeping_up = asyncio.create_task(listing.keep_up(), name="store-columns")

    @classmethod
    async def open(cls, data_dir: Path) -> "SqliteStore":
        """Make or open the store in `data_dir`, bring it up to date.

        Raises:
            StoreRefused: the directory cannot be used, is another process's, or
                holds the data of a newer gateway.
        """
        async with AsyncExitStack() as held:
            held.callback(os.close, claim(data_dir))
            try:
                return await cls._open(data_dir, held)
            except (sqlite3.Error, OSError, ValueError) as error:  # also: what no gateway has written
                raise StoreRefused(
                    f"The store {data_dir / 'gateway.db'} cannot be opened: {error}. Check the disk and its free space."
                ) from error

    @classmethod
    async def _open(cls, data_dir: Path, held: AsyncExitStack) -> "SqliteStore":
        """Open the connections, which `held` closes unless the store comes to be."""

        async def opened(target: str, *, uri: bool = False) -> Connection:
            connection = await connect(target, uri=uri)
            held.push_async_callback(connection.close)
            return connection

        path = data_dir / "gateway.db"
        writer = await opened(str(path))
        path.chmod(0o600)
        last_session = await writer.run(prepare)
        read_only = f"{path.absolute().as_uri()}?mode=ro"
        *readers, lister, filler = [await opened(read_only, uri=True) for _ in range(1 + READERS + 2)]
        await lister.run(sqlite_directory.prepare)
        listing = Listing(lister, filler)
        await listing.fill_some()
        return cls(
            data_dir,
            writer=writer,
            readers=readers,
            listing=listing,
            last_session=last_session,
            held=held.pop_all(),
        )

    async def next_session_id(self) -> int:
        """A number that no session had before."""
        self._last_session += 1
        return self._last_session

    def commit(self, commit: Commit) -> asyncio.Future[None]:
        """Queue it; done once it is durable, with StoreFault when it is not."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._closing or self._task.done():
            done.set_exception(StoreFault("the store is closed"))
        else:
            self._queue.append((commit, done))
            self._wake.set()
        return done

    async def load(self, tenant: str, key: str) -> StoredSession | None:
        """The newest session of this key, deleted ones included."""
        rows = await self._rows(
            "SELECT s.state, t.body FROM sessions s LEFT JOIN texts t ON t.pos = s.details"
            " WHERE s.tenant = ? AND s.key = ? ORDER BY s.id DESC LIMIT 1",
            (tenant, key),
        )
        return StoredSession(*rows[0]) if rows else None

    async def events(self, query: EventQuery) -> EventPage:
        """Read a part of a log, at least one event however large, ascending."""
        return await self._read(partial(sqlite_reads.events, query))

    async def chunks(self, session: int) -> list[bytes]:
        """The pieces of the running turn that were stored, in order."""
        rows = await self._rows(
            "SELECT body FROM texts WHERE session = ? AND kind = 'chunk' AND body IS NOT NULL ORDER BY pos", (session,)
        )
        return [body for (body,) in rows]

    async def sessions(self, query: SessionQuery) -> SessionPage:
        """Read a page of the projection."""
        try:
            return await self._listing.page(query)
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:  # also: no position of this order
            raise StoreFault(str(error)) from error

    async def empty(self, tenant: str, user: str, limit: int) -> list[StoredSession]:
        """A user's newest sessions that could be the one empty session that lists show, the newest first."""
        rows = await self._rows(
            "SELECT s.state, t.body FROM sessions s LEFT JOIN texts t ON t.pos = s.details"
            " WHERE s.tenant = ? AND s.user = ? AND s.is_empty AND s.source = 'manual'"
            " AND s.deleted_at IS NULL AND s.archived_at IS NULL ORDER BY s.id DESC LIMIT ?",
            (tenant, user, limit),
        )
        return [StoredSession(*row) for row in rows]

    async def search(self, query: SearchQuery) -> SearchPage:
        """Look for words in what was said; finds all that was committed before the call, or says `is_incomplete`."""
        self._wake.set()
        is_complete = await self._indexer.caught_up()
        page = await self._read(partial(sqlite_search.search, query), self._searcher)
        page.is_incomplete = not is_complete
        return page

    async def busy(self) -> list[StoredSession]:
        """Sessions with a turn that runs or waits."""
        rows = await self._rows(
            "SELECT s.state, t.body FROM sessions s LEFT JOIN texts t ON t.pos = s.details"
            " WHERE s.is_busy ORDER BY s.id"
        )
        return [StoredSession(*row) for row in rows]

    async def counts(self) -> dict[str, int]:
        """Sessions by lifecycle state, deleted ones apart."""
        return dict(
            await self._rows("SELECT lifecycle, COUNT(*) FROM sessions WHERE deleted_at IS NULL GROUP BY lifecycle")
        )

    async def count_open(self, tenant: str, user: str, agent: str) -> int:
        """A user's sessions with an agent that have not ended."""
        rows = await self._rows(
            "SELECT COUNT(*) FROM sessions WHERE tenant = ? AND user = ? AND agent = ?"
            " AND lifecycle IN ('live', 'idle', 'paused') AND deleted_at IS NULL",
            (tenant, user, agent),
        )
        return int(rows[0][0])

    async def expiring(self, now_ms: int) -> int:
        """Sessions within their warning threshold."""
        rows = await self._rows("SELECT COUNT(*) FROM sessions WHERE warn_at <= ? AND expires_at > ?", (now_ms, now_ms))
        return int(rows[0][0])

    async def tally(self, tenant: str | None, user: str | None, owned_agents: Sequence[str], now_ms: int) -> Tally:
        """Count what somebody may see: a tenant's (None: all), of it a user's own and those of agents (None: all)."""
        return await self._read(partial(sqlite_reads.tally, tenant, user, owned_agents, now_ms))

    async def load_many(self, topics: Sequence[tuple[str, str]]) -> dict[tuple[str, str], StoredSession]:
        """What `load` gives, for many at once; those that are not there are left out."""
        rows = await self._rows(
            "WITH asked AS (SELECT json_extract(value, '$[0]') AS tenant, json_extract(value, '$[1]') AS key"
            " FROM json_each(?))"
            " SELECT a.tenant, a.key, s.state, t.body FROM asked a JOIN sessions s ON s.id ="
            " (SELECT MAX(n.id) FROM sessions n WHERE n.tenant = a.tenant AND n.key = a.key)"
            " LEFT JOIN texts t ON t.pos = s.details",
            (json.dumps(topics),),
        )
        return {(tenant, key): StoredSession(state, details) for tenant, key, state, details in rows}

    async def topics(self, sessions: Sequence[int]) -> dict[int, tuple[str, str]]:
        """The tenants and keys of sessions by id, in the order asked for."""
        rows = await self._rows(
            "SELECT s.id, s.tenant, s.key FROM json_each(?) a JOIN sessions s ON s.id = a.value ORDER BY a.key",
            (json.dumps(sessions),),
        )
        return {id: (tenant, key) for id, tenant, key in rows}

    async def due(self, after: tuple[int, int], until_ms: int, limit: int) -> list[tuple[int, int, int | None]]:
        """The next `due_at`, ids and `expires_at`, ascending, behind `after` and not beyond `until_ms`."""
        return await self._rows(
            "SELECT due_at, id, expires_at FROM sessions WHERE (due_at, id) > (?, ?) AND due_at <= ?"
            " ORDER BY due_at, id LIMIT ?",
            (*after, until_ms, limit),
        )

    async def timed(self, agent: str | None, after: int, limit: int) -> list[tuple[int, StoredSession]]:
        """Sessions of an agent, or of all, that time can still change, by id, behind `after`."""
        of_agent = "" if agent is None else " AND s.agent = :agent"
        rows = await self._rows(
            "SELECT s.id, s.state, t.body FROM sessions s LEFT JOIN texts t ON t.pos = s.details"
            " WHERE s.id > :after AND s.deleted_at IS NULL AND NOT (s.lifecycle = 'ended' AND"
            f" s.archived_at IS NOT NULL){of_agent} ORDER BY s.id LIMIT :limit",
            {"agent": agent, "after": after, "limit": limit},
        )
        return [(id, StoredSession(state, details)) for id, state, details in rows]

    async def retime(self, sessions: Sequence[Retimed]) -> None:
        """Take new moments for sessions that have not changed since they were read."""
        await self._change(partial(sqlite_writes.retime, sessions))

    async def notes(self, kind: str) -> dict[str, bytes]:
        """Small things that the gateway keeps for itself, by name."""
        return dict(await self._rows("SELECT name, value FROM notes WHERE kind = ?", (kind,)))

    async def note(self, kind: str, name: str, value: bytes | None) -> None:
        """Keep one, or forget it; durable when this returns."""
        await self._change(partial(sqlite_writes.note, kind, name, value))

    async def answer(self, scope: bytes) -> StoredAnswer | None:
        """What this call was answered before."""
        rows = await self._rows(
            "SELECT a.fingerprint, a.session, t.body FROM answers a JOIN texts t ON t.pos = a.text WHERE a.scope = ?",
            (scope,),
        )
        return StoredAnswer(*rows[0]) if rows else None

    async def prune_answers(self, before_ms: int) -> None:
        """Forget answers older than that."""
        await self._change(partial(sqlite_writes.prune_answers, before_ms))

    async def tokens(self) -> list[TokenRow]:
        """Every gateway token that was ever made, in that order."""
        return await self._read(sqlite_tokens.read)

    async def add_token(self, token: TokenRow) -> None:
        """Keep a new one; durable when this returns."""
        await self._change(partial(sqlite_tokens.add, token))

    async def revoke_token(self, id: str, at_ms: int) -> None:
        """Write down that it was revoked; the first time counts. Durable when this returns."""
        await self._change(partial(sqlite_tokens.revoke, id, at_ms))

    async def touch_tokens(self, used_ms: Mapping[str, int]) -> None:
        """Write down when tokens, by id, were last used."""
        await self._change(partial(sqlite_tokens.touch, used_ms))

    async def writable(self) -> bool:
        """Whether commits would go through now: tried on the disk, not guessed."""
        try:
            await self._writer.run(partial(in_transaction, sqlite_writes.touch))
            await asyncio.to_thread(fill, self._data_dir)
        except (sqlite3.Error, OSError, ValueError):
            return False
        return True

    async def close(self) -> None:
        """Commit what is queued, let go of the files. Idempotent."""
        if self._closing:
            return
        self._closing = True
        self._wake.set()
        await self._task
        self._indexer.close()
        self._keeping_up.cancel()
        await asyncio.gather(self._keeping_up, return_exceptions=True)
        await self._held.aclose()

    def _reader(self) -> Connection:
        self._next_reader = (self._next_reader + 1) % len(self._readers)
        return self._readers[self._next_reader]

    async def _rows(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        return await self._read(lambda connection: connection.execute(sql, parameters).fetchall())

    async def _read(self, work: Callable[[sqlite3.Connection], T], reader: Connection | None = None) -> T:
        try:
            return await (reader or self._reader()).run(work)
        except (sqlite3.Error, ValueError, OverflowError) as error:  # also: closed, a number beyond 64 bits
            raise StoreFault(str(error)) from error

    async def _change(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Write what is no session's commit."""
        try:
            await self._writer.run(partial(in_transaction, work))
        except (sqlite3.Error, ValueError) as error:
            raise StoreFault(str(error)) from error

    async def _write(self) -> None:
        """Take what is queued, commit it in groups, answer; until closed and empty, whatever fails."""
        while True:
            await self._wake_up()
            group = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP))]
            if self._closing and not group:
                return
            try:
                await self._write_group(group)
                await self._indexer.work()
            except Exception as error:
                log.exception("writer_failed")
                _answer(group, [error] * len(group))

    async def _wake_up(self) -> None:
        if self._queue:
            return
        self._wake.clear()
        pauses = [ERASE_RETRY_S if self._unerased else None, self._indexer.pause_s]
        if not self._closing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min((pause for pause in pauses if pause is not None), default=None)):
                    await self._wake.wait()

    async def _write_group(self, group: list[tuple[Commit, asyncio.Future[None]]]) -> None:
        """Store a group and answer it; those that could not be stored alone get their fault."""
        commits = [commit for commit, _ in group]
        faults: list[Exception | None] = []
        if commits:
            faults = await self._writer.run(partial(sqlite_writes.write, commits, publish=self._listing.publish))
        if any(commit.events or commit.purge_to is not None for commit in commits):
            self._indexer.notice()
        await self._erase(any(commit.purge_to is not None or commit.forget for commit in commits))
        _answer(group, faults)

    async def _erase(self, is_asked_for: bool) -> None:
        """Empty the log of what was erased, now or before; what is in the way is for the next time."""
        if is_asked_for or self._unerased:
            patience_ms = ERASE_PATIENCE_MS if is_asked_for else 0  # a backup must not hold up every other commit
            self._unerased = not await self._writer.run(partial(truncate_wal, patience_ms))


def _answer(group: list[tuple[Commit, asyncio.Future[None]]], faults: list[Exception | None]) -> None:
    for (commit, done), fault in zip(group, faults, strict=True):
        if fault is not None and not done.done():
            log.error("commit_failed", session_id=commit.session, error=str(fault))
            done.set_exception(_caused(fault))
        elif not done.done():
            done.set_result(None)


def _caused(fault: Exception) -> StoreFault:
    failure = StoreFault(str(fault))
    failure.__cause__ = fault
    return failure
