"""Starting what is measured: each server is a process of its own, which tells the CPU it has used."""

import asyncio
import json
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DISK = Path("/var/tmp") if Path("/var/tmp").is_dir() else None
"""For stores: a real disk by custom, where /tmp is memory on many machines and makes every fsync free."""


class Server:
    """A server that is up. `host` and `port` are where it listens."""

    def __init__(self, process: Process, url: str) -> None:
        self._process, self.url = process, url
        address = url.split("/")[2]
        self.host, self.port = address.rpartition(":")[0], int(address.rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self._process.pid

    async def cpu_us(self) -> float:
        """User and system time of all its threads until now, in microseconds."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(b"\n")
        return int(await self._process.stdout.readline()) / 1000


@asynccontextmanager
async def serving(kind: str, **options: Any) -> AsyncIterator[Server]:
    """Run a server of this kind (see `child`) until the block is left."""
    with tempfile.TemporaryFile() as errors:
        command = (sys.executable, "-m", "scripts.bench.child", kind, json.dumps(options))
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=errors, cwd=ROOT)
        assert process.stdin is not None and process.stdout is not None
        try:
            url = (await process.stdout.readline()).decode().strip()
            if not url:
                errors.seek(0)
                raise SystemExit(f"The {kind} server did not start:\n{errors.read().decode()}")
            yield Server(process, url)
        finally:
            process.stdin.close()
            await process.wait()


@asynccontextmanager
async def gateway(
    settings: str, fill: Callable[[Path], Awaitable[None]] | None = None
) -> AsyncIterator[tuple[Server, Path]]:
    """A gateway on a store that is new or filled before, with this TOML beside the defaults; gives its file too."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=DISK) as name:
        config = Path(name) / "gateway.toml"
        config.write_text(f'[server]\nport = 0\ndata_dir = "{name}/data"\n{settings}')
        if fill is not None:
            await fill(Path(name) / "data")
        async with serving("gateway", config=str(config)) as server:
            yield server, Path(name) / "data" / "gateway.db"
