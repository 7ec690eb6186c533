"""How a commit becomes rows. Runs in the writer's thread; knows SQL and nothing of the loop.

No savepoints while all goes well: they halve the rate. When one commit of a
group fails, for whatever reason, the group is replayed with savepoints and only
that one fails.
"""

import sqlite3
from collections.abc import Callable, Sequence

from msgspec.structs import astuple, fields

from . import sqlite_indexing
from .base import Answer, Commit, Retimed, SessionRow

_COLUMNS = [field.name for field in fields(SessionRow)]
_UPSERT = (
    f"INSERT INTO sessions ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
    f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS if name != 'id')}"
)
_ERASE_EVENTS = "UPDATE events SET body = NULL WHERE session = ? AND seq <= ? AND body IS NOT NULL"
_ERASE_KIND = "UPDATE texts SET body = NULL WHERE session = ? AND kind = ? AND body IS NOT NULL"
_WORDS = ("details", "chunk", "answer")


Publish = Callable[[sqlite3.Connection, Sequence[Commit]], None]


def end(connection: sqlite3.Connection, commits: Sequence[Commit]) -> None:
    """End the transaction that stored the commits."""
    connection.execute("COMMIT")


def write(commits: Sequence[Commit], connection: sqlite3.Connection, publish: Publish = end) -> list[Exception | None]:
    """Store the commits in one transaction; the fault of each, None for those that are durable.

    `publish` ends the transaction and is told what is in it.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        for commit in commits:
            _apply(connection, commit)
        publish(connection, commits)
    except Exception as error:
        _roll_back(connection)
        return [error] if len(commits) == 1 else _write_apart(commits, connection, publish)
    return [None] * len(commits)


def prune_answers(before_ms: int, connection: sqlite3.Connection) -> None:
    """Forget answers older than that."""
    connection.execute(
        "UPDATE texts SET body = NULL WHERE pos IN (SELECT text FROM answers WHERE at < ?)", (before_ms,)
    )
    connection.execute("DELETE FROM answers WHERE at < ?", (before_ms,))


def retime(sessions: Sequence[Retimed], connection: sqlite3.Connection) -> None:
    """Set other moments; a session whose state has changed since has right ones already."""
    connection.executemany(
        "UPDATE sessions SET due_at = ?, warn_at = ?, expires_at = ? WHERE id = ? AND state = ?",
        [(new.due_at, new.warn_at, new.expires_at, new.id, new.state) for new in sessions],
    )


def note(kind: str, name: str, value: bytes | None, connection: sqlite3.Connection) -> None:
    """Keep a note, or forget it."""
    if value is None:
        connection.execute("DELETE FROM notes WHERE kind = ? AND name = ?", (kind, name))
    else:
        connection.execute("INSERT OR REPLACE INTO notes (kind, name, value) VALUES (?, ?, ?)", (kind, name, value))


def touch(connection: sqlite3.Connection) -> None:
    """Write a page, to see whether the disk takes it."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version}")


def _write_apart(commits: Sequence[Commit], connection: sqlite3.Connection, publish: Publish) -> list[Exception | None]:
    faults: list[Exception | None] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for commit in commits:
            faults.append(_try_one(connection, commit))
        publish(connection, [commit for commit, fault in zip(commits, faults, strict=True) if fault is None])
    except Exception as error:
        _roll_back(connection)
        return [error] * len(commits)
    return faults


def _try_one(connection: sqlite3.Connection, commit: Commit) -> Exception | None:
    connection.execute("SAVEPOINT one")
    try:
        _apply(connection, commit)
    except Exception as error:
        connection.execute("ROLLBACK TO one")
        return error
    finally:
        connection.execute("RELEASE one")
    return None


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _apply(connection: sqlite3.Connection, commit: Commit) -> None:
    if commit.purge_to is not None:
        sqlite_indexing.erase(connection, commit.session, commit.purge_to)
        connection.execute(_ERASE_EVENTS, (commit.session, commit.purge_to))
    if commit.forget:
        connection.executemany(_ERASE_KIND, [(commit.session, kind) for kind in _WORDS])
    if commit.drop_chunks:
        connection.execute(_ERASE_KIND, (commit.session, "chunk"))
    if commit.events:
        connection.executemany(
            "INSERT INTO events (session, seq, type, body) VALUES (?, ?, ?, ?)",
            [(commit.session, event.seq, event.type, event.body) for event in commit.events],
        )
    for chunk in commit.chunks:
        _keep(connection, commit.session, "chunk", chunk)
    if commit.row is not None:
        connection.execute(_UPSERT, astuple(commit.row))
    if commit.details is not None:
        connection.execute(_ERASE_KIND, (commit.session, "details"))
        pos = _keep(connection, commit.session, "details", commit.details)
        connection.execute("UPDATE sessions SET details = ? WHERE id = ?", (pos, commit.session))
    if commit.answer is not None:
        _keep_answer(connection, commit.session, commit.answer)
    if commit.also is not None:
        _apply(connection, commit.also)


def _keep(connection: sqlite3.Connection, session: int, kind: str, body: bytes) -> int | None:
    return connection.execute(
        "INSERT INTO texts (session, kind, body) VALUES (?, ?, ?)", (session, kind, body)
    ).lastrowid


def _keep_answer(connection: sqlite3.Connection, session: int, answer: Answer) -> None:
    text = _keep(connection, session, "answer" if answer.has_words else "receipt", answer.result)
    connection.execute(
        "INSERT INTO answers (scope, fingerprint, session, at, text) VALUES (?, ?, ?, ?, ?)",
        (answer.scope, answer.fingerprint, session, answer.at, text),
    )
