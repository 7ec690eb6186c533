"""What every Store guarantees of deadlines, of reading many sessions at once and of notes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.storage.base import Commit, Retimed, Store, StoredSession, Tally
from tests.contract.stores import STORES, commit_all, row, session


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with asyncio.timeout(30), STORES[request.param](tmp_path) as opened:
        yield opened


async def test_what_is_due(store: Store) -> None:
    """In the order of the moments, then of the ids, page by page, up to a moment that counts."""
    moments = {1: 30, 2: 10, 3: None, 4: 30, 5: 31, 6: 10}
    await commit_all(
        store, *(session(id, due_at=due_at, expires_at=40 if id == 1 else None) for id, due_at in moments.items())
    )
    assert await store.due((-1, 0), 30, 10) == [(10, 2, None), (10, 6, None), (30, 1, 40), (30, 4, None)]
    assert await store.due((-1, 0), 30, 3) == [(10, 2, None), (10, 6, None), (30, 1, 40)]
    assert await store.due((30, 1), 99, 3) == [(30, 4, None), (31, 5, None)]
    await store.commit(Commit(session=2, row=row(2, due_at=None)))
    assert await store.due((-1, 0), 10, 3) == [(10, 6, None)]


async def test_many_at_once(store: Store) -> None:
    """The newest session of each key that is there, whatever the characters of the key."""
    odd = 'a"b\\c\u2028é/:'
    await commit_all(store, session(1, key=odd, title="one"), session(2, key="k"), session(3, key="k", tenant="t"))
    await store.commit(session(4, key="k", state=b"new"))
    found = await store.load_many([("default", odd), ("default", "k"), ("t", "k"), ("t", odd), ("default", "none")])
    assert found == {topic: await store.load(*topic) for topic in (("default", odd), ("default", "k"), ("t", "k"))}
    assert found["default", "k"].state == b"new"
    assert await store.load_many([]) == {}


async def test_topics(store: Store) -> None:
    """By id, in the order asked for; deleted sessions too, unknown ones left out."""
    await commit_all(store, session(1, key="a"), session(2, key="b", deleted_at=5), session(3, key="c", tenant="t"))
    found = await store.topics([3, 9, 1, 2])
    assert list(found.items()) == [(3, ("t", "c")), (1, ("default", "a")), (2, ("default", "b"))]


async def test_timed(store: Store) -> None:
    """What time can still change: neither deleted nor put away for good; by id, of one agent or of all."""
    fields: dict[int, dict[str, Any]] = {
        1: {},
        2: {"agent": "other"},
        3: {"deleted_at": 1},
        4: {"lifecycle": "ended"},
        5: {"lifecycle": "ended", "archived_at": 1},
        6: {"archived_at": 1},
        7: {"lifecycle": "paused"},
    }
    await commit_all(store, *(session(id, **asked) for id, asked in fields.items()))
    assert [id for id, _ in await store.timed("echo", 0, 10)] == [1, 4, 6, 7]
    assert [id for id, _ in await store.timed("echo", 1, 2)] == [4, 6]
    assert [id for id, _ in await store.timed(None, 0, 10)] == [1, 2, 4, 6, 7]
    (_, first), *_ = await store.timed("echo", 0, 1)
    assert first == await store.load("default", "k1")


async def test_retime(store: Store) -> None:
    """Other moments, unless the session has changed since it was read; its state stays."""
    await commit_all(store, session(1, due_at=10), session(2, due_at=10))
    await store.commit(Commit(session=2, row=replace(row(2, due_at=20), state=b"changed")))
    await store.retime([Retimed(id, b"%d" % id, due_at=5, warn_at=100, expires_at=200) for id in (1, 2, 3)])
    assert await store.due((-1, 0), 99, 10) == [(5, 1, 200), (20, 2, None)]
    assert await store.expiring(150) == 1
    stored = await store.load("default", "k1")
    assert isinstance(stored, StoredSession)
    assert stored.state == b"1"


async def test_notes(store: Store) -> None:
    """Kept by kind and name until they are forgotten; the last one counts."""
    assert await store.notes("a") == {}
    await store.note("a", "x", b"1")
    await store.note("a", "x", b"2")
    await store.note("a", "y", b"")
    await store.note("b", "x", b"3")
    assert await store.notes("a") == {"x": b"2", "y": b""}
    await store.note("a", "x", None)
    await store.note("a", "none", None)
    assert (await store.notes("a"), await store.notes("b")) == ({"y": b""}, {"x": b"3"})


async def test_tally(store: Store) -> None:
    """What somebody may see: of a tenant, of a user and the agents that are theirs; deleted sessions apart."""
    fields: list[dict[str, Any]] = [
        {"lifecycle": "live", "is_busy": True},
        {"lifecycle": "idle", "user": "bob", "warn_at": 5, "expires_at": 9},
        {"lifecycle": "paused", "is_busy": True, "user": "bob", "agent": "polly"},
        {"lifecycle": "ended", "tenant": "t"},
        {"lifecycle": "live", "deleted_at": 1},
    ]
    await commit_all(store, *(session(id, **asked) for id, asked in enumerate(fields, 1)))
    assert await store.tally(None, None, (), 5) == Tally({"live": 1, "idle": 1, "paused": 1, "ended": 1}, 1, 1)
    assert await store.tally("default", "bob", (), 9) == Tally({"idle": 1, "paused": 1}, 0, 0)
    assert await store.tally("default", "ann", ("polly",), 4) == Tally({"live": 1, "paused": 1}, 0, 1)
    assert await store.tally("t", None, (), 5) == Tally({"ended": 1}, 0, 0)
