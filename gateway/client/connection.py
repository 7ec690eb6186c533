"""One connection: calls out, answers and notices in.

A single reader takes every frame in order and hands answers to the calls that
wait and notices to the mailboxes of their subscriptions; it never waits for a
consumer while a call waits for it (see `mailbox`). When the connection ends, so
does every call and every subscription, with the reason.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, Self, TypeVar

import msgspec
from msgspec import UNSET, MsgspecError, Raw, Struct
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from rpc_schema import close_codes
from rpc_schema.descriptors import Method
from rpc_schema.errors import Overloaded, RequestTooBig, RpcError, Unauthenticated
from rpc_schema.notifications import SHUTDOWN
from rpc_schema.subscriptions import UNSUBSCRIBE, UnsubscribeParams
from rpc_schema.system import CANCEL, HELLO, CancelParams, Client, HelloParams, HelloResult

from . import frames, mailbox
from .calls import Calls
from .errors import ClientError, ConnectionLost, GatewayRefused, GatewayUnreachable, UnexpectedMessage
from .mailbox import Mailbox, Mailboxes
from .opening import CLOSE_S, OPEN_S, address, open_socket

P = TypeVar("P", bound=Struct)
R = TypeVar("R")

PLACE_S: Final = 10.0
_BYTES_BEFORE_HELLO: Final = 64 * 1024


class Connection:
    """Requests and mailboxes over one socket. `hello` is who the gateway is, and what it takes."""

    hello: HelloResult

    def __init__(self, url: str, socket: ClientConnection) -> None:
        self.url = url
        self._socket = socket
        self._message_bytes = _BYTES_BEFORE_HELLO
        self._calls = Calls()
        self._room = asyncio.Event()
        self._mailboxes = Mailboxes(self._room)
        self._retry_after_s: float | None = None
        self._end: Callable[[], ClientError] | None = None
        self._is_closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    @asynccontextmanager
    async def opened(cls, url: str, *, token: str | None, client: str) -> AsyncIterator[Self]:
        """Connect and introduce oneself; closes at the end. Raises as `connect`."""
        url = address(url)
        connection = cls(url, await open_socket(url, token))
        try:
            await connection._greet(client)
            yield connection
        finally:
            await connection._close()

    async def request(self, method: str, params: Struct | Mapping[str, Any] | None = None) -> Raw:
        """Ask and wait for the result. Raises as `GatewayClient.call`.

        A call for which the gateway has no place yet never began, so it is asked
        again for up to PLACE_S.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + PLACE_S
        while True:
            try:
                return await self._ask(method, params)
            except Overloaded as error:
                pause_s = error.retry_after_ms / 1000 * random.uniform(0.5, 1.5)
                if clock() + pause_s > deadline:
                    raise
            await asyncio.sleep(pause_s)

    async def call(self, method: Method[P, R], params: P) -> R:
        """Ask and read the result. Raises as `GatewayClient.call`."""
        return frames.read_as(method.result, method.name, await self.request(method.name, params))

    @asynccontextmanager
    async def mailbox(self, subscription: str) -> AsyncIterator[Mailbox]:
        """What a subscription of this connection is told; unsubscribes at the end."""
        box = self._mailboxes.open(subscription)
        try:
            yield box
        finally:
            box.end()
            await asyncio.wait({self._spawn(self._unsubscribe(subscription))})

    def lost(self) -> ClientError:
        """Why nothing comes any more."""
        return self._end() if self._end else ConnectionLost(None, "closed by this client")

    async def _close(self) -> None:
        """Within seconds, also when the gateway does not answer."""
        self._is_closing = True
        self._room.set()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._socket.close()
        finally:
            if self._socket.state is not State.CLOSED:
                self._socket.transport.abort()
            self._reader.cancel()
        await asyncio.wait({self._reader, *self._tasks})

    async def _greet(self, client: str) -> None:
        params = HelloParams(client=Client(name=client))
        try:
            async with asyncio.timeout(OPEN_S):
                self.hello = await self.call(HELLO, params)
        except TimeoutError as error:
            raise GatewayUnreachable(self.url, "no answer in time") from error
        except ConnectionLost as error:
            raise self._turned_away(error) from error
        if self.hello.principal is None:
            raise Unauthenticated
        self._message_bytes = self.hello.limits.message_bytes

    def _turned_away(self, error: ConnectionLost) -> Exception:
        if error.code == close_codes.UNAUTHENTICATED:
            return Unauthenticated()
        if error.is_temporary:
            return error
        return GatewayRefused(self.url, close_codes.MEANING.get(error.code or 0, error.reason))

    async def _ask(self, method: str, params: Struct | Mapping[str, Any] | None) -> Raw:
        if self._end is not None:
            raise self._end()
        number, answer = self._calls.begin()
        try:
            frame = frames.request(method, params, id=number)
            if len(frame) > self._message_bytes:
                raise RequestTooBig(limit=self._message_bytes)
            self._room.set()
            return await self._answered(number, frame, answer)
        finally:
            self._calls.forget(number)

    async def _answered(self, number: int, frame: bytes, answer: asyncio.Future[Raw]) -> Raw:
        try:
            await self._send(frame)
            return await answer
        except asyncio.CancelledError:
            unseen = self._calls.abandon(number)
            if unseen is not None:
                self._undo(unseen)
            elif self._end is None:
                self._spawn(self._send(frames.request(CANCEL.name, CancelParams(id=number))))
            raise

    async def _send(self, frame: bytes) -> None:
        with suppress(ConnectionClosed):  # the reader tells everyone
            await self._socket.send(frame, text=True)

    def _undo(self, result: Raw) -> None:
        if subscription := frames.subscription_of(result):
            self._spawn(self._unsubscribe(subscription))

    async def _unsubscribe(self, subscription: str) -> None:
        with suppress(ClientError, RpcError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self.call(UNSUBSCRIBE, UnsubscribeParams(subscription=subscription))
        self._mailboxes.close(subscription)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _read(self) -> None:
        end: Callable[[], ClientError] = partial(ConnectionLost, None, "closed by this client")
        try:
            while True:
                full = self._take(await self._socket.recv(decode=False))
                if full is not None:
                    await self._wait_for_room(full)
        except ConnectionClosed as closed:
            end = self._reason(closed)
        except MsgspecError as error:
            end = partial(UnexpectedMessage, "what the gateway says", error)
            self._socket.transport.abort()
        finally:
            self._end = end
            self._calls.fail(end)
            self._mailboxes.end()

    def _take(self, frame: bytes) -> Mailbox | None:
        """Hand a frame on; give the mailbox that it filled up, if it did."""
        message = frames.read(frame)
        if message.method is UNSET:
            if (unseen := self._calls.settle(message)) is not None:
                self._undo(unseen)
        elif message.method == SHUTDOWN.name and message.params is not UNSET:
            self._retry_after_s = msgspec.json.decode(message.params, type=SHUTDOWN.params).retry_after_ms / 1000
        elif (notice := frames.read_notice(message)) is not None:
            return self._mailboxes.put(notice, len(frame))
        return None

    async def _wait_for_room(self, full: Mailbox) -> None:
        while full.is_full and not self._calls and not self._is_closing:
            self._room.clear()
            try:
                async with asyncio.timeout(mailbox.STALL_S):
                    await self._room.wait()
            except TimeoutError:
                full.lag()

    def _reason(self, closed: ConnectionClosed) -> Callable[[], ClientError]:
        if closed.rcvd is not None:
            return partial(ConnectionLost, closed.rcvd.code, closed.rcvd.reason, retry_after_s=self._retry_after_s)
        if self._is_closing:
            return partial(ConnectionLost, None, "closed by this client")
        said = closed.sent.reason if closed.sent is not None else "the network dropped it"
        return partial(ConnectionLost, None, said, retry_after_s=self._retry_after_s)
