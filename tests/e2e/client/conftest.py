"""One gateway for the tests of a module, in a process of its own, as users of the Python client have it."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.e2e.processes import RunningGateway, running_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Shared: each test talks of sessions of its own."""
    with running_gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    """No test waits for ever."""
    async with asyncio.timeout(60):
        yield
