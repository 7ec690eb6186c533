"""`gateway sessions import`: a session that was exported, brought back whole or not at all."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from .errors import Failure
from .options import Caller, calls_gateway
from .output import one_line


@click.command("import")
@click.argument("name", metavar="FILE")
@click.option("--key", help="Instead of the key in the file.")
@click.option("--rename", is_flag=True, help="Where the key is taken, put a number behind it.")
@calls_gateway
def command(caller: Caller, name: str, key: str | None, *, rename: bool) -> None:
    """Import a session from a jsonl export; - is stdin. The new session's key goes to stdout."""
    params = {"data": _read(name), "onConflict": "rename" if rename else "fail"} | ({"key": key} if key else {})
    imported = asyncio.run(_import(caller, params))
    click.echo(one_line(imported["session"]["key"]))
    caller.talk(f"{imported['events']} events imported.")


async def _import(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    async with caller.connect() as gateway:
        imported: dict[str, Any] = await gateway.call("session.import", params)
        return imported


def _read(name: str) -> str:
    """The file as text; its line ends stay as they are."""
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return content.decode()
    except OSError as error:
        raise Failure(f"Cannot read {name}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Failure(f"Cannot read {name}: line {line} is not UTF-8.") from error
