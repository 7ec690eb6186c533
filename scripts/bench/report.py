"""What was measured, as one table or as JSON."""

import json
import os
import platform
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, NamedTuple

_PACKAGES = ("websockets", "msgspec", "jsonrpcserver", "aiosqlite", "aiohttp")
_HEAD = ("what", "floor", "gateway", "added", "ratio", "unit")


class Row(NamedTuple):
    """One line: the least it could cost and what it does cost, in one unit."""

    what: str
    floor: float
    gateway: float
    unit: str

    @property
    def added(self) -> float:
        return self.gateway - self.floor

    @property
    def ratio(self) -> float:
        return self.gateway / self.floor if self.floor else float("nan")


def as_table(rows: Sequence[Row]) -> str:
    """A Markdown table, aligned."""
    lines = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:-1]), "-" * widths[-1]]
    return "\n".join(_line(line, widths) for line in (_HEAD, tuple(rule), *lines[1:]))


def as_json(rows: Sequence[Row]) -> str:
    """The same for programs, with where it was measured."""
    measured: list[dict[str, Any]] = [{**row._asdict(), "added": row.added, "ratio": row.ratio} for row in rows]
    return json.dumps({"machine": machine(), "rows": measured}, indent=2, ensure_ascii=False)


def machine() -> str:
    """When and on what."""
    loop = "uvloop" if find_spec("uvloop") else "asyncio"
    packages = [*_PACKAGES, "uvloop"] if loop == "uvloop" else _PACKAGES
    parts = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        f"Python {platform.python_version()}, loop {loop}, SQLite {sqlite3.sqlite_version}",
        ", ".join(f"{name} {version(name)}" for name in packages),
    ]
    return "; ".join(parts)


def _cells(row: Row) -> tuple[str, ...]:
    sign = "+" if row.added > 0 else ""
    return row.what, _number(row.floor), _number(row.gateway), sign + _number(row.added), f"{row.ratio:.2f}", row.unit


def _number(value: float) -> str:
    """Three digits that mean something."""
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *middle, last = zip(cells, widths, strict=True)
    between = [cell.rjust(width) for cell, width in middle]
    return "| " + " | ".join([first[0].ljust(first[1]), *between, last[0].ljust(last[1])]) + " |"
