"""One client's connection: reads messages, gives each request its place, answers.

Requests run side by side, each in a task of its own, made in the order of
arrival: whoever needs a session joins its line first thing, so calls on one
session take effect in their order. What waits for nothing is answered in the
reader itself.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import structlog
from msgspec import UNSET, UnsetType
from websockets.exceptions import ConnectionClosed

from gateway.auth.permissions import NEEDED
from gateway.auth.principal import Credential
from gateway.auth.tokens import is_past
from gateway.hub.hub import Closable
from gateway.rpc import frames
from gateway.rpc.dispatcher import Dispatcher, broken
from gateway.rpc.frames import Element, Refusal
from gateway.services import Call, Services
from rpc_schema import close_codes
from rpc_schema.envelope import Id, Request
from rpc_schema.errors import Cancelled, InvalidRequest, Overloaded, RequestTooBig, ResponseTooBig, Unauthenticated

from .outbox import Outbox, text_frame
from .socket import STALLED_GRACE_S, Socket

BATCH_AT_ONCE = 8
STRANGER_BYTES = 64 * 1024
"""Of one message, until the caller is known."""
LAST_WORDS_S = 0.1
EXPEL_GRACE_S = 1.0
RETRY_AFTER_MS = 100
Reply = Callable[[bytes | None], None]
log = structlog.get_logger(__name__)


class Connection:
    """A Peer: one socket, its requests in flight, its subscriptions.

    `on_admitted` is called when it goes by another credential, `on_gone` once.
    """

    on_admitted: Callable[[], None] = staticmethod(lambda: None)
    on_gone: Callable[[], None] = staticmethod(lambda: None)

    def __init__(
        self, id: str, socket: Socket, credential: Credential | None, services: Services, dispatcher: Dispatcher[Call]
    ) -> None:
        self.id, self.credential = id, credential
        self.since = services.clock.now_ms()
        self.client: str | None = None
        self.subscriptions: dict[str, Closable] = {}
        self._socket, self._services, self._dispatcher = socket, services, dispatcher
        self.outbox = Outbox(socket.transport, services.limits.outbox_bytes, self._give_up)
        self._in_flight: dict[Id, asyncio.Task[None] | None] = {}
        self._places_taken = 0
        self._subscriptions_made = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False
        socket.on_writable = lambda is_writable: self.outbox.resume() if is_writable else self.outbox.pause()
        socket.on_lost = self.outbox.close

    @property
    def remote(self) -> str | None:
        """Address and port of the other end."""
        address = self._socket.remote_address
        return f"{address[0]}:{address[1]}" if address else None

    def admit(self, credential: Credential) -> None:
        """Go by this from now on; what it follows and may no longer read is closed."""
        self.credential = credential
        limit_messages(self._socket, self._services.limits.message_bytes)
        self.review()
        self.on_admitted()
        log.info("connection_admitted", connection=self.id, user=credential.principal.user, token=credential.token)

    def review(self) -> None:
        """Close the subscriptions to what may no longer be read."""
        for subscription in list(self.subscriptions.values()):
            self._services.hub.review(subscription)

    def expel(self, code: int, reason: str) -> None:
        """It may do nothing more; what is answered just now is heard, then it is gone, whatever the client does."""
        self._is_closing = True
        self.credential = None
        for subscription in list(self.subscriptions.values()):
            self._services.hub.detach(subscription)
        asyncio.get_running_loop().call_later(LAST_WORDS_S, self._let_go, code, reason)

    def _let_go(self, code: int, reason: str) -> None:
        self.outbox.flush()
        self.outbox.close()
        self._socket.start_closing(code, reason, EXPEL_GRACE_S)

    async def serve(self) -> None:
        """Read until the client goes; then nothing of the connection is left."""
        try:
            while True:
                message = await self._socket.recv()
                await self.outbox.drained()
                if not self._is_closing:
                    await self._receive(message)
        except ConnectionClosed:
            pass
        finally:
            await self._clean_up()

    def next_subscription_id(self) -> str:
        """A word that no subscription of this connection had."""
        self._subscriptions_made += 1
        return f"s{self._subscriptions_made}"

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run this as long as the connection lasts."""
        self._keep(asyncio.create_task(work))

    def cancel(self, id: Id) -> bool:
        """Take back a request in flight."""
        task = self._in_flight.get(id)
        return task is not None and task.cancel()

    def end_subscriptions(self) -> None:
        """The gateway goes away: say of each subscription where to go on."""
        for subscription in list(self.subscriptions.values()):
            self._services.hub.close(subscription, "shutdown", resumable=True)

    def close(self, code: int, reason: str) -> None:
        """Close once everything that was said is on its way; what comes from now on is not served."""
        self._is_closing = True
        self.spawn(self._close(code, reason))

    async def _close(self, code: int, reason: str) -> None:
        await self.outbox.drained()
        self.outbox.flush()
        self.outbox.close()
        self._socket.start_closing(code, reason)

    async def _receive(self, message: str | bytes) -> None:
        limits = self._services.limits
        if isinstance(message, str):
            frame = frames.parse(message, nesting_depth=limits.nesting_depth, batch_items=limits.batch_items)
        else:
            frame = frames.binary()
        if frame.is_batch:
            await self._take_batch(frame.elements)
        else:
            await self._take(frame.elements[0], self._send, lambda: None)

    async def _take_batch(self, elements: Sequence[Element]) -> None:
        """Start the elements in order, at most BATCH_AT_ONCE at a time; answer when the last one is done."""
        batch = _Batch(len(elements), self._services.limits.response_bytes, self._send)
        room = asyncio.Semaphore(BATCH_AT_ONCE)
        for place, element in enumerate(elements):
            await room.acquire()
            await self._take(element, partial(batch.put, place, element.id), room.release)

    async def _take(self, element: Element, reply: Reply, done: Callable[[], None]) -> None:
        """Refuse it, answer it here, or give it a task; `reply` and `done` are called once each."""
        handler = self._dispatcher.handler(element.method) if isinstance(element, Request) else None
        refusal = self._refusal(element, past_limits=handler is not None and handler.method.past_limits)
        if refusal is not None:
            reply(self._dispatcher.refuse(refusal.id, refusal.error))
            done()
            return
        assert isinstance(element, Request)
        place = _Place(self, element.id, done)
        call = Call(self._services, self, place.give_back)
        if handler is None or handler.is_immediate:
            reply(await self._dispatcher.call(element, call))
            call.settle()
            place.leave()
            return
        task = asyncio.create_task(self._perform(element, call, reply))
        task.add_done_callback(partial(self._performed, element.id, place, reply))
        place.take(task)
        self._keep(task)

    def _refusal(self, element: Element, *, past_limits: bool) -> Refusal | None:
        if isinstance(element, Refusal):
            return element
        if self._is_closing or (not self._is_known() and NEEDED.get(element.method) != "nothing"):
            return Refusal(element.id, Unauthenticated())
        if element.id is not UNSET and element.id is not None and element.id in self._in_flight:
            # With the id it would be taken for the answer to the request that has it.
            return Refusal(None, InvalidRequest(reason="this id is in flight already"))
        if self._places_taken >= self._services.limits.requests_in_flight and not past_limits:
            return Refusal(element.id, Overloaded(retry_after_ms=RETRY_AFTER_MS))
        return None

    def _is_known(self) -> bool:
        """Whether it goes by something that is good: the wheel may be a tick late, a call is not."""
        credential = self.credential
        return credential is not None and not is_past(credential.expires_at, self._services.clock.wall_ms())

    async def _perform(self, request: Request, call: Call, reply: Reply) -> None:
        with structlog.contextvars.bound_contextvars(connection=self.id, call=request.id, method=request.method):
            try:
                reply(await self._dispatcher.call(request, call))
                log.debug("call_answered")
            finally:
                call.settle()

    def _performed(self, id: Id | UnsetType, place: "_Place", reply: Reply, task: asyncio.Task[None]) -> None:
        """Also called for a task that was cancelled before its first step."""
        if task.cancelled():
            reply(self._dispatcher.refuse(id, Cancelled()))
        elif (error := task.exception()) is not None:
            reply(self._dispatcher.refuse(id, broken(error)))
        place.leave()

    def _send(self, answer: bytes | None) -> None:
        if answer is not None:
            self.outbox.put(text_frame(answer))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _give_up(self) -> None:
        """The client does not read: what waits for it here is dropped, it can come back and resume."""
        log.warning("client_too_slow", connection=self.id)
        self.outbox.close()
        self._socket.start_closing(close_codes.TOO_SLOW, "too slow: reconnect and resume", STALLED_GRACE_S)

    async def _clean_up(self) -> None:
        self.on_gone()
        self.outbox.close()
        for subscription in list(self.subscriptions.values()):
            self._services.hub.detach(subscription)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def limit_messages(socket: Socket, max_bytes: int) -> None:
    """Let a client send no more at a time, and tell it so when it does."""
    too_big = Dispatcher.refuse(None, RequestTooBig(limit=max_bytes))
    socket.limit_messages(max_bytes, too_big or b"")


class _Place:
    """One of a connection's requests in flight."""

    def __init__(self, connection: Connection, id: Id | UnsetType, done: Callable[[], None]) -> None:
        self._connection, self._id, self._done = connection, id, done
        self._is_taken = True
        connection._places_taken += 1

    def take(self, task: asyncio.Task[None]) -> None:
        """From now on the request can be taken back by its id."""
        if self._id is not UNSET and self._id is not None:
            self._connection._in_flight[self._id] = task

    def give_back(self) -> None:
        """Make room for others while the request waits."""
        if self._is_taken:
            self._is_taken = False
            self._connection._places_taken -= 1
            self._done()

    def leave(self) -> None:
        """The request is answered."""
        self.give_back()
        if self._id is not UNSET:
            self._connection._in_flight.pop(self._id, None)


class _Batch:
    """The answers of a batch, sent as one array when all are there; none, when all were notifications."""

    def __init__(self, count: int, response_bytes: int, send: Callable[[bytes], None]) -> None:
        self._answers: list[bytes | None] = [None] * count
        self._limit, self._send = response_bytes, send
        self._missing, self._room = count, response_bytes - 2

    def put(self, place: int, id: Id | UnsetType, answer: bytes | None) -> None:
        """Fill in one answer, an error where the array would grow past what a message may be."""
        if answer is not None and len(answer) + 1 > self._room:
            answer = Dispatcher.refuse(id, ResponseTooBig(limit=self._limit))
        self._room -= len(answer or b"") + 1
        self._answers[place] = answer
        self._missing -= 1
        if not self._missing and (given := [answer for answer in self._answers if answer is not None]):
            self._send(b"[" + b",".join(given) + b"]")
