"""Watching a list of sessions for as long as one wants to, over any number of connections."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial

from rpc_schema.notifications import ChangedParams, ClosedParams
from rpc_schema.subscriptions import WATCH, WatchParams, WatchResult

from .connection import Connection
from .errors import SubscriptionClosed, WatchLagged
from .mailbox import Mailbox
from .reconnecting import reconnecting
from .table import Table
from .updates import Updates

WatchUpdate = WatchResult | ChangedParams | ClosedParams
_Step = tuple[WatchUpdate, str]


class Watching:
    """A list of sessions that keeps itself up to date, whatever happens to the connection; iterate over it.

    Gives a WatchResult (the list as it is now) first and again after every new
    connection, in between each ChangedParams. `table` has what was given so far:
    the sessions of the list, of which an answer has at most `limit`, and every
    session that changed since. Iterating again begins anew. The loop may be left
    at any time; `Updates.aclose` waits until all is closed.

    The first connection must succeed; after that it comes back for ever, where
    coming back can help. Ends after a ClosedParams that says why nothing more may
    be seen.

    Raises:
        GatewayUnreachable, GatewayRefused, Unauthenticated: as `connect`.
        ConnectionLost: with a code that another try cannot help (say, 4403).
        RpcError: the list cannot be watched.
    """

    def __init__(self, params: WatchParams, *, url: str, token: str | None, client: str) -> None:
        self.params = params
        self.table = Table()
        self._url, self._token, self._client = url, token, client

    def __aiter__(self) -> Updates[_Step, WatchUpdate]:
        return Updates(self._steps(), self._give)

    def _give(self, step: _Step) -> WatchUpdate:
        update, self.table.tenant = step
        match update:
            case WatchResult():
                self.table.replace(update.sessions)
            case ChangedParams():
                self.table.apply(update)
        return update

    async def _steps(self) -> AsyncGenerator[_Step]:
        async def steps(connection: Connection) -> AsyncGenerator[_Step]:
            me = connection.hello.principal
            async with aclosing(self._updates(connection)) as updates:
                async for update in updates:
                    yield update, me.tenant if me is not None else ""

        opened = partial(Connection.opened, self._url, token=self._token, client=self._client)
        async with aclosing(reconnecting(opened, steps)) as all_steps:
            async for step in all_steps:
                yield step

    async def _updates(self, connection: Connection) -> AsyncGenerator[WatchUpdate]:
        async with _watch(connection, self.params) as (result, mailbox):
            yield result
            while (notice := await mailbox.take()) is not None:
                match notice:
                    case ChangedParams():
                        yield notice
                    case ClosedParams(resumable=True):
                        raise SubscriptionClosed(notice)
                    case ClosedParams():
                        yield notice
                        return
            raise WatchLagged if mailbox.is_lagged else connection.lost()


@asynccontextmanager
async def _watch(connection: Connection, params: WatchParams) -> AsyncIterator[tuple[WatchResult, Mailbox]]:
    """Watch over one connection; unsubscribes at the end."""
    result = await connection.call(WATCH, params)
    async with connection.mailbox(result.subscription) as mailbox:
        yield result, mailbox
