"""What every suite uses: a gateway in this process, and a client that speaks raw frames."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from gateway.app import Gateway, running
from gateway.config import load
from tests.raw import RawClient, raw_client

Connect = Callable[[], AbstractAsyncContextManager[RawClient]]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A running gateway with the echo agent on a free port."""
    async with running(load(None, {}, {"server.port": 0, "server.data_dir": str(tmp_path / "data")}).settings) as up:
        yield up


@pytest.fixture
def connect(gateway: Gateway) -> Connect:
    """Open another connection to the gateway."""
    return lambda: raw_client(f"ws://{gateway.authority}/rpc")


@pytest.fixture
async def client(connect: Connect) -> AsyncIterator[RawClient]:
    """A connection to the gateway."""
    async with connect() as opened:
        yield opened


def pytest_sessionfinish(session: pytest.Session) -> None:
    """On CI nothing may be skipped: what a test needs is installed there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line("CI fails on skipped tests.", red=True)
