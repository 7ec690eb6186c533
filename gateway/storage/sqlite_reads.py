"""Reading logs, and counting. Runs in a reader's thread."""

import sqlite3
from collections.abc import Sequence

from .base import EventPage, EventQuery, EventRow, Tally


def events(query: EventQuery, connection: sqlite3.Connection) -> EventPage:
    """One page; stops before the byte bound, but never before the first event."""
    types = f" AND type IN ({','.join('?' * len(query.types))})" if query.types else ""
    order = "DESC" if query.newest else "ASC"
    cursor = connection.execute(
        "SELECT seq, type, body FROM events WHERE session = ? AND seq > ? AND seq < ? AND body IS NOT NULL"
        f"{types} ORDER BY seq {order} LIMIT ?",
        (query.session, query.after, query.before, *query.types, query.limit + 1),
    )
    rows: list[EventRow] = []
    size, has_more = 0, False
    for row in cursor:
        size += len(row[2])
        if len(rows) == query.limit or (rows and size > query.max_bytes):
            has_more = True
            break
        rows.append(EventRow(*row))
    cursor.close()
    if query.newest:
        rows.reverse()
    return EventPage(rows, has_more)


def tally(
    tenant: str | None, user: str | None, owned_agents: Sequence[str], now_ms: int, connection: sqlite3.Connection
) -> Tally:
    """Count what somebody may see."""
    seen, values = ["deleted_at IS NULL"], list[str]()
    if tenant is not None:
        seen.append("tenant = ?")
        values.append(tenant)
    if user is not None:
        seen.append(f"(user = ? OR agent IN ({', '.join('?' * len(owned_agents))}))")
        values += [user, *owned_agents]
    where = f" FROM sessions WHERE {' AND '.join(seen)}"
    states = connection.execute(f"SELECT lifecycle, COUNT(*){where} GROUP BY lifecycle", values).fetchall()
    near = f"SELECT COUNT(*){where} AND warn_at <= ? AND expires_at > ?"
    (expiring,) = connection.execute(near, (*values, now_ms, now_ms)).fetchone()
    (busy,) = connection.execute(f"SELECT COUNT(*){where} AND is_busy AND lifecycle <> 'paused'", values).fetchone()
    return Tally(dict(states), expiring, busy)
