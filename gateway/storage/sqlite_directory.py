"""How a SessionQuery becomes SQL: filters, keyset order, count.

The long way, while `Columns` is not filled. Runs in the lists' thread.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

from .base import COUNT_LIMIT, SessionPage, SessionQuery, StoredSession
from .matching import matches

_TITLE = "COALESCE(json_extract(CAST(t.body AS TEXT), '$.title'), '')"
_ORDER: dict[str, tuple[str, ...]] = {
    "default": ("s.pinned", "s.last_activity_at"),
    "lastActivityAt": ("s.last_activity_at",),
    "createdAt": ("s.created_at",),
    "title": (f"fold({_TITLE})",),
    "key": ("s.key",),
    "agent": ("s.agent",),
    "channel": ("s.channel",),
    "state": ("s.lifecycle",),
    "messageCount": ("s.message_count",),
    "tokens": ("s.tokens",),
    "costUsd": ("COALESCE(s.cost_usd, -1.0)",),
}
_FROM = " FROM sessions s LEFT JOIN texts t ON t.pos = s.details WHERE "
_NOT_HIDDEN = (
    "(NOT s.is_empty OR s.pinned OR s.source <> 'manual' OR s.id ="
    " (SELECT MAX(e.id) FROM sessions e WHERE e.tenant = s.tenant AND e.user = s.user"
    " AND e.is_empty AND e.source = 'manual' AND e.deleted_at IS NULL AND e.archived_at IS NULL))"
)


def prepare(connection: sqlite3.Connection) -> None:
    """Teach the connection the functions that `page` uses."""
    connection.create_function("fold", 1, _fold, deterministic=True)
    connection.create_function("matches", 2, matches, deterministic=True)


def page(query: SessionQuery, connection: sqlite3.Connection) -> SessionPage:
    """Read one page and count what matches, inside the caller's transaction."""
    where, values = conditions(query)
    order = (*_ORDER[query.by], "s.id")
    direction = "DESC" if query.descending else "ASC"
    after, after_values = _after(order, query)
    ordering = ", ".join(f"{column} {direction}" for column in order)
    rows = connection.execute(
        f"SELECT s.state, t.body, {', '.join(order)}{_FROM}{where}{after} ORDER BY {ordering} LIMIT ?",
        (*values, *after_values, query.limit + 1),
    ).fetchall()
    (total,) = connection.execute(
        f"SELECT COUNT(*) FROM (SELECT 1{_FROM}{where} LIMIT ?)", (*values, COUNT_LIMIT + 1)
    ).fetchone()
    last = rows[query.limit - 1][2:] if len(rows) > query.limit else None
    return SessionPage([StoredSession(row[0], row[1]) for row in rows[: query.limit]], last, total)


def conditions(query: SessionQuery) -> tuple[str, list[Any]]:
    """Which sessions, of `sessions s` with their words `texts t`."""
    clauses, values = ["s.deleted_at IS NULL"], list[Any]()

    def add(clause: str, *parameters: Any) -> None:
        clauses.append(clause)
        values.extend(parameters)

    if query.tenant is not None:
        add("s.tenant = ?", query.tenant)
    if query.visible_to is not None:
        add(f"(s.user = ? OR s.agent IN ({_marks(query.owned_agents)}))", query.visible_to, *query.owned_agents)
    for column, allowed in query.columns.items():
        add(f"s.{column} IN ({_marks(allowed)})", *allowed)
    for name, value in query.labels.items():
        add(
            "EXISTS (SELECT 1 FROM json_each(CAST(t.body AS TEXT), '$.labels') l WHERE l.key = ? AND l.value = ?)",
            name,
            value,
        )
    if query.archived is not None:
        add(f"s.archived_at IS {'NOT ' if query.archived else ''}NULL")
    if query.updated_since is not None:
        add("s.last_activity_at >= ?", query.updated_since)
    if query.search is not None:
        term = query.search
        add(
            f"(matches(s.key, ?) OR matches({_TITLE}, ?) OR matches(s.channel, ?)"
            f" OR s.agent IN ({_marks(query.search_agents)}))",
            *(term, term, term),
            *query.search_agents,
        )
    if not query.include_empty:
        add(_NOT_HIDDEN)
    return " AND ".join(clauses), values


def _after(order: Sequence[str], query: SessionQuery) -> tuple[str, Sequence[Any]]:
    """Keyset paging: only what sorts behind the last row of the page before."""
    if query.after is None:
        return "", ()
    comparison = "<" if query.descending else ">"
    return f" AND ({', '.join(order)}) {comparison} ({_marks(query.after)})", query.after


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _fold(text: str) -> str:
    return text.casefold()
