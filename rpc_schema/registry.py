"""The protocol on one screen."""

from typing import Any, Final, get_args

from . import agents, conversation, copies, directory, lifecycle, notifications, subscriptions, system, tokens
from .descriptors import Method, Notification
from .errors import RpcError, every_error
from .events import AnyEvent, Event

METHODS: Final[dict[str, Method[Any, Any]]] = {
    method.name: method
    for family in (system, tokens, agents, lifecycle, copies, directory, conversation, subscriptions)
    for method in family.METHODS
}
NOTIFICATIONS: Final[dict[str, Notification[Any]]] = {n.name: n for n in notifications.NOTIFICATIONS}
EVENTS: Final[dict[str, type[Event]]] = {str(e.__struct_config__.tag): e for e in get_args(AnyEvent)}
ERRORS: Final[dict[str, type[RpcError]]] = {error.code: error for error in every_error()}
