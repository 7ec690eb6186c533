"""Following one session over one connection, as the wire tells it.

Ends with the connection; `following` is what comes back.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, Self, TypeVar

from msgspec import UNSET

from rpc_schema.notifications import ClosedParams, EventParams
from rpc_schema.subscriptions import SUBSCRIBE, Since, SubscribeParams, SubscribeResult
from rpc_schema.types import SubscriptionRef

from .connection import Connection
from .errors import SubscriptionLagged
from .frames import Notice
from .mailbox import Mailbox

Answer = TypeVar("Answer", bound=SubscribeResult | SubscriptionRef)


class Subscription(Generic[Answer]):
    """Iterate over it for events, deltas and, as the last, why it closed.

    `result` is the answer that made it; `since` is where another subscription
    would have to go on.

    Raises:
        ConnectionLost: after everything that had arrived.
        SubscriptionLagged: after everything that was kept for a consumer that
            is too slow (see `mailbox`); the connection and all else go on.
    """

    def __init__(self, connection: Connection, mailbox: Mailbox, result: Answer, since: Since) -> None:
        self.result, self.since = result, since
        self._connection = connection
        self._mailbox = mailbox
        self._is_closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Notice:
        if self._is_closed:
            raise StopAsyncIteration
        notice = await self._mailbox.take()
        if notice is None:
            raise SubscriptionLagged(self.since) if self._mailbox.is_lagged else self._connection.lost()
        if isinstance(notice, EventParams):
            self.since = Since(seq=notice.event.seq, epoch=notice.epoch)
        self._is_closed = isinstance(notice, ClosedParams)
        return notice


@asynccontextmanager
async def attach(connection: Connection, made: SubscriptionRef) -> AsyncIterator[Subscription[SubscriptionRef]]:
    """Take up the subscription that a create or a send made; unsubscribes at the end."""
    async with connection.mailbox(made.id) as mailbox:
        yield Subscription(connection, mailbox, made, Since(seq=made.head, epoch=made.epoch))


@asynccontextmanager
async def subscribe(
    connection: Connection, key: str, *, since: Since | None, deltas: bool
) -> AsyncIterator[Subscription[SubscribeResult]]:
    """Follow a session; unsubscribes at the end."""
    params = SubscribeParams(key=key, since=UNSET if since is None else since, deltas=deltas)
    result = await connection.call(SUBSCRIBE, params)
    async with connection.mailbox(result.subscription) as mailbox:
        yield Subscription(connection, mailbox, result, Since(seq=result.replay.from_ - 1, epoch=result.epoch))
