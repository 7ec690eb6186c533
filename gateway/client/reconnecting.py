"""Coming back: one connection after the other, for as long as coming back can help."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TypeVar

from rpc_schema.errors import RpcError

from .catchup import TextMissing
from .connection import Connection
from .errors import ClientError

T = TypeVar("T")


class Backoff:
    """How long to wait before the next attempt, in seconds: exponential, with full jitter."""

    def __init__(
        self, *, first_s: float = 0.2, most_s: float = 10.0, draw: Callable[[], float] = random.random
    ) -> None:
        self._first_s, self._most_s, self._draw = first_s, most_s, draw
        self._bound_s = first_s

    def next_s(self) -> float:
        """Somewhere between nothing and a bound that doubles."""
        bound_s, self._bound_s = self._bound_s, min(2 * self._bound_s, self._most_s)
        return bound_s * self._draw()

    def held_for(self, seconds: float) -> None:
        """A connection that held longer than the longest wait makes good for the failures before it."""
        if seconds > self._most_s:
            self._bound_s = self._first_s


async def reconnecting(
    opened: Callable[[], AbstractAsyncContextManager[Connection]], steps: Callable[[Connection], AsyncGenerator[T]]
) -> AsyncGenerator[T]:
    """Give the steps of one connection after the other, until one ends them by itself.

    The first connection must succeed; after that only what coming back cannot
    help is raised.
    """
    backoff = Backoff()
    has_begun = False
    while True:
        began = asyncio.get_running_loop().time()
        try:
            async with opened() as connection:
                has_begun = True
                async with aclosing(steps(connection)) as found:
                    async for step in found:
                        yield step
            return
        except (ClientError, RpcError, TextMissing) as error:
            if not has_begun or not is_temporary(error):
                raise
            pause_s = retry_after_s(error)
        backoff.held_for(asyncio.get_running_loop().time() - began)
        await asyncio.sleep(pause_s + backoff.next_s())


def is_temporary(error: ClientError | RpcError | TextMissing) -> bool:
    """Whether coming back can help."""
    match error:
        case ClientError():
            return error.is_temporary
        case RpcError():
            return error.retryable
    return True


def retry_after_s(error: ClientError | RpcError | TextMissing) -> float:
    """How long the gateway asks to wait before that."""
    match error:
        case ClientError():
            return error.retry_after_s or 0.0
        case RpcError():
            return float(error.data.get("retryAfterMs", 0)) / 1000
    return 0.0
