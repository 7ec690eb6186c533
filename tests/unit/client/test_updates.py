"""Iterating over something that is open: leaving, failing, waiting."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from gateway.client.updates import Updates


class Source:
    """Gives numbers, then fails if told to; says when it was closed."""

    def __init__(self, many: int, error: Exception | None = None) -> None:
        self.closed = asyncio.Event()
        self.given = 0
        self.may_go_on = asyncio.Event()
        self._many, self._error = many, error

    async def numbers(self) -> AsyncGenerator[int]:
        try:
            for number in range(self._many):
                self.given += 1
                yield number
            if self._error is not None:
                raise self._error
            await self.may_go_on.wait()
            yield self._many
        finally:
            await asyncio.sleep(0)
            self.closed.set()


def updates(source: Source) -> Updates[int, int]:
    return Updates(source.numbers(), lambda number: number)


@pytest.fixture(autouse=True)
async def bounded() -> AsyncGenerator[None]:
    async with asyncio.timeout(10):
        yield


async def test_everything_is_given_in_order_and_then_closed() -> None:
    """The source is closed before the iteration ends."""
    source = Source(5)
    source.may_go_on.set()
    assert [number async for number in updates(source)] == [0, 1, 2, 3, 4, 5]
    assert source.closed.is_set()


async def test_an_error_comes_after_what_came_before_it() -> None:
    """Once; after it the iteration is over."""
    source = Source(2, KeyError("x"))
    iterator = updates(source)
    assert [await anext(iterator), await anext(iterator)] == [0, 1]
    with pytest.raises(KeyError):
        await anext(iterator)
    assert source.closed.is_set()
    with pytest.raises(StopAsyncIteration):
        await anext(iterator)


async def test_the_source_is_hardly_ahead() -> None:
    """What nobody takes is not fetched."""
    source = Source(1000)
    iterator = updates(source)
    await anext(iterator)
    for _ in range(100):
        await asyncio.sleep(0)
    assert source.given <= 3
    await iterator.aclose()


async def test_leaving_a_loop_closes_the_source() -> None:
    """Without a word more."""
    source = Source(1000)
    async for _ in updates(source):
        break
    gc.collect()
    await source.closed.wait()


async def test_a_wait_that_is_given_up_loses_nothing() -> None:
    """The next one gets what this one would have had."""
    source = Source(1)
    iterator = updates(source)
    assert await anext(iterator) == 0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(iterator), 0.01)
    source.may_go_on.set()
    assert await anext(iterator) == 1


async def test_closing_waits_until_all_is_closed() -> None:
    """Before the first update, in the middle, and twice."""
    for takes in (0, 1):
        source = Source(10)
        iterator: Any = updates(source)
        for _ in range(takes):
            await anext(iterator)
        await iterator.aclose()
        await iterator.aclose()
        assert source.closed.is_set() == bool(takes)
        with pytest.raises(StopAsyncIteration):
            await anext(iterator)


async def test_what_is_given_may_be_made_of_what_came() -> None:
    """And is made when it is taken, not before."""
    source, taken = Source(1000), list[int]()

    def give(number: int) -> str:
        taken.append(number)
        return str(number)

    iterator = Updates(source.numbers(), give)
    assert await anext(iterator) == "0"
    assert taken == [0]
    await iterator.aclose()
