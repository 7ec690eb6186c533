"""Iterating over something that holds connections, so that it may be left at any time.

An abandoned async generator is closed by nobody in particular: when the loop
ends first, its connections stay open and tracebacks appear. So a task of its
own drives the source from start to end, and iterating only takes from it.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Generic, Self, TypeVar

S = TypeVar("S")
T = TypeVar("T")


class _End:
    """Nothing comes any more; `error` is why, if it is one."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


class Updates(Generic[S, T]):
    """An async iterator; leaving the loop early is enough, `aclose` also waits until all is closed.

    A cancelled or timed-out `anext` loses nothing: the next one goes on.
    """

    def __init__(self, source: AsyncGenerator[S], give: Callable[[S], T]) -> None:
        self._source = source
        self._give = give
        self._queue: asyncio.Queue[S | _End] = asyncio.Queue(maxsize=1)
        self._task: asyncio.Task[None] | None = None
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._is_over:
            raise StopAsyncIteration
        if self._task is None:
            self._task = asyncio.create_task(_drive(self._source, self._queue))
        item = await self._queue.get()
        if not isinstance(item, _End):
            return self._give(item)
        self._is_over = True
        if item.error is not None:
            raise item.error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the iteration and close what it held."""
        self._is_over = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def __del__(self) -> None:
        task = self._task
        if task is not None and not task.done() and not task.get_loop().is_closed():
            task.get_loop().call_soon_threadsafe(task.cancel)


async def _drive(source: AsyncGenerator[S], queue: asyncio.Queue[S | _End]) -> None:
    end = _End(None)
    try:
        async with aclosing(source) as items:
            async for item in items:
                await queue.put(item)
    except Exception as error:
        end = _End(error)
    await queue.put(end)
