"""How events come into the full text index, and out of it. Runs in the writer's thread.

`step` indexes a bounded piece of what is not indexed yet, in a transaction of
its own; `erase` belongs to the transaction that erases the events. Each event
is in the index once, or will be, or has no body.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from .words import SEARCHED, folded, spoken

PART_DOCS = 8192
_PART_MOST = 2 * PART_DOCS
_NEW_PARTS = 8  # at once: each change of the schema costs every reader some milliseconds
_STEP_EVENTS = 512
_STEP_BYTES = 512 * 1024
_TYPES = ", ".join(f"'{type}'" for type in SEARCHED)
_DOC = f"e.pos, e.session, e.seq, CASE WHEN e.type IN ({_TYPES}) THEN e.body END, s.tenant, s.user, s.agent, s.channel"


class Progress(NamedTuple):
    """The event that `tail` has come to, the newest there is, and whether nothing older is missing."""

    tail: int
    newest: int
    is_complete: bool


class _Doc(NamedTuple):
    pos: int
    session: int
    seq: int
    body: bytes | None
    tenant: str | None
    user: str
    agent: str
    channel: str


def scope(column: str, value: str) -> str:
    """A token that finds all docs of a tenant, user, agent or channel."""
    return column[0] + blake2b(value.encode(), digest_size=6).hexdigest()


def step(connection: sqlite3.Connection) -> Progress:
    """Index a piece: what is new first, then what was erased with others' words, then what is old."""
    tail, backlog, backlog_to = _progress(connection)
    (newest,) = connection.execute("SELECT COALESCE(MAX(pos), 0) FROM events").fetchone()
    rebuild = connection.execute(
        "SELECT part, rebuild_session, rebuild_seq, rebuild_to FROM search_parts WHERE rebuild_to IS NOT NULL LIMIT 1"
    ).fetchone()
    if tail < newest:
        tail = _advance(connection, "tail", tail, newest)
    elif rebuild is not None:
        _rebuild(connection, rebuild, (backlog, backlog_to))
    elif backlog < backlog_to:
        backlog = _advance(connection, "backlog", backlog, backlog_to)
    return Progress(tail, newest, rebuild is None and backlog >= backlog_to)


def erase(connection: sqlite3.Connection, session: int, to_seq: int) -> None:
    """Empty the parts that hold words of the session; its neighbours there are to be indexed again."""
    parts = connection.execute(
        "SELECT p.part, p.docs FROM search_places l JOIN search_parts p ON p.part = l.part WHERE l.session = ?",
        (session,),
    ).fetchall()
    if not parts:
        return
    tail, _, _ = _progress(connection)
    for part, docs in parts:
        if docs:
            connection.execute(f"INSERT INTO search_{part} (search_{part}) VALUES ('delete-all')")
            connection.execute(
                "UPDATE search_parts SET docs = 0, rebuild_session = 0, rebuild_seq = 0, rebuild_to = ? WHERE part = ?",
                (tail, part),
            )
    connection.execute(
        "DELETE FROM search_places WHERE session = ?1 AND last <="
        " (SELECT pos FROM events WHERE session = ?1 AND seq <= ?2 ORDER BY seq DESC LIMIT 1)",
        (session, to_seq),
    )


def _progress(connection: sqlite3.Connection) -> tuple[int, int, int]:
    tail, backlog, backlog_to = connection.execute("SELECT tail, backlog, backlog_to FROM search_progress").fetchone()
    return tail, backlog, backlog_to


def _advance(connection: sqlite3.Connection, hand: str, after: int, to: int) -> int:
    """Index the events next to one of the two hands; returns where it is then."""
    cursor = connection.execute(
        f"SELECT {_DOC} FROM events e LEFT JOIN sessions s ON s.id = e.session"
        " WHERE e.pos > ? AND e.pos <= ? ORDER BY e.pos LIMIT ?",
        (after, to, _STEP_EVENTS),
    )
    docs, _ = _take(cursor)
    reached = docs[-1].pos if docs else to
    said = sorted((doc for doc in docs if doc.body and doc.tenant is not None), key=attrgetter("session", "pos"))
    for session, group in groupby(said, attrgetter("session")):
        own = list(group)
        _add(connection, _part_for(connection, session, own), own)
    connection.execute(f"UPDATE search_progress SET {hand} = ?", (reached,))
    return reached


def _rebuild(connection: sqlite3.Connection, rebuild: tuple[int, int, int, int], backlog: tuple[int, int]) -> None:
    """Index again a piece of a part that was emptied; the backlog comes to its own by itself."""
    part, session, seq, to = rebuild
    cursor = connection.execute(
        f"SELECT {_DOC} FROM search_places l CROSS JOIN events e ON e.session = l.session"
        " CROSS JOIN sessions s ON s.id = l.session"
        " WHERE l.part = ?1 AND l.session >= ?2 AND e.seq > CASE l.session WHEN ?2 THEN ?3 ELSE 0 END"
        " AND e.pos BETWEEN l.first AND MIN(l.last, ?4) AND NOT e.pos BETWEEN ?5 + 1 AND ?6"
        f" AND e.body IS NOT NULL AND e.type IN ({_TYPES}) ORDER BY l.session, e.seq LIMIT ?7",
        (part, session, seq, to, *backlog, _STEP_EVENTS),
    )
    docs, is_last = _take(cursor)
    if docs:
        _add(connection, part, docs)
    place = (None, None, None) if is_last else (docs[-1].session, docs[-1].seq, to)
    connection.execute(
        "UPDATE search_parts SET rebuild_session = ?, rebuild_seq = ?, rebuild_to = ? WHERE part = ?", (*place, part)
    )


def _take(cursor: Iterable[Any]) -> tuple[list[_Doc], bool]:
    """Docs of one step, at least one, and whether those are all."""
    docs, size = list[_Doc](), 0
    for row in cursor:
        docs.append(_Doc(*row))
        size += len(row[3] or b"")
        if size >= _STEP_BYTES:
            return docs, False
    return docs, len(docs) < _STEP_EVENTS


def _add(connection: sqlite3.Connection, part: int, docs: Sequence[_Doc]) -> None:
    """Put docs into a part; in the order of their rowids, else the index is written out for each."""
    rows = [
        (doc.pos, _scopes(doc), folded(spoken(doc.body)[0]))
        for doc in sorted(docs, key=attrgetter("pos"))
        if doc.body is not None
    ]
    connection.executemany(f"INSERT INTO search_{part} (rowid, scope, words) VALUES (?, ?, ?)", rows)
    connection.execute(
        "UPDATE search_parts SET docs = docs + ?, newest = MAX(newest, ?) WHERE part = ?",
        (len(rows), rows[-1][0], part),
    )


def _scopes(doc: _Doc) -> str:
    return " ".join(
        scope(column, value)
        for column, value in (
            ("tenant", doc.tenant or ""),
            ("user", doc.user),
            ("agent", doc.agent),
            ("channel", doc.channel),
        )
    )


def _part_for(connection: sqlite3.Connection, session: int, docs: Sequence[_Doc]) -> int:
    """The part of a session's next docs, noted as their place: its last one unless that is overfull."""
    found = connection.execute(
        "SELECT l.part, p.docs < ? OR EXISTS (SELECT 1 FROM search_progress WHERE backlog < backlog_to)"
        " FROM search_places l JOIN search_parts p ON p.part = l.part WHERE l.session = ? ORDER BY l.last DESC LIMIT 1",
        (_PART_MOST, session),
    ).fetchone()
    part = found[0] if found is not None and found[1] else _open_part(connection, session)
    connection.execute(
        "INSERT INTO search_places (session, part, first, last) VALUES (?, ?, ?, ?) ON CONFLICT (session, part)"
        " DO UPDATE SET first = MIN(first, excluded.first), last = MAX(last, excluded.last)",
        (session, part, docs[0].pos, docs[-1].pos),
    )
    return int(part)


def _open_part(connection: sqlite3.Connection, session: int) -> int:
    """The first part with room where the session never was: coming back, its range would hold what is elsewhere."""
    room = (
        "SELECT part FROM search_parts p WHERE docs < ? AND rebuild_to IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM search_places WHERE session = ? AND part = p.part) ORDER BY part LIMIT 1"
    )
    if (found := connection.execute(room, (PART_DOCS, session)).fetchone()) is None:
        (last,) = connection.execute("SELECT COALESCE(MAX(part), 0) FROM search_parts").fetchone()
        for part in range(last + 1, last + 1 + _NEW_PARTS):
            connection.execute(
                f"CREATE VIRTUAL TABLE search_{part} USING fts5 (scope, words, content='', columnsize=0, prefix='3',"
                " tokenize=\"unicode61 remove_diacritics 2 categories 'L* N* M* Co So'\")"
            )
            connection.execute("INSERT INTO search_parts (part, docs, newest) VALUES (?, 0, 0)", (part,))
        found = connection.execute(room, (PART_DOCS, session)).fetchone()
    return int(found[0])
