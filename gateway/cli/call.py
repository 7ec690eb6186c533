"""`gateway call`: any method, as the wire has it."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from .options import Caller, calls_gateway
from .output import print_json


@click.command()
@click.argument("method")
@click.argument("params", default="{}", metavar="[JSON|@FILE|-]")
@calls_gateway
def command(caller: Caller, method: str, params: str) -> None:
    """Call METHOD with the params of a JSON object and print its result.

    The params are the argument itself, a file with @FILE, or stdin with -.
    `gateway call rpc.discover` lists the methods.

    \b
    gateway call session.send '{"key": "mine", "content": "Hello", "wait": true}'
    """
    print_json(asyncio.run(_call(caller, method, _parse(*_read(params)))))


async def _call(caller: Caller, method: str, params: dict[str, Any]) -> Any:
    async with caller.connect() as gateway:
        return await gateway.call(method, params)


def _read(params: str) -> tuple[str, str]:
    """Where the params come from, and their text."""
    if params == "-":
        return "stdin", _decoded("stdin", sys.stdin.buffer.read())
    if not params.startswith("@"):
        return "The argument", params
    try:
        return params[1:], _decoded(params[1:], Path(params[1:]).read_bytes())
    except OSError as error:
        raise click.UsageError(f"Cannot read {params[1:]}: {error.strerror}.") from error


def _decoded(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{name} is not UTF-8 at byte {error.start}.") from error


def _parse(name: str, text: str) -> dict[str, Any]:
    """The params as the wire takes them: strict JSON, an object."""
    import json

    try:
        params = json.loads(text, parse_constant=_refuse)
        json.dumps(params, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise click.UsageError(f"{name} is not JSON: {error.msg} at {place}.") from error
    except UnicodeEncodeError as error:
        raise click.UsageError(f"{name} has half of a surrogate pair, which no text has.") from error
    except RecursionError as error:
        raise click.UsageError(f"{name} is nested too deeply.") from error
    if not isinstance(params, dict):
        raise click.UsageError(f"{name} is not a JSON object; params go by name.")
    return params


def _refuse(constant: str) -> Any:
    raise click.UsageError(f"{constant} is not JSON; use null or a string.")
