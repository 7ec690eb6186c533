"""Every implementation of Store, and rows to put into one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from gateway.storage.base import Answer, Commit, EventQuery, EventRow, SessionQuery, SessionRow, Store
from gateway.storage.sqlite import SqliteStore
from tests.fakes import BEGINNING_MS, MemoryStore

NO_END = 2**62


@asynccontextmanager
async def sqlite(data_dir: Path) -> AsyncIterator[SqliteStore]:
    """The store of one machine."""
    store = await SqliteStore.open(data_dir)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def sqlite_starting(data_dir: Path) -> AsyncIterator[Store]:
    """The same, as it is shortly after a start with many sessions: the columns are not filled."""
    async with sqlite(data_dir) as store:
        store._listing._filled_to = store._listing._fed_to = 0
        yield store


@asynccontextmanager
async def memory(data_dir: Path) -> AsyncIterator[Store]:
    """The fake."""
    store = MemoryStore()
    yield store
    await store.close()


STORES: dict[str, Callable[[Path], AbstractAsyncContextManager[Store]]] = {
    "sqlite": sqlite,
    "sqlite_starting": sqlite_starting,
    "memory": memory,
}


def row(id: int, **fields: Any) -> SessionRow:
    """A session's line; the state says only its id."""
    usual = {
        "tenant": "default",
        "key": f"k{id}",
        "user": "ann",
        "agent": "echo",
        "model": "echo",
        "channel": "api",
        "source": "manual",
        "project": None,
        "lifecycle": "live",
        "pinned": False,
        "is_empty": False,
        "is_busy": False,
        "message_count": 1,
        "tokens": 0,
        "cost_usd": None,
        "created_at": BEGINNING_MS,
        "last_activity_at": BEGINNING_MS,
        "archived_at": None,
        "deleted_at": None,
        "warn_at": None,
        "expires_at": None,
        "due_at": None,
        "state": b"%d" % id,
    }
    return SessionRow(id=id, **usual | fields)


def session(id: int, *, title: str | None = None, labels: dict[str, str] | None = None, **fields: Any) -> Commit:
    """A commit that makes a session, or changes its line."""
    words = msgspec.json.encode({"title": title, "labels": labels or {}})
    return Commit(session=id, row=row(id, **fields), details=words)


def event(seq: int, text: str = "", type: str = "message.user") -> EventRow:
    """One event that says `text`."""
    return EventRow(seq, type, msgspec.json.encode({"seq": seq, "content": text}))


def said(id: int, *seqs: int, text: str = "") -> Commit:
    """A commit of events."""
    return Commit(session=id, events=[event(seq, text) for seq in seqs])


def answer(scope: bytes, result: bytes = b"{}", *, at: int = 1, has_words: bool = False) -> Answer:
    """An answer to keep."""
    return Answer(scope=scope, fingerprint=b"f" + scope, at=at, result=result, has_words=has_words)


async def commit_all(store: Store, *commits: Commit) -> list[BaseException | None]:
    """Queue them together; what became of each."""
    async with asyncio.timeout(10):
        return await asyncio.gather(*map(store.commit, commits), return_exceptions=True)


async def seqs_of(store: Store, id: int, **fields: Any) -> list[int]:
    """Which events a query of a session's log finds."""
    whole = {"after": 0, "before": NO_END, "limit": 1000, "max_bytes": 2**30}
    page = await store.events(EventQuery(session=id, **whole | fields))
    return [found.seq for found in page.events]


async def ids_of(store: Store, **fields: Any) -> list[int]:
    """Which sessions a query of the projection finds, in order."""
    whole = {"tenant": None, "include_empty": True, "limit": 1000}
    page = await store.sessions(SessionQuery(**whole | fields))
    return [int(found.state) for found in page.sessions]
