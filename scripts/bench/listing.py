"""A page of `session.list`, against the SQL alone on the same file: time and server CPU a page."""

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any, NamedTuple

from .client import Client, connect
from .measuring import best, middle, turn_about
from .report import Row
from .scale import Scale
from .sends import SETTINGS
from .servers import Server, gateway

LIMIT = 50
_WHERE = (
    " FROM sessions s LEFT JOIN texts t ON t.pos = s.details"
    " WHERE s.tenant = 'default' AND s.deleted_at IS NULL AND s.archived_at IS NULL AND NOT s.is_empty"
)
_SEARCH = (
    " AND (s.key LIKE '%17-4%' OR json_extract(CAST(t.body AS TEXT), '$.title') LIKE '%17-4%'"
    " OR s.channel LIKE '%17-4%')"
)
_QUESTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "newest": ({}, ""),
    "found by search": ({"search": "17-4"}, _SEARCH),
}


class Pages(NamedTuple):
    """One page: the median time it took, and its share of the CPU."""

    ms: float
    cpu_us: float


async def measure(scale: Scale) -> list[Row]:
    rows: list[Row] = []
    async with gateway(SETTINGS) as (server, store):
        clients = [await connect(server) for _ in range(scale.clients)]
        await _fill(clients, scale.sessions)
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
            for name, (params, where) in _QUESTIONS.items():

                async def bare(where: str = where) -> Pages:
                    return _bare(connection, where, scale.pages)

                async def through(params: dict[str, Any] = params) -> Pages:
                    return await _through(server, clients[0], params, scale.pages)

                floors, gateways = await turn_about(scale.rounds, bare, through)
                rows += _rows(f"session.list, {LIMIT} of {scale.sessions}, {name}", floors, gateways)
    return rows


async def _fill(clients: Sequence[Client], sessions: int) -> None:
    """Make sessions that each hold one message and its answer."""

    async def talk(number: int, client: Client) -> None:
        for count in range(number, sessions, len(clients)):
            key, new = f"bench:list:{number}-{count}", {"agent": "echo"}
            await client.call("session.send", key=key, content=f"Question {count}?", create=new, wait=True)

    await asyncio.gather(*(talk(number, client) for number, client in enumerate(clients)))


def _bare(connection: sqlite3.Connection, where: str, count: int) -> Pages:
    """The rows of a page and how many there are; what they hold is not looked at."""
    times, before = [], time.process_time_ns()
    for _ in range(count):
        begun = time.monotonic()
        order = " ORDER BY s.pinned DESC, s.last_activity_at DESC, s.id DESC LIMIT ?"
        connection.execute(f"SELECT s.state, t.body{_WHERE}{where}{order}", (LIMIT + 1,)).fetchall()
        connection.execute(f"SELECT COUNT(*) FROM (SELECT 1{_WHERE}{where} LIMIT 10001)").fetchall()
        times.append((time.monotonic() - begun) * 1000)
    return Pages(middle(times), (time.process_time_ns() - before) / 1000 / count)


async def _through(server: Server, client: Client, params: dict[str, Any], count: int) -> Pages:
    times, before = [], await server.cpu_us()
    for _ in range(count):
        begun = time.monotonic()
        await client.call("session.list", limit=LIMIT, **params)
        times.append((time.monotonic() - begun) * 1000)
    return Pages(middle(times), (await server.cpu_us() - before) / count)


def _rows(what: str, floors: Sequence[Pages], gateways: Sequence[Pages]) -> list[Row]:
    return [
        Row(what, middle([pages.ms for pages in floors]), middle([pages.ms for pages in gateways]), "ms a page"),
        Row(
            what, best([pages.cpu_us for pages in floors]), best([pages.cpu_us for pages in gateways]), "µs CPU a page"
        ),
    ]
