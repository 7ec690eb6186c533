"""What every Store guarantees of lists: filters, search, order, pages, counts."""

import asyncio
import random
import typing
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.storage.base import COUNT_LIMIT, Commit, SessionPage, SessionQuery, SortBy, Store
from tests.contract.stores import STORES, commit_all, ids_of, row, session
from tests.fakes import BEGINNING_MS


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with asyncio.timeout(30), STORES[request.param](tmp_path) as opened:
        yield opened


async def page_of(store: Store, **fields: Any) -> SessionPage:
    return await store.sessions(SessionQuery(**{"tenant": None, "include_empty": True, "limit": 10} | fields))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [1, 2, 3, 4]),
        ({"tenant": "default"}, [1, 2, 3]),
        ({"tenant": "nobody"}, []),
        ({"columns": {"agent": ["echo"]}}, [1, 3, 4]),
        ({"columns": {"agent": ["echo", "coder"], "channel": ["web"]}}, [2, 3]),
        ({"columns": {"agent": []}}, []),
        ({"columns": {"project": ["p"]}}, [1]),
        ({"columns": {"user": ["bob"]}}, [2, 4]),
        ({"columns": {"lifecycle": ["ended", "idle"]}}, [2, 4]),
        ({"columns": {"source": ["scheduled"]}}, [3]),
        ({"columns": {"model": ["m"]}}, [4]),
        ({"columns": {"pinned": [True]}}, [2]),
        ({"columns": {"pinned": [False]}}, [1, 3, 4]),
        ({"columns": {"tenant": ["other", "nobody"]}}, [4]),
        ({"labels": {"team": "red"}}, [1, 2]),
        ({"labels": {"team": "red", "tier": "1"}}, [2]),
        ({"labels": {"team": "red", "tier": "2"}}, []),
        ({"labels": {"a.b\"c'd $": "ü"}}, [3]),
        ({"archived": True}, [3]),
        ({"archived": False}, [1, 2, 4]),
        ({"updated_since": BEGINNING_MS + 2}, [2, 3, 4]),
        ({"visible_to": "ann"}, [1, 3]),
        ({"visible_to": "ann", "owned_agents": ["coder"]}, [1, 2, 3]),
        ({"visible_to": "nobody"}, []),
    ],
)
async def test_filters(store: Store, query: dict[str, Any], found: list[int]) -> None:
    """Values of one member are OR, members are AND, deleted sessions are in no list; the total says the same."""
    await commit_all(
        store,
        session(1, labels={"team": "red"}, project="p", last_activity_at=BEGINNING_MS + 1),
        session(2, user="bob", labels={"team": "red", "tier": "1"}, agent="coder", channel="web", pinned=True,
                lifecycle="ended", last_activity_at=BEGINNING_MS + 2),
        session(3, labels={"a.b\"c'd $": "ü"}, channel="web", source="scheduled", archived_at=1,
                last_activity_at=BEGINNING_MS + 3),
        session(4, tenant="other", user="bob", model="m", lifecycle="idle", last_activity_at=BEGINNING_MS + 4),
        session(5, deleted_at=1, pinned=True, labels={"team": "red"}, last_activity_at=BEGINNING_MS + 5),
    )  # fmt: skip
    page = await page_of(store, **query)
    assert (sorted(int(stored.state) for stored in page.sessions), page.total, page.last) == (found, len(found), None)


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("weather", [1]),
        ("EATHE", [1]),
        ("straße", [2]),
        ("STRASSE", [2]),
        ("telegram", [3]),
        ("42/7", [3]),
        ("we", [1]),
        ("ea", []),
        ("ст", [4]),
        ("%", []),
        ("_", []),
        ("(n", [5]),
        ("%%%", []),
        ("100%", [5]),
        ("(.*", []),
        ("nothing like it", []),
        ("the agents name", [6]),
    ],
)
async def test_search(store: Store, term: str, found: list[int]) -> None:
    """Any part of key, title or channel, whatever the case; under 3 characters the start of a word; no wildcards."""
    await commit_all(
        store,
        session(1, title="Weather in Lisbon"),
        session(2, title="Königstraße"),
        session(3, key="agent:x:42/7", channel="telegram"),
        session(4, title="Где старт"),
        session(5, title="100% or (nothing)"),
        session(6, agent="named"),
    )
    by_name = ["named"] if term == "the agents name" else []
    assert await ids_of(store, search=term, search_agents=by_name, by="key", descending=False) == found


def crowd(seed: int, count: int) -> list[Commit]:
    """Sessions that tie in nearly everything."""
    chance = random.Random(seed)
    return [
        session(
            id,
            key=f"k{chance.randrange(count)}:{id}",
            title=chance.choice([None, "", "b", "B", "ä", "Ä", "z", "ß", "ss", "emoji 👩‍👩‍👧"]),
            agent=chance.choice("ab"),
            channel=chance.choice("xy"),
            lifecycle=chance.choice(["live", "idle", "paused", "ended"]),
            pinned=chance.random() < 0.3,
            message_count=chance.randrange(3),
            tokens=chance.choice([0, 7, 10**12]),
            cost_usd=chance.choice([None, 0.0, 0.1, 0.1 + 1e-9, 2.5]),
            created_at=BEGINNING_MS + chance.randrange(3),
            last_activity_at=BEGINNING_MS + chance.randrange(3),
        )
        for id in range(1, count + 1)
    ]


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("by", typing.get_args(SortBy))
async def test_pages(store: Store, by: SortBy, descending: bool) -> None:
    """Pages joined are the whole in its order, without overlap, under ties; the total is the same on each."""
    await commit_all(store, *crowd(seed=7, count=60))
    whole = await ids_of(store, by=by, descending=descending)
    assert sorted(whole) == list(range(1, 61))
    for limit in (1, 7, 59, 60):
        joined, after = list[int](), None
        while True:
            page = await page_of(store, by=by, descending=descending, limit=limit, after=after)
            joined += [int(stored.state) for stored in page.sessions]
            assert page.total == 60
            if (after := page.last) is None:
                break
        assert joined == whole


@pytest.mark.parametrize("by", typing.get_args(SortBy))
async def test_order(store: Store, by: SortBy) -> None:
    """Each order is what its name says; ascending is descending turned round; an unknown cost is the lowest."""
    commits = crowd(seed=8, count=40)
    await commit_all(store, *commits)

    def place(id: int) -> Any:
        line, words = commits[id - 1].row, commits[id - 1].details
        assert line is not None
        assert words is not None
        title = words.decode().split('"')[3] if b'"title":"' in words else ""
        return {
            "default": (line.pinned, line.last_activity_at),
            "lastActivityAt": line.last_activity_at,
            "createdAt": line.created_at,
            "title": title.casefold(),
            "key": line.key,
            "agent": line.agent,
            "channel": line.channel,
            "state": line.lifecycle,
            "messageCount": line.message_count,
            "tokens": line.tokens,
            "costUsd": -1 if line.cost_usd is None else line.cost_usd,
        }[by]

    ascending = await ids_of(store, by=by, descending=False)
    assert [place(id) for id in ascending] == sorted(map(place, range(1, 41)))
    assert await ids_of(store, by=by, descending=True) == ascending[::-1]


async def test_pages_while_sessions_come_and_go(store: Store) -> None:
    """What was not touched is on exactly one page."""
    await commit_all(store, *(session(id, created_at=id) for id in range(10, 40)))
    first = await page_of(store, by="createdAt", limit=10)
    await commit_all(
        store,
        session(50, created_at=50),
        session(39, created_at=39, deleted_at=1),
        session(30, created_at=30, deleted_at=1),
        session(20, created_at=20, deleted_at=1),
    )
    rest = await ids_of(store, by="createdAt", after=first.last)
    assert [int(stored.state) for stored in first.sessions] == list(range(39, 29, -1))
    assert rest == [id for id in range(29, 9, -1) if id != 20]


async def test_empty_sessions_are_hidden(store: Store) -> None:
    """But for each user's newest, pinned ones and those that no person began."""
    await commit_all(
        store,
        session(1, is_empty=True, pinned=True),
        session(2, is_empty=True, source="trigger"),
        session(3, is_empty=True),
        session(4, is_empty=True),
        session(5, is_empty=False),
        session(6, is_empty=True, user="bob"),
        session(7, is_empty=True),
        session(8, is_empty=True, deleted_at=1),
        session(9, is_empty=True, archived_at=1),
        session(10, is_empty=True, tenant="other"),
        session(11, is_empty=True, source="scheduled"),
    )
    shown = {"include_empty": False, "archived": False, "by": "createdAt", "descending": False}
    page = await page_of(store, **shown)
    assert [int(stored.state) for stored in page.sessions] == [1, 2, 5, 6, 7, 10, 11]
    assert page.total == 7
    await store.commit(session(7, is_empty=False))
    assert await ids_of(store, **shown) == [1, 2, 4, 5, 6, 7, 10, 11]


async def test_a_page_carries_words(store: Store) -> None:
    """The state and the words of each session, as they were committed."""
    commit = session(1, title="hi", labels={"a": "b"}, state=b"anything")
    await store.commit(commit)
    page = await page_of(store)
    assert [(stored.state, stored.details) for stored in page.sessions] == [(b"anything", commit.details)]


async def test_totals_are_bounded(store: Store) -> None:
    """Counting stops past the limit."""
    await commit_all(store, *(Commit(session=id, row=row(id)) for id in range(1, COUNT_LIMIT + 4)))
    page = await page_of(store, limit=1)
    assert page.total == COUNT_LIMIT + 1


async def test_busy(store: Store) -> None:
    """Sessions with a turn that runs or waits, with their words, by age."""
    await commit_all(store, session(1), session(3, title="hi", is_busy=True), session(2, is_busy=True))
    assert [stored.state for stored in await store.busy()] == [b"2", b"3"]
    assert (await store.busy())[1].details == session(3, title="hi").details
    await store.commit(session(2))
    assert [stored.state for stored in await store.busy()] == [b"3"]


async def test_counts(store: Store) -> None:
    """Sessions by state, deleted ones apart."""
    await commit_all(
        store,
        session(1),
        session(2),
        session(3, lifecycle="idle"),
        session(4, lifecycle="ended"),
        session(5, deleted_at=1),
    )
    assert await store.counts() == {"live": 2, "idle": 1, "ended": 1}


async def test_count_open(store: Store) -> None:
    """A user's sessions with one agent that have not ended."""
    await commit_all(
        store,
        session(1),
        session(2, lifecycle="paused"),
        session(3, lifecycle="ended"),
        session(4, deleted_at=1),
        session(5, user="bob"),
        session(6, agent="other"),
        session(7, tenant="other"),
    )
    assert await store.count_open("default", "ann", "echo") == 2
    assert await store.count_open("default", "eve", "echo") == 0


async def test_expiring(store: Store) -> None:
    """Sessions from their warning until just before their end."""
    await commit_all(
        store, session(1, warn_at=100, expires_at=200), session(2, warn_at=150, expires_at=300), session(3)
    )
    assert [await store.expiring(now) for now in (99, 100, 150, 199, 200, 300)] == [0, 1, 2, 2, 1, 0]
