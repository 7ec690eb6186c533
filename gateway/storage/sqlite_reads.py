"""How a part of a log is read. Runs in a reader's thread."""

import sqlite3

from .base import EventPage, EventQuery, EventRow


def read_events(query: EventQuery, connection: sqlite3.Connection) -> EventPage:
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
