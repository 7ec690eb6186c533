"""What every Store guarantees of search: words, whose sessions, order, pages, erasure."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.storage.base import Commit, EventRow, SearchPage, SearchQuery, SessionQuery, Store
from gateway.storage.words import parse
from tests.contract.stores import STORES, commit_all, said, session
from tests.fakes import BEGINNING_MS


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with asyncio.timeout(30), STORES[request.param](tmp_path) as opened:
        yield opened


async def page_of(store: Store, words: str, *, limit: int = 50, before: int | None = None, **fields: Any) -> SearchPage:
    sessions = SessionQuery(**{"tenant": None, "include_empty": True, "limit": 1} | fields)
    return await store.search(SearchQuery(terms=parse(words), sessions=sessions, limit=limit, before=before))


async def places_of(store: Store, words: str, **fields: Any) -> list[str]:
    """Key and seq of what is found, in order."""
    return [f"{hit.key}/{hit.seq}" for hit in (await page_of(store, words, **fields)).hits]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("rain", ["k1/2", "k2/1", "k1/1"]),
        ("rain snow", ["k1/2"]),
        ('"rain and snow"', ["k1/2"]),
        ('"snow and rain"', []),
        ("sno*", ["k1/2"]),
        ("regen*", ["k2/2"]),
        ("groß", ["k2/2"]),
        ("GROSSE", []),
        ("naïve", ["k3/1"]),
        ("東京", ["k3/1"]),
        ("weather", []),
        ("content", []),
    ],
)
async def test_words(store: Store, words: str, found: list[str]) -> None:
    """All must be there; newest first; names of members are no words."""
    await commit_all(store, session(1), session(2), session(3))
    await commit_all(store, said(1, 1, text="rain"), said(2, 1, text="Rain!"), said(1, 2, text="rain and snow"))
    await commit_all(store, said(2, 2, text="Großer Regenschirm? groß"), said(3, 1, text="naive 東京都"))
    assert await places_of(store, words) == found


@pytest.mark.parametrize(
    ("type", "body", "words"),
    [
        ("message.system", {"content": "rain"}, "rain"),
        ("message.assistant", {"content": "rain"}, "rain"),
        ("tool.call", {"callId": "c", "name": "weather", "input": {"city": ["Lisbon", 7]}}, "weather city lisbon 7"),
        ("tool.result", {"callId": "c", "output": {"rain": "much"}, "durationMs": 1}, '"rain much"'),
        ("tool.result", {"callId": "c", "error": "no rain", "durationMs": 1}, "rain"),
    ],
)
async def test_what_is_searched(store: Store, type: str, body: dict[str, Any], words: str) -> None:
    """Messages, names and inputs of tool calls, outputs and errors of their results."""
    await commit_all(store, session(1))
    row = EventRow(1, type, msgspec.json.encode({"type": type, "seq": 1, "at": "then"} | body))
    other = EventRow(2, "session.updated", msgspec.json.encode({"seq": 2, "title": "rain weather"}))
    await commit_all(store, Commit(session=1, events=[row, other]))
    (hit,) = (await page_of(store, words)).hits
    assert (hit.key, hit.seq, hit.type, hit.at) == ("k1", 1, type, "then")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [5, 4, 3, 2, 1]),
        ({"tenant": "default"}, [4, 3, 2, 1]),
        ({"columns": {"agent": ["echo", "nobody"]}}, [5, 3, 1]),
        ({"columns": {"agent": []}}, []),
        ({"columns": {"user": ["bob"], "channel": ["web"]}}, [2]),
        ({"columns": {"tenant": ["other"]}}, [5]),
        ({"columns": {"lifecycle": ["ended"]}}, [2]),
        ({"columns": {"project": ["p"]}}, [1]),
        ({"labels": {"team": "red"}}, [1]),
        ({"archived": True}, [3]),
        ({"updated_since": BEGINNING_MS + 2}, [4]),
        ({"visible_to": "ann"}, [5, 3, 1]),
        ({"visible_to": "ann", "tenant": "default"}, [3, 1]),
        ({"visible_to": "ann", "owned_agents": ["coder"]}, [5, 4, 3, 2, 1]),
        ({"visible_to": "nobody"}, []),
    ],
)
async def test_whose_sessions(store: Store, query: dict[str, Any], found: list[int]) -> None:
    """The filters of lists; deleted sessions are never found."""
    await commit_all(
        store,
        session(1, labels={"team": "red"}, project="p"),
        session(2, user="bob", agent="coder", channel="web", lifecycle="ended"),
        session(3, archived_at=1),
        session(4, user="bob", agent="coder", last_activity_at=BEGINNING_MS + 2),
        session(5, tenant="other"),
        session(6, deleted_at=1),
    )
    await commit_all(store, *(said(id, 1, text="rain") for id in range(1, 7)))
    assert [int(hit.key[1:]) for hit in (await page_of(store, "rain", **query)).hits] == found


@pytest.mark.parametrize("limit", [1, 3, 10])
async def test_pages(store: Store, limit: int) -> None:
    """Joined they are the whole, whatever is said meanwhile; the last one says that it is."""
    await commit_all(store, session(1), session(2))
    await commit_all(store, *(said(1 + n % 2, n + 1, text="rain") for n in range(10)))
    seqs, before, pages = list[int](), None, 0
    while pages == 0 or before is not None:
        page = await page_of(store, "rain", limit=limit, before=before)
        assert len(page.hits) <= limit
        seqs, before, pages = seqs + [hit.seq for hit in page.hits], page.before, pages + 1
        await commit_all(store, said(1, 100 + pages, text="rain"))
    assert seqs == list(range(10, 0, -1))


async def test_erased_words_are_not_found(store: Store) -> None:
    """Those up to a seq, of one session; its later words are found, and everybody else's."""
    await commit_all(store, session(1), session(2), said(1, 1, 2, 3, text="rain"), said(2, 1, text="rain"))
    assert await places_of(store, "rain") == ["k2/1", "k1/3", "k1/2", "k1/1"]
    await commit_all(store, Commit(session=1, purge_to=2, forget=True))
    assert await places_of(store, "rain") == ["k2/1", "k1/3"]
    await commit_all(store, said(1, 4, text="rain"), Commit(session=1, purge_to=3), said(2, 2, text="rain"))
    assert await places_of(store, "rain") == ["k2/2", "k1/4", "k2/1"]
    await commit_all(store, Commit(session=1, purge_to=9, forget=True), Commit(session=2, purge_to=9, forget=True))
    assert await places_of(store, "rain") == []
    await commit_all(store, said(1, 5, text="rain"))
    assert await places_of(store, "rain") == ["k1/5"]
