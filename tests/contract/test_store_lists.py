"""Every list of a store is the list of a model: filters, searches and orders at random, page by page."""

import asyncio
import random
import typing
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.storage import columns, ordering, sqlite_listing, topmost
from gateway.storage.base import Commit, SessionQuery, SortBy, Store
from tests.contract.stores import STORES, commit_all, session, sqlite
from tests.fakes import BEGINNING_MS, MemoryStore

SESSIONS = 120
TITLES = [
    None,
    "",
    "b",
    "B",
    "ä",
    "A\u0308",
    "Straße",
    "STRASSE",
    "a_b",
    '50% "off" * NEAR',
    "İstanbul",
    "line\nfeed",
    "wea",
    "Weather in Lisbon",
    "weather",
    "👩‍👩‍👧 emoji",
    "nul\0",
    "\U0001d50aothic",
    "z" * 200,
    "z" * 199 + "y",
]
TERMS = [
    "%",
    "_",
    "'",
    '"',
    "\0",
    "👩‍👩‍👧",
    "z" * 200,
    "*",
    "NEAR",
    "near",
    "A\u0308",
    "ä",
    "SS",
    "ß",
    "straße",
    "w",
    "WE",
    "ather",
    "k1",
    "k",
    ":1",
    "xy",
    "line\nfeed",
    "\n",
    "b\nk",
    "i̇s",
    "\U0001d50a",
    "(",
    "\\",
    "50%",
    "a_b",
    "b",
    "nothing",
]


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with asyncio.timeout(60), STORES[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred sessions go the ways of a million."""
    monkeypatch.setattr(topmost, "ENOUGH", 4)
    monkeypatch.setattr(topmost, "_LEAST", 3)
    monkeypatch.setattr(ordering, "RANGE_ROWS", 3)
    monkeypatch.setattr(columns, "_FEW", 5)
    monkeypatch.setattr(sqlite_listing, "CHUNK", 7)


def any_session(chance: random.Random, id: int) -> Commit:
    """A session that ties with others in most things; one in ten deleted."""
    labels = {name: chance.choice("12") for name in ("team", "tier", "ü") if chance.random() < 0.4}
    commit = session(
        id,
        key=f"k{id % 7}:{id}",
        tenant=chance.choice(["default", "default", "other"]),
        user=chance.choice(["ann", "bob", "eve"]),
        title=chance.choice(TITLES),
        labels=labels,
        agent=chance.choice("abc"),
        model=chance.choice("mn"),
        channel=chance.choice(["xyz", "xy", "Web"]),
        source=chance.choice(["manual", "manual", "scheduled"]),
        project=chance.choice([None, "p"]),
        lifecycle=chance.choice(["live", "idle", "paused", "ended"]),
        pinned=chance.random() < 0.2,
        is_empty=chance.random() < 0.3,
        message_count=chance.randrange(3),
        tokens=chance.choice([0, 7, 10**12]),
        cost_usd=chance.choice([None, 0.0, 0.1, 0.1 + 1e-9]),
        created_at=BEGINNING_MS + chance.randrange(3),
        last_activity_at=BEGINNING_MS + chance.randrange(5),
        archived_at=chance.choice([None, None, None, 1]),
        deleted_at=1 if chance.random() < 0.1 else None,
    )
    if commit.row is not None and commit.row.deleted_at is not None:
        commit.details, commit.forget = None, True
    elif chance.random() < 0.3:  # its words stay as they were
        commit.details = None
    elif chance.random() < 0.1:
        commit.details, commit.forget = None, True
    return commit


def any_query(chance: random.Random) -> dict[str, Any]:
    """A question as a client could ask it."""
    columns = {
        "agent": ["a", "c"],
        "channel": ["xy"],
        "lifecycle": ["live", "idle", "nonsense"],
        "source": ["manual"],
        "project": ["p"],
        "pinned": [chance.random() < 0.5],
        "user": ["bob"],
        "model": [],
    }
    query: dict[str, Any] = {
        "tenant": chance.choice([None, "default"]),
        "columns": {name: columns[name] for name in columns if chance.random() < 0.07},
        "include_empty": chance.random() < 0.5,
        "archived": chance.choice([None, False, False, True]),
        "by": chance.choice(typing.get_args(SortBy)),
        "descending": chance.random() < 0.5,
    }
    if chance.random() < 0.3:
        query |= {"visible_to": "ann", "owned_agents": chance.choice([[], ["b"]])}
    if chance.random() < 0.2:
        query["labels"] = chance.choice([{"team": "1"}, {"team": "1", "ü": "2"}, {"nobody": "has"}])
    if chance.random() < 0.2:
        query["updated_since"] = chance.choice([-(2**62), BEGINNING_MS + 2, 2**62])
    if chance.random() < 0.5:
        query |= {"search": chance.choice(TERMS), "search_agents": chance.choice([[], ["b"]])}
    return query


async def pages_of(store: Store, query: dict[str, Any], limit: int) -> tuple[list[int], set[int]]:
    """All pages of a list joined, and the totals they had."""
    ids, totals, after = list[int](), set[int](), None
    while True:
        page = await store.sessions(SessionQuery(**query, limit=limit, after=after))
        ids += [int(stored.state) for stored in page.sessions]
        totals.add(page.total)
        if (after := page.last) is None:
            return ids, totals


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(6))
async def test_lists_equal_the_model(store: Store, seed: int) -> None:
    """Joined pages are the model's list, each row once; the total is the same on each; also after changes."""
    chance, model = random.Random(seed), MemoryStore()
    for _ in range(3):
        for _ in range(SESSIONS // 2):
            commit = any_session(chance, chance.randrange(1, SESSIONS))
            await asyncio.gather(*commit_to(commit, store, model))
        for _ in range(40):
            query = any_query(chance)
            expected, totals = await pages_of(model, query, 1000)
            limit = chance.choice([1, 2, 7, 50])
            assert await pages_of(store, query, limit) == (expected, totals), query


def commit_to(commit: Commit, *stores: Store) -> list[asyncio.Future[None]]:
    return [store.commit(commit) for store in stores]


@pytest.mark.usefixtures("small")
async def test_lists_equal_the_model_after_a_restart(tmp_path: Path) -> None:
    """While columns are filled chunk by chunk, with commits and questions in between, and after."""
    chance, model = random.Random(5), MemoryStore()
    async with sqlite(tmp_path) as store:
        for id in range(1, SESSIONS):
            await asyncio.gather(*commit_to(any_session(chance, id), store, model))
    async with asyncio.timeout(60), sqlite(tmp_path) as store:
        for _ in range(60):
            await asyncio.gather(*commit_to(any_session(chance, chance.randrange(1, SESSIONS + 20)), store, model))
            query = any_query(chance)
            assert await pages_of(store, query, 10) == await pages_of(model, query, 1000), query
        while not store._listing.is_filled:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("by", typing.get_args(SortBy))
async def test_pages_while_others_change(store: Store, by: SortBy) -> None:
    """A row that nobody touches is on exactly one page, whatever happens to others between pages."""
    chance = random.Random(11)
    await commit_all(
        store, *(session(id, title=f"t{id % 9}", tokens=id % 5, agent="ab"[id % 2]) for id in range(1, 90))
    )
    seen, after = list[int](), None
    while True:
        query = SessionQuery(tenant=None, include_empty=True, by=by, limit=7, after=after)
        page = await store.sessions(query)
        seen += [int(stored.state) for stored in page.sessions]
        if (after := page.last) is None:
            break
        await commit_all(store, *(any_session(chance, 2 * chance.randrange(1, 60)) for _ in range(3)))
    untouched = [id for id in seen if id % 2]
    assert sorted(untouched) == list(range(1, 90, 2))
