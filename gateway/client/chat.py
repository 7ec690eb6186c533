"""One message and its answer, as it comes."""

from collections.abc import AsyncGenerator
from uuid import uuid4

from msgspec import UNSET

from rpc_schema.conversation import SEND, STOP, SendParams, SendResult, StopParams
from rpc_schema.events import AnyEvent
from rpc_schema.lifecycle import NewSession
from rpc_schema.notifications import ClosedParams, Delta, DeltaParams, EventParams

from .catchup import TURN_ENDS
from .connection import Connection
from .errors import SubscriptionClosed, UnexpectedMessage
from .subscription import attach
from .updates import Updates

ChatUpdate = AnyEvent | Delta


class Chat:
    """A message to an agent; iterate over it once, to send it and get the answer piece by piece.

    Gives the pieces (`Delta`: text, reasoning, tool input) and events of the
    message's own turn, and events of the session that belong to no turn. The
    last one is `TurnCompleted`, `TurnStopped` or `TurnFailed`: a failed turn is
    something to show, not an exception. Leaving early does not stop the turn.

    Raises:
        RpcError: the message was not taken.
        ConnectionLost: the turn runs on at the gateway; `follow(chat.key)`, or
            session.history later, has its end.
        SubscriptionClosed: nothing more may be seen of the session.
    """

    def __init__(self, connection: Connection, agent: str | None, content: str, key: str | None) -> None:
        if agent is None and key is None:
            raise ValueError("say which agent to talk to, or the key of a session")
        self.key = key or f"chat:{uuid4().hex}"
        self.sent: SendResult | None = None
        self._connection = connection
        self._agent = agent
        self._content = content

    async def stop(self) -> bool:
        """Stop the turn; what it said until then is kept. False when there was nothing (any more) to stop."""
        if self.sent is None:
            return False
        stopped = await self._connection.call(STOP, StopParams(key=self.key, turn=self.sent.turn))
        return stopped.stopped

    def __aiter__(self) -> Updates[ChatUpdate, ChatUpdate]:
        return Updates(self._updates(), lambda update: update)

    async def _updates(self) -> AsyncGenerator[ChatUpdate]:
        create = UNSET if self._agent is None else NewSession(agent=self._agent)
        params = SendParams(key=self.key, content=self._content, create=create, subscribe=True)
        self.sent = await self._connection.call(SEND, params)
        if self.sent.subscription is None:
            raise UnexpectedMessage("the answer to session.send", ValueError("it has no subscription"))
        async with attach(self._connection, self.sent.subscription) as notices:
            async for notice in notices:
                match notice:
                    case ClosedParams():
                        raise SubscriptionClosed(notice)
                    case EventParams():
                        update: ChatUpdate = notice.event
                    case DeltaParams():
                        update = notice.delta
                    case _:
                        continue
                if update.turn not in {None, self.sent.turn}:
                    continue
                yield update
                if isinstance(update, TURN_ENDS):
                    return
