"""Following a session for as long as it exists, over any number of connections."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing

from msgspec import Struct

from rpc_schema.directory import HISTORY, HistoryParams
from rpc_schema.errors import RpcError
from rpc_schema.events import AnyEvent
from rpc_schema.notifications import ClosedParams, Delta, DeltaParams, EventParams
from rpc_schema.subscriptions import Since, SubscribeResult

from .catchup import Catchup, LogReplaced, TextMissing
from .connection import Connection
from .errors import ClientError, SubscriptionClosed
from .frames import Notice, read_as
from .subscription import subscribe
from .updates import Updates

FollowUpdate = AnyEvent | Delta | LogReplaced | ClosedParams
_Step = tuple[FollowUpdate, Since | None]


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


class _Message(Struct):
    turn: str
    content: str


class Following:
    """A session's updates, whatever happens to the connection; iterate over it.

    Gives every event after `since` (without one: from now on) and, with
    `deltas`, every piece of a turn, each once and in order, also those that
    came while no connection stood. A turn's text always comes as pieces first
    and then in its `message.assistant`, also where a replay had no pieces.
    Reasoning and tool input are live only: what came while no connection stood
    may be missing once the turn has ended.

    `since` is the last event that was given, None before there was one; keep it
    to go on in another process. Iterating again goes on after it, too. The loop
    may be left at any time; `Updates.aclose` waits until all is closed.

    The first connection must succeed, so that a wrong address is an error at
    once; after that it comes back for ever, where coming back can help. Ends
    after a ClosedParams that says why nothing more may be seen (say, `deleted`).

    Raises:
        GatewayUnreachable, GatewayRefused, Unauthenticated: as `connect`.
        ConnectionLost: with a code that another try cannot help (say, 4403).
        RpcError: the session cannot be followed.
    """

    def __init__(
        self, key: str, *, url: str, token: str | None, client: str, since: Since | None, deltas: bool
    ) -> None:
        self.key = key
        self.since = since
        self._url, self._token, self._client = url, token, client
        self._deltas = deltas

    def __aiter__(self) -> Updates[_Step, FollowUpdate]:
        return Updates(self._steps(Catchup(self.since, deltas=self._deltas)), self._give)

    def _give(self, step: _Step) -> FollowUpdate:
        update, self.since = step
        return update

    async def _steps(self, catchup: Catchup) -> AsyncGenerator[_Step]:
        backoff = Backoff()
        has_begun = False
        while True:
            began = asyncio.get_running_loop().time()
            try:
                async with Connection.opened(self._url, token=self._token, client=self._client) as connection:
                    has_begun = True
                    async with aclosing(self._updates(connection, catchup)) as updates:
                        async for update in updates:
                            yield update, catchup.since
                return
            except (ClientError, RpcError, TextMissing) as error:
                if not has_begun or not is_temporary(error):
                    raise
                pause_s = retry_after_s(error)
            backoff.held_for(asyncio.get_running_loop().time() - began)
            await asyncio.sleep(pause_s + backoff.next_s())

    async def _updates(self, connection: Connection, catchup: Catchup) -> AsyncGenerator[FollowUpdate]:
        async with subscribe(connection, self.key, since=catchup.since, deltas=self._deltas) as notices:
            is_needed = catchup.needs_message_start(notices.result)
            start = await _message_start(connection, notices.result) if is_needed else 0
            for update in catchup.subscribed(notices.result, message_start=start):
                yield update
            async for notice in notices:
                for fresh in _fresh(catchup, notice):
                    yield fresh


def _fresh(catchup: Catchup, notice: Notice) -> Iterator[FollowUpdate]:
    match notice:
        case EventParams():
            yield from catchup.event(notice)
        case DeltaParams():
            yield from catchup.delta(notice.delta)
        case ClosedParams(resumable=True):
            raise SubscriptionClosed(notice)
        case ClosedParams():
            yield notice


async def _message_start(connection: Connection, answer: SubscribeResult) -> int:
    """The length of the messages that the running turn has finished."""
    running = answer.turn.id if answer.turn else None
    params = HistoryParams(
        key=answer.session.key,
        before=answer.head + 1,
        types=["message.assistant"],
        limit=500,
        max_bytes=4 * 1024 * 1024,
    )
    page = await connection.call(HISTORY, params)
    messages = (read_as(_Message, HISTORY.name, event) for event in page.events)
    return sum(len(message.content) for message in messages if message.turn == running)


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
