"""What the server's suites share: time that can be skipped, and a gateway whose agent does not dawdle."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.app import Gateway, running
from gateway.config import load

AGENTS = '[[agents]]\nid = "echo"\nkind = "echo"\noptions = { delay_ms = 0 }\n'
OUTBOX_BYTES = 256 * 1024


class Skip:
    """The event loop's time, which goes on by itself and can be made to jump."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        time, self._skipped_s = loop.time, 0.0
        monkeypatch.setattr(loop, "time", lambda: time() + self._skipped_s)

    async def __call__(self, seconds: float) -> None:
        """Jump, and let what has become due run. Not inside a timeout: it would be over."""
        self._skipped_s += seconds
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.fixture
async def skip(monkeypatch: pytest.MonkeyPatch) -> Skip:
    """Make time jump: await it with a number of seconds."""
    return Skip(monkeypatch)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A running gateway with a small outbox per connection and an echo agent without delay."""
    config = tmp_path / "gateway.toml"
    config.write_text(AGENTS)
    flags = {"server.port": 0, "server.data_dir": str(tmp_path / "data"), "limits.outbox_bytes": OUTBOX_BYTES}
    async with running(load(config, {}, flags).settings) as up:
        yield up
