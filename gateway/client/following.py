"""Following a session for as long as it exists, over any number of connections."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from functools import partial

from msgspec import Struct

from rpc_schema.directory import HISTORY, HistoryParams
from rpc_schema.events import AnyEvent
from rpc_schema.notifications import ClosedParams, Delta, DeltaParams, EventParams
from rpc_schema.subscriptions import Since, SubscribeResult

from .catchup import Catchup, LogReplaced
from .connection import Connection
from .errors import SubscriptionClosed
from .frames import Notice, read_as
from .reconnecting import reconnecting
from .subscription import subscribe
from .updates import Updates

FollowUpdate = AnyEvent | Delta | LogReplaced | ClosedParams
_Step = tuple[FollowUpdate, Since | None]


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
        async def steps(connection: Connection) -> AsyncGenerator[_Step]:
            async with aclosing(self._updates(connection, catchup)) as updates:
                async for update in updates:
                    yield update, catchup.since

        opened = partial(Connection.opened, self._url, token=self._token, client=self._client)
        async with aclosing(reconnecting(opened, steps)) as all_steps:
            async for step in all_steps:
                yield step

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
