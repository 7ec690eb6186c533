"""`session.list` on stores of many sessions: every filter, order and search, first and deep pages, and the start.

The floor is the same question as SQL on the same file, by a connection of its
own. The store is filled straight through the schema, in bulk.
"""

import asyncio
import json
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from gateway.sessions import state as states
from gateway.sessions.state import SessionState
from gateway.storage import sqlite_directory
from gateway.storage.base import SessionQuery
from gateway.storage.sqlite_writes import _COLUMNS
from rpc_schema.types import State

from .client import Client, connect
from .measuring import middle, percentile
from .report import Row
from .scale import Scale
from .sends import SETTINGS
from .servers import DISK, serving

LIMIT = 50
DEEP = 20
"""A deep page: so many pages of 200 on."""
FLOOR_S = 1.5
"""A floor gets so long, and one go at least."""
BEGIN_MS = 1_780_000_000_000
FAR_MS = 4_000_000_000_000
_WORDS = ("weather", "invoice", "Lisbon", "refund", "deploy", "résumé", "Straße", "holiday", "budget", "draft", "login")
_SORTS = (
    "title",
    "state",
    "agent",
    "channel",
    "messageCount",
    "tokens",
    "costUsd",
    "createdAt",
    "lastActivityAt",
    "key",
)


class Question(NamedTuple):
    """What a client asks, and the same for the store."""

    name: str
    params: dict[str, Any]
    query: dict[str, Any]


def questions() -> Iterator[Question]:
    """All that the console offers, and some that it does not."""
    yield Question("as it opens", {}, {})
    for by in _SORTS:
        for direction in ("asc", "desc"):
            how = {"by": by, "descending": direction == "desc"}
            yield Question(f"by {by} {direction}", {"sort": {"by": by, "direction": direction}}, how)
    for name, column, value in (
        ("agent", "agent", "echo"),
        ("agent", "agent", "rare"),
        ("channel", "channel", "web"),
        ("state", "lifecycle", "live"),
        ("tenant", "tenant", "default"),
        ("user", "user", "u17"),
    ):
        yield Question(f"{name} {value}", {"filter": {name: value}}, {"columns": {column: [value]}})
        sort, how = {"by": "createdAt", "direction": "asc"}, {"by": "createdAt", "descending": False}
        asked = {"filter": {name: value}, "sort": sort}
        yield Question(f"{name} {value}, by createdAt asc", asked, {"columns": {column: [value]}} | how)
    three = {"agent": ["echo", "rare"], "channel": "web", "state": "idle"}
    rows = {"agent": ["echo", "rare"], "channel": ["web"], "lifecycle": ["idle"]}
    yield Question(
        "three filters, by tokens", {"filter": three, "sort": {"by": "tokens"}}, {"columns": rows, "by": "tokens"}
    )
    yield Question("a label, by title", {"filter": {"label": {"team": "t7"}}, "sort": {"by": "title"}},
                   {"labels": {"team": "t7"}, "by": "title"})  # fmt: skip
    for term in ("wea", "LISBON", "session 4711", "straße", "we", "4", "zzz", "web"):
        yield Question(f"search {term!r}", {"search": term}, {"search": term.casefold()})
    yield Question("search 'lisbon', by title", {"search": "lisbon", "sort": {"by": "title"}},
                   {"search": "lisbon", "by": "title"})  # fmt: skip


async def measure(scale: Scale) -> list[Row]:
    rows: list[Row] = []
    for sessions in scale.sessions:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=DISK) as name:
            begun = time.monotonic()
            async with serving("gateway", config=str(_config(Path(name)))):
                pass  # it makes the file, and notes by which policies it reckons
            fill(Path(name) / "data" / "gateway.db", sessions)
            print(f"  {sessions} sessions made in {time.monotonic() - begun:.0f} s", flush=True)
            rows += await _measure(Path(name), sessions, scale.pages)
    return rows


async def _measure(directory: Path, sessions: int, pages: int) -> list[Row]:
    config = _config(directory)
    begun = time.monotonic()
    async with serving("gateway", config=str(config)) as server:
        client = await connect(server)
        await client.call("gateway.hello")
        ready_s = time.monotonic() - begun
        filled_s = await _filled(client, begun)
        rows = [
            Row(f"{sessions} sessions: start until ready", 0, ready_s, "s"),
            Row(f"{sessions} sessions: start until lists are fast", 0, filled_s, "s"),
        ]
        with closing(sqlite3.connect(f"file:{directory}/data/gateway.db?mode=ro", uri=True)) as connection:
            sqlite_directory.prepare(connection)
            for question in questions():
                floor = _floor(connection, question, pages)
                times = await _through(client, question.params, pages)
                rows += _rows(f"{sessions}, {question.name}", floor, times)
                if "sort" in question.params and "filter" not in question.params and "search" not in question.params:
                    cursor = await _deep(client, question.params)
                    if cursor is not None:
                        times = await _through(client, question.params | {"cursor": cursor}, pages)
                        rows += _rows(f"{sessions}, {question.name}, deep", floor, times)
    return rows


def _config(directory: Path) -> Path:
    config = directory / "gateway.toml"
    config.write_text(f'[server]\nport = 0\ndata_dir = "{directory}/data"\n{SETTINGS}')
    return config


async def _filled(client: Client, begun: float) -> float:
    """Wait until an order that no index of the file has is answered fast, five times on end."""
    fast = 0
    while fast < 5:
        asked = time.monotonic()
        await client.call("session.list", limit=1, sort={"by": "title"})
        fast = fast + 1 if time.monotonic() - asked < 0.05 else 0
        await asyncio.sleep(0.2 if fast else 3)
    return time.monotonic() - begun


async def _deep(client: Client, params: dict[str, Any]) -> str | None:
    cursor: dict[str, str] = {}
    for _ in range(DEEP):
        page = await client.call("session.list", limit=200, **params, **cursor)
        if "nextCursor" not in page:
            return None
        cursor = {"cursor": page["nextCursor"]}
    return cursor["cursor"]


async def _through(client: Client, params: dict[str, Any], count: int) -> list[float]:
    times = []
    for _ in range(count + 3):
        begun = time.monotonic()
        await client.call("session.list", limit=LIMIT, **params)
        times.append((time.monotonic() - begun) * 1000)
    return times[3:]


def _floor(connection: sqlite3.Connection, question: Question, count: int) -> list[float]:
    """The rows of the page and how many there are; what they hold is not looked at."""
    asked: dict[str, Any] = {"tenant": "default", "archived": False, "limit": LIMIT} | question.query
    query, times, end = SessionQuery(**asked), list[float](), time.monotonic() + FLOOR_S
    while not times or (len(times) < count and time.monotonic() < end):
        begun = time.monotonic()
        sqlite_directory.page(query, connection)
        times.append((time.monotonic() - begun) * 1000)
    return times


def _rows(what: str, floor: list[float], times: list[float]) -> list[Row]:
    return [
        Row(f"{what}, p50", middle(floor), middle(times), "ms a page"),
        Row(f"{what}, p95", percentile(floor, 95), percentile(times, 95), "ms a page"),
    ]


def fill(path: Path, sessions: int) -> None:
    """Put sessions into an empty store, with what one finds in a real one: most have ended, few are large."""
    chance = random.Random(1)
    insert = f"INSERT INTO sessions ({', '.join(_COLUMNS)}, details) VALUES ({', '.join('?' * len(_COLUMNS))}, ?)"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for first in range(1, sessions + 1, 10_000):
            made = [_session(chance, id, sessions) for id in range(first, min(first + 10_000, sessions + 1))]
            with connection:
                connection.executemany(
                    "INSERT INTO texts (pos, session, kind, body) VALUES (?, ?, 'details', ?)",
                    [(row[0], row[0], words) for row, words in made],
                )
                connection.executemany(insert, [(*row, row[0]) for row, _ in made])


def _session(chance: random.Random, id: int, sessions: int) -> tuple[tuple[Any, ...], bytes]:
    created = BEGIN_MS + id * 1000
    agent = "rare" if id % 10_000 == 0 else ("echo", "support", "writer", "coder")[min(int(chance.expovariate(1)), 3)]
    lifecycle: State = "ended" if id < sessions * 0.95 else chance.choice(["live", "idle", "paused"])
    messages = 0 if id % 500 == 0 else int(chance.paretovariate(1))
    state = SessionState(
        id=id,
        tenant="default" if id % 20 else "other",
        key=f"agent:{agent}:{id * 7919 % 1_000_003}",
        epoch="e",
        user=f"u{int(chance.paretovariate(0.5)) % 5000}",
        agent=agent,
        provider="echo",
        model="echo",
        channel=("web", "api", "telegram", "slack", "email")[min(int(chance.expovariate(0.8)), 4)],
        source="scheduled" if id % 50 == 0 else "manual",
        created_at=created,
        last_activity_at=created + int(chance.expovariate(1 / 3_600_000)),
        lifecycle=lifecycle,
        archived_at=created if id % 10 == 3 else None,
        pinned=id % 1000 == 5,
        message_count=messages,
        input_tokens=messages * chance.randrange(1000),
        cost_usd=round(messages * chance.random(), 4) if agent != "coder" else None,
    )
    words = {"title": f"{chance.choice(_WORDS)} {chance.choice(_WORDS)} session {chance.randrange(sessions)}"}
    labels = {"labels": {"team": f"t{chance.randrange(100)}"} if id % 3 == 0 else {}}
    row = (id, state.tenant, state.key, state.user, state.agent, state.model, state.channel, state.source, None,
           lifecycle, state.pinned, state.is_empty, False, messages, state.input_tokens, state.cost_usd,
           created, state.last_activity_at, state.archived_at, None, None, None,
           None if lifecycle == "ended" else FAR_MS, states.encode(state))  # fmt: skip
    return row, json.dumps(words | labels).encode()
