"""A gateway where nothing takes time."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.inside import client_of, gateway_of
from tests.fakes import FakeClock
from tests.raw import RawClient


@pytest.fixture
def clock() -> FakeClock:
    """The time of `still`."""
    return FakeClock()


@pytest.fixture
async def still(tmp_path: Path, clock: FakeClock) -> AsyncIterator[RawClient]:
    """A connection to a gateway whose clock stands still and whose echo answers at once."""
    async with gateway_of(tmp_path, clock=clock) as gateway, client_of(gateway) as opened:
        yield opened
