"""Rows of gateway tokens. Runs in a connection's thread; knows SQL and nothing of the loop."""

import sqlite3
from collections.abc import Mapping

import msgspec
from msgspec.structs import asdict, fields

from .base import TokenRow

_COLUMNS = [field.name for field in fields(TokenRow)]
_INSERT = f"INSERT INTO tokens ({', '.join(_COLUMNS)}) VALUES ({', '.join(':' + name for name in _COLUMNS)})"
_LISTS = ("roles", "scopes")


def read(connection: sqlite3.Connection) -> list[TokenRow]:
    """All of them, in the order in which they were made."""
    rows = connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM tokens ORDER BY created_at, id").fetchall()
    return [_row(dict(zip(_COLUMNS, row, strict=True))) for row in rows]


def add(row: TokenRow, connection: sqlite3.Connection) -> None:
    """Keep a new one."""
    values = asdict(row)
    connection.execute(_INSERT, values | {name: msgspec.json.encode(values[name]).decode() for name in _LISTS})


def revoke(id: str, at: int, connection: sqlite3.Connection) -> None:
    """Write down when it was revoked; the first time counts."""
    connection.execute("UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (at, id))


def touch(used: Mapping[str, int], connection: sqlite3.Connection) -> None:
    """Write down when they were last used."""
    connection.executemany("UPDATE tokens SET last_used_at = ? WHERE id = ?", [(at, id) for id, at in used.items()])


def _row(values: dict[str, object]) -> TokenRow:
    decoded = {name: msgspec.json.decode(str(values[name]), type=list[str]) for name in _LISTS}
    return msgspec.convert(values | decoded, TokenRow)
