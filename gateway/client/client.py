"""The client that scripts hold: calls, subscriptions, chats, followings, watched lists."""
# ruff: noqa: ASYNC109  # `timeout=` is what callers of a client look for

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar, overload

from msgspec import Struct

from rpc_schema.descriptors import Method
from rpc_schema.subscriptions import Since, SubscribeResult, WatchParams
from rpc_schema.system import HelloResult
from rpc_schema.types import BulkResult, NoParams, SubscriptionRef

from . import subscription
from .chat import Chat
from .connection import Connection
from .following import Following
from .frames import read_as
from .opening import DEFAULT_URL
from .subscription import Subscription
from .watching import Watching

P = TypeVar("P", bound=Struct)
R = TypeVar("R")


class GatewayClient:
    """One connection to a gateway; `connect` makes it. Any number of tasks may share it."""

    def __init__(self, connection: Connection, *, token: str | None, name: str) -> None:
        self._connection, self._token, self._name = connection, token, name

    @property
    def hello(self) -> HelloResult:
        """Who the gateway is, whom it takes us for, and what it takes."""
        return self._connection.hello

    @overload
    async def call(
        self, method: Method[NoParams, R], params: NoParams | None = None, *, timeout: float | None = None
    ) -> R: ...
    @overload
    async def call(self, method: Method[P, R], params: P, *, timeout: float | None = None) -> R: ...
    @overload
    async def call(
        self, method: str, params: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> Any: ...
    async def call(
        self,
        method: Method[Any, Any] | str,
        params: Struct | Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> Any:
        """Call a method and wait for its answer, at most `timeout` seconds.

        A descriptor of rpc_schema takes and gives its structs; a name takes and
        gives plain JSON values. Cancelling takes the request back
        (`$/cancelRequest`): it took effect or did not, and the connection lives on.
        A call for which the gateway has no place yet (`Overloaded`) is asked again
        for up to 10 s.

        Raises:
            RpcError: the gateway's answer, as the class of its code.
            TimeoutError: no answer in time; the request was taken back.
            ConnectionLost: there will be no answer; what was asked may have happened.
            UnexpectedMessage: the answer does not fit the method.
        """
        name = method if isinstance(method, str) else method.name
        async with asyncio.timeout(timeout):
            answer = await self._connection.request(name, params)
        return read_as(Any if isinstance(method, str) else method.result, name, answer)

    async def call_many(self, method: Method[P, R], params: P) -> BulkResult:
        """Call a method that takes `keys`, with them: one bad key never fails the rest. Raises as `call`."""
        return read_as(BulkResult, method.name, await self._connection.request(method.name, params))

    def subscribe(
        self, key: str, *, since: Since | None = None, deltas: bool = True
    ) -> AbstractAsyncContextManager[Subscription[SubscribeResult]]:
        """Follow a session while this connection lasts; after `since`, or from now on."""
        return subscription.subscribe(self._connection, key, since=since, deltas=deltas)

    def attach(self, made: SubscriptionRef) -> AbstractAsyncContextManager[Subscription[SubscriptionRef]]:
        """Take up the subscription that `session.create` or `session.send` made on this connection."""
        return subscription.attach(self._connection, made)

    def chat(self, agent: str | None, content: str, *, key: str | None = None) -> Chat:
        """Send a message and iterate over its answer.

        Goes to the session `key`, which is made with `agent` when it is new
        (None: it must exist); without a key to a new session, see `Chat.key`.
        """
        return Chat(self._connection, agent, content, key)

    def follow(self, key: str, *, since: Since | None = None, deltas: bool = True) -> Following:
        """Follow a session over connections of its own, see `Following`."""
        url = self._connection.url
        return Following(key, url=url, token=self._token, client=self._name, since=since, deltas=deltas)

    def watch(self, params: WatchParams | None = None) -> Watching:
        """Watch a list of sessions over connections of its own, see `Watching`."""
        url = self._connection.url
        return Watching(params or WatchParams(), url=url, token=self._token, client=self._name)


@asynccontextmanager
async def connect(
    url: str = DEFAULT_URL, *, token: str | None = None, client: str = "python"
) -> AsyncIterator[GatewayClient]:
    """Connect to a gateway; `client` is the name it logs.

    `http(s)://` stands for `ws(s)://`, and a missing path for `/rpc`. Opening
    takes at most 10 seconds, closing at most 5.

    Raises:
        GatewayUnreachable: nothing that answers is a gateway.
        GatewayRefused: it takes no connection from here.
        Unauthenticated: it does not take the token.
        ValueError: the address or the token is none.
    """
    async with Connection.opened(url, token=token, client=client) as connection:
        yield GatewayClient(connection, token=token, name=client)


def follow(
    key: str,
    *,
    url: str = DEFAULT_URL,
    token: str | None = None,
    client: str = "python",
    since: Since | None = None,
    deltas: bool = True,
) -> Following:
    """Follow a session over any number of connections, see `Following`."""
    return Following(key, url=url, token=token, client=client, since=since, deltas=deltas)


def watch(
    params: WatchParams | None = None, *, url: str = DEFAULT_URL, token: str | None = None, client: str = "python"
) -> Watching:
    """Watch a list of sessions over any number of connections, see `Watching`."""
    return Watching(params or WatchParams(), url=url, token=token, client=client)
