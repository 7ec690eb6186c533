"""How a SearchQuery becomes SQL: the index's parts side by side, newest first. Runs in a reader's thread.

The index says where words may be; whether a session is there, visible and
asked for is looked up in the projection, and the text itself in the log.
"""

import heapq
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import msgspec

from .base import SearchHit, SearchPage, SearchQuery, SessionQuery
from .sqlite_directory import conditions
from .sqlite_file import snapshot
from .sqlite_indexing import scope
from .words import Matcher, Term, spoken

LOOKED_AT = 10_000
"""Places in the index that one search looks at before it answers with what it has found."""
_BATCH = 512
_SCOPED = ("tenant", "user", "agent", "channel")


def search(query: SearchQuery, connection: sqlite3.Connection) -> SearchPage:
    """Read one page, from one snapshot."""
    if not all(query.sessions.columns.values()):
        return SearchPage([], before=None)
    with snapshot(connection), closing(_places(connection, _expression(query), query.before)) as places:
        return _page(query, places, connection)


def _page(query: SearchQuery, places: Iterator[int], connection: sqlite3.Connection) -> SearchPage:
    matcher, found, looked_at = Matcher(query.terms), list[tuple[int, SearchHit]](), 0
    is_asked_for = _filter(query.sessions, connection)
    size = query.limit + 1
    while batch := list(islice(places, size)):
        looked_at += len(batch)
        for row in is_asked_for(batch):
            if len(found) == query.limit:
                return SearchPage([hit for _, hit in found], before=found[-1][0])
            found.append((row[0], _hit(matcher, *row[1:])))
        if looked_at >= LOOKED_AT:
            return SearchPage([hit for _, hit in found], before=batch[-1])
        size = _BATCH
    return SearchPage([hit for _, hit in found], before=None)


def _filter(query: SessionQuery, connection: sqlite3.Connection) -> Callable[[Sequence[int]], Iterator[Any]]:
    """Those of some places that the query wants, in their order, one by one."""
    where, values = conditions(query)

    def is_asked_for(places: Sequence[int]) -> Iterator[Any]:
        cursor = connection.execute(
            "SELECT e.pos, s.key, e.seq, e.type, e.body FROM json_each(?) j CROSS JOIN events e ON e.pos = j.value"
            " CROSS JOIN sessions s ON s.id = e.session LEFT JOIN texts t ON t.pos = s.details"
            f" WHERE e.body IS NOT NULL AND {where} ORDER BY j.key",
            (msgspec.json.encode(places).decode(), *values),
        )
        with closing(cursor):
            yield from cursor

    return is_asked_for


def _hit(matcher: Matcher, key: str, seq: int, type: str, body: bytes) -> SearchHit:
    text, at = spoken(body)
    return SearchHit(key=key, seq=seq, type=type, snippet=matcher.snippet(text), at=at)


def _places(connection: sqlite3.Connection, expression: str, before: int | None) -> Generator[int]:
    """Where all terms are, newest first; a part is opened when its newest may be next."""
    end = before if before is not None else 2**62
    parts = connection.execute("SELECT newest, part FROM search_parts WHERE docs > 0").fetchall()
    waiting = [(-min(newest, end), part, None) for newest, part in parts]
    heap: list[tuple[int, int, Iterator[tuple[int]] | None]] = list(waiting)
    heapq.heapify(heap)
    while heap:
        place, part, cursor = heap[0]
        if cursor is None:
            cursor = connection.execute(
                f"SELECT -rowid FROM search_{part} WHERE search_{part} MATCH ? AND rowid < ? ORDER BY rowid DESC",
                (expression, end),
            )
        else:
            yield -place
        following = next(cursor, None)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following[0], part, cursor))


def _expression(query: SearchQuery) -> str:
    """The question in FTS5's words: tokens hold letters, digits and marks only, so nothing needs escaping."""
    clauses = [f"words : {_phrase(term)}" for term in query.terms]
    sessions = query.sessions
    if sessions.tenant is not None:
        clauses.append(_any([("tenant", sessions.tenant)]))
    if sessions.visible_to is not None:
        owned = [("agent", agent) for agent in sessions.owned_agents]
        clauses.append(_any([("user", sessions.visible_to), *owned]))
    for column in _SCOPED:
        if wanted := sessions.columns.get(column):
            clauses.append(_any([(column, value) for value in wanted]))
    return " AND ".join(f"({clause})" for clause in clauses)


def _phrase(term: Term) -> str:
    return f'"{" ".join(term.tokens)}"{" *" if term.is_prefix else ""}'


def _any(wanted: Sequence[tuple[str, str]]) -> str:
    return f"scope : ({' OR '.join(scope(column, value) for column, value in wanted)})"
