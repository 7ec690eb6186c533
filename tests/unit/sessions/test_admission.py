"""Counting and making a session is one step."""

import asyncio

import pytest

from gateway.sessions.admission import Admission
from gateway.storage.base import Commit
from rpc_schema.errors import SessionLimit, StoreUnavailable
from tests.contract.stores import row
from tests.fakes import MemoryStore


async def make(store: MemoryStore, admission: Admission, id: int, limit: int | None, user: str = "ann") -> None:
    async with admission.room("default", user, "echo", limit):
        await asyncio.sleep(0)
        await store.commit(Commit(session=id, row=row(id, user=user)))


async def test_the_limit() -> None:
    """As many as that, and the refusal says how many there are; another user has a count of their own."""
    store = MemoryStore()
    admission = Admission(store)
    await make(store, admission, 1, 2)
    await make(store, admission, 2, 2)
    with pytest.raises(SessionLimit) as refused:
        await make(store, admission, 3, 2)
    assert (refused.value.limit, refused.value.current) == (2, 2)
    await make(store, admission, 4, 2, user="bob")
    await make(store, admission, 5, None)
    assert await store.count_open("default", "ann", "echo") == 3


async def test_many_at_once() -> None:
    """However many try together, just so many get in, and one who gives up takes no room."""
    store = MemoryStore()
    admission = Admission(store)
    tasks = [asyncio.create_task(make(store, admission, id, 5)) for id in range(1, 30)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[7].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results].count(SessionLimit) == 22
    assert await store.count_open("default", "ann", "echo") == 5


async def test_a_store_that_fails() -> None:
    """Nobody gets in uncounted; where nothing is counted it is not asked."""
    store = MemoryStore()
    admission = Admission(store)
    with store.failing():
        with pytest.raises(StoreUnavailable):
            await make(store, admission, 1, 5)
        async with admission.room("default", "ann", "echo", None):
            pass
    await make(store, admission, 1, 1)
