"""A page of `session.search`, against FTS5 alone on the same file: time and server CPU a page.

The store is filled without a gateway. Words are as frequent as in a language
(the n-th has 1/n of the first's share); sessions hold ten messages each, of a
thousand users, and take turns.
"""

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec

from gateway.storage.base import Commit, EventRow, SearchQuery, SessionQuery, SessionRow
from gateway.storage.sqlite import SqliteStore
from gateway.storage.words import parse
from rpc_schema.events import MessageUser

from .client import Client, connect
from .measuring import best, middle, percentile, turn_about
from .report import Row
from .scale import Scale
from .sends import SETTINGS
from .servers import Server, gateway

LIMIT = 50
_A_SESSION, _USERS, _WORDS, _VOCABULARY = 10, 1000, 40, 50_000
_QUESTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "a common word": ({"query": "w1q"}, '"w1q"'),
    "two common words": ({"query": "w2q w3q"}, '"w2q" AND "w3q"'),
    "a phrase of common words": ({"query": '"w1q w2q"'}, '"w1q w2q"'),
    "a rare word": ({"query": "needle"}, '"needle"'),
    "a word that nobody said": ({"query": "nowhere"}, '"nowhere"'),
    "a beginning": ({"query": "w7a*"}, '"w7a" *'),
    "a common word of one user": ({"query": "w1q", "filter": {"user": "u7"}}, '"w1q"'),
    "a common word in few sessions": ({"query": "w1q", "filter": {"pinned": True}}, '"w1q"'),
}


class Pages(NamedTuple):
    """One page: how long it took, and its share of the CPU."""

    p50_ms: float
    p95_ms: float
    cpu_us: float


async def measure(scale: Scale) -> list[Row]:
    rows: list[Row] = []
    for said in scale.said:
        async with gateway(SETTINGS, partial(fill, said)) as (server, store):
            client = await connect(server)
            with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True, cached_statements=1000)) as connection:
                for name, (params, expression) in _QUESTIONS.items():

                    async def bare(expression: str = expression) -> Pages:
                        return _bare(connection, expression, scale.pages)

                    async def through(client: Client = client, params: dict[str, Any] = params) -> Pages:
                        return await _through(server, client, params, scale.pages)

                    floors, gateways = await turn_about(scale.rounds, bare, through)
                    rows += _rows(f"session.search, {said} messages, {name}", floors, gateways)
    return rows


async def fill(messages: int, data_dir: Path) -> None:
    """Write a store of that many messages and wait until they can be found."""
    chance, begun_ms = Random(7), 1_780_000_000_000
    words = [f"w{n:x}q" for n in range(_VOCABULARY)]
    shares = list(accumulate(1 / (n + 1) for n in range(_VOCABULARY)))
    store, sessions = await SqliteStore.open(data_dir), max(1, messages // _A_SESSION)
    try:
        for first in range(0, messages, 5000):
            numbers = range(first, min(first + 5000, messages))
            texts = [" ".join(chance.choices(words, cum_weights=shares, k=_WORDS)) for _ in numbers]
            texts[0] += " needle" if first == 0 else ""
            commits = [
                _said(number % sessions, number // sessions, text, begun_ms + number)
                for number, text in zip(numbers, texts, strict=True)
            ]
            await asyncio.gather(*map(store.commit, commits))
        query = SearchQuery(terms=parse("w1q"), sessions=SessionQuery(tenant=None, limit=1), limit=1)
        while (await store.search(query)).is_incomplete:
            pass
    finally:
        await store.close()


def _said(number: int, turn: int, text: str, at_ms: int) -> Commit:
    event = MessageUser(content=text, seq=turn + 1, at="2026-11-21T00:00:00.000Z")
    row = _row(number, at_ms) if turn == 0 else None
    return Commit(
        session=number + 1,
        row=row,
        events=[EventRow(turn + 1, "message.user", msgspec.json.encode(event))],
    )


def _row(number: int, at_ms: int) -> SessionRow:
    """A session's line; nobody looks at its state."""
    return SessionRow(
        id=number + 1,
        tenant="default",
        key=f"bench:said:{number}",
        user=f"u{number % _USERS}",
        agent="echo",
        model="echo",
        channel="api",
        source="manual",
        project=None,
        lifecycle="live",
        pinned=number % 4000 == 0,
        is_empty=False,
        is_busy=False,
        message_count=_A_SESSION,
        tokens=0,
        cost_usd=None,
        created_at=at_ms,
        last_activity_at=at_ms,
        archived_at=None,
        deleted_at=None,
        warn_at=None,
        expires_at=None,
        due_at=None,
        state=b"{}",
    )


def _bare(connection: sqlite3.Connection, expression: str, count: int) -> Pages:
    """Ask each part of the index for its newest; nobody looks at who may see them."""
    parts = [part for (part,) in connection.execute("SELECT part FROM search_parts WHERE docs > 0")]
    times, before = [], time.process_time_ns()
    for _ in range(count):
        begun = time.monotonic()
        for part in parts:
            ask = f"SELECT rowid FROM search_{part} WHERE search_{part} MATCH ? ORDER BY rowid DESC LIMIT ?"
            connection.execute(ask, (expression, LIMIT + 1)).fetchall()
        times.append((time.monotonic() - begun) * 1000)
    return _pages(times, (time.process_time_ns() - before) / 1000)


async def _through(server: Server, client: Client, params: dict[str, Any], count: int) -> Pages:
    times, before = [], await server.cpu_us()
    for _ in range(count):
        begun = time.monotonic()
        await client.call("session.search", limit=LIMIT, **params)
        times.append((time.monotonic() - begun) * 1000)
    return _pages(times, await server.cpu_us() - before)


def _pages(times: Sequence[float], cpu_us: float) -> Pages:
    return Pages(percentile(times, 50), percentile(times, 95), cpu_us / len(times))


def _rows(what: str, floors: Sequence[Pages], gateways: Sequence[Pages]) -> list[Row]:
    return [
        Row(f"{what}, p50", middle([p.p50_ms for p in floors]), middle([p.p50_ms for p in gateways]), "ms a page"),
        Row(f"{what}, p95", middle([p.p95_ms for p in floors]), middle([p.p95_ms for p in gateways]), "ms a page"),
        Row(what, best([p.cpu_us for p in floors]), best([p.cpu_us for p in gateways]), "µs CPU a page"),
    ]
