"""`gateway sessions export`: a session's log as a file, whole or not at all."""

import asyncio
import hashlib
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import IO, Any

import click

from .errors import Failure
from .options import Caller, calls_gateway
from .output import escape


@click.command("export")
@click.argument("key")
@click.option("-f", "--file", "name", default="-", show_default=True, help="Where to; - is stdout.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["jsonl", "markdown", "openai"]),
    default="jsonl",
    show_default=True,
    help="All there is, a page to read, or messages for a model.",
)
@calls_gateway
def command(caller: Caller, key: str, name: str, kind: str) -> None:
    """Export a session; as jsonl it can be imported again.

    The checksum at the end of jsonl is verified. A file appears when it is
    whole, and replaces what was there; only its owner may read it.
    """
    params = {"key": key, "format": kind}
    try:
        with _opened(name) as file:
            whole = asyncio.run(_export(caller, params, file))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failure(f"Cannot write {name}: {error.strerror}.") from error
    caller.talk(f"{whole[0]}{'' if name == '-' else f' in {name}'}{whole[1]}.")


async def _export(caller: Caller, params: dict[str, str], file: IO[bytes]) -> tuple[str, str]:
    """Write the export; say how much there is, and how that is known.

    A terminal is shown every control character escaped.
    """
    is_shown, is_sealed = file.isatty(), params["format"] == "jsonl"
    seal, count = Seal(), 0
    async with aclosing(_lines(caller, params)) as lines:
        async for line in lines:
            seal.add(line)
            count += 1
            file.write(escape(line.decode()).encode() if is_shown else line)
    return (f"{seal.verified()} events", "; the checksum is right") if is_sealed else (f"{count} lines", "")


async def _lines(caller: Caller, params: dict[str, str]) -> AsyncGenerator[bytes]:
    """The lines of the export, each with its LF; the last may lack it."""
    rest = b""
    async with caller.connect() as gateway:
        while True:
            page = await gateway.call("session.export", params)
            *lines, rest = (rest + page["data"].encode()).split(b"\n")
            for line in lines:
                yield line + b"\n"
            if page.get("nextCursor") is None:
                break
            params = params | {"cursor": page["nextCursor"]}
    if rest:
        yield rest


class Seal:
    """Checks an export against its last line, `{"type":"end","events":n,"sha256":"…"}`."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._last = b""
        self._lines = 0

    def add(self, line: bytes) -> None:
        """The next line, with its LF."""
        self._hash.update(self._last)
        self._last = line
        self._lines += 1

    def verified(self) -> int:
        """How many events there are.

        Raises:
            Failure: what came is not what was sent.
        """
        end = _end(self._last)
        if not self._last.endswith(b"\n") or end is None:
            raise Failure("The export has no end line; it is not whole. Try again.")
        if end.get("sha256") != self._hash.hexdigest() or end.get("events") != self._lines - 2:
            raise Failure("The export's checksum is wrong: it changed on its way. Try again.")
        return self._lines - 2


def _end(line: bytes) -> dict[str, Any] | None:
    import json

    try:
        end = json.loads(line)
    except ValueError:
        return None
    return end if isinstance(end, dict) and end.get("type") == "end" else None


@contextmanager
def _opened(name: str) -> Iterator[IO[bytes]]:
    """Stdout, a device, or a file that takes its name when all went well."""
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(name)
    if path.exists() and not path.is_file():
        with path.open("wb") as device:
            yield device
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink()
            raise
