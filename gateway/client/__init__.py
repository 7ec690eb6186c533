"""The Python client of a gateway.

    from gateway.client import connect
    from rpc_schema.notifications import Delta

    async with connect() as gw:
        async for update in gw.chat("echo", "Hello"):
            if isinstance(update, Delta) and update.kind == "text":
                print(update.text, end="")

`call` takes the methods of `rpc_schema` or any method by name, `subscribe`
follows a session while the connection lasts, `follow` comes back by itself,
`watch` keeps a list of sessions up to date.
What the gateway answers with an error is raised as its class of
`rpc_schema.errors`; what kept an answer from coming is a `ClientError`.
"""

from rpc_schema.errors import RpcError, Unauthenticated
from rpc_schema.subscriptions import Since, WatchParams

from .catchup import LogReplaced
from .chat import Chat, ChatUpdate
from .client import GatewayClient, connect, follow, watch
from .errors import (
    ClientError,
    ConnectionLost,
    GatewayRefused,
    GatewayUnreachable,
    SubscriptionClosed,
    SubscriptionLagged,
    UnexpectedMessage,
    WatchLagged,
)
from .following import Following, FollowUpdate
from .frames import Notice
from .opening import DEFAULT_URL
from .subscription import Subscription
from .table import Table
from .updates import Updates
from .watching import Watching, WatchUpdate

__all__ = [
    "DEFAULT_URL",
    "Chat",
    "ChatUpdate",
    "ClientError",
    "ConnectionLost",
    "FollowUpdate",
    "Following",
    "GatewayClient",
    "GatewayRefused",
    "GatewayUnreachable",
    "LogReplaced",
    "Notice",
    "RpcError",
    "Since",
    "Subscription",
    "SubscriptionClosed",
    "SubscriptionLagged",
    "Table",
    "Unauthenticated",
    "UnexpectedMessage",
    "Updates",
    "WatchLagged",
    "WatchParams",
    "WatchUpdate",
    "Watching",
    "connect",
    "follow",
    "watch",
]
