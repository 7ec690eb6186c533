"""What goes over the socket, as text and back. Pure.

A newer gateway may say more than this client knows: unknown notifications and
unknown events are passed over, unknown members ignored.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, MsgspecError, Raw, Struct, UnsetType, ValidationError

from rpc_schema import notifications
from rpc_schema.envelope import Message
from rpc_schema.notifications import ChangedParams, ClosedParams, DeltaParams, EventParams
from rpc_schema.registry import EVENTS
from rpc_schema.types import SubscriptionRef

from .errors import UnexpectedMessage

T = TypeVar("T")
Notice = EventParams | DeltaParams | ChangedParams | ClosedParams

_message: Final = msgspec.json.Decoder(Message)
_notices: Final[Mapping[str, msgspec.json.Decoder[Notice]]] = {
    notifications.EVENT.name: msgspec.json.Decoder(EventParams),
    notifications.DELTA.name: msgspec.json.Decoder(DeltaParams),
    notifications.CHANGED.name: msgspec.json.Decoder(ChangedParams),
    notifications.CLOSED.name: msgspec.json.Decoder(ClosedParams),
}


class _Type(Struct):
    type: str


class _AnyEventParams(Struct):
    event: _Type


class _Subscribed(Struct):
    subscription: str | SubscriptionRef | UnsetType = UNSET


def request(method: str, params: Struct | Mapping[str, Any] | None, *, id: int | None = None) -> bytes:
    """A call, or a notification without `id`."""
    message = {"jsonrpc": "2.0", "method": method, "params": {} if params is None else params}
    return msgspec.json.encode(message if id is None else message | {"id": id})


def read(frame: bytes) -> Message:
    """An answer or a notification.

    Raises:
        MsgspecError: it is neither.
    """
    return _message.decode(frame)


def read_as(result: type[T], method: str, answer: Raw) -> T:
    """The result of a method, typed.

    Raises:
        UnexpectedMessage: it does not fit.
    """
    try:
        return msgspec.json.decode(answer, type=result)
    except MsgspecError as error:
        raise UnexpectedMessage(f"the answer to {method}", error) from error


def read_notice(message: Message) -> Notice | None:
    """What a notification says to a subscription; None when it is for none, or news to this client.

    Raises:
        MsgspecError: it is broken.
    """
    decoder = _notices.get(str(message.method))
    if decoder is None or message.params is UNSET:
        return None
    try:
        return decoder.decode(message.params)
    except ValidationError:
        if _is_of_a_newer_gateway(message.params):
            return None
        raise


def subscription_of(result: Raw) -> str | None:
    """The subscription that a call made, if it made one."""
    try:
        made = msgspec.json.decode(result, type=_Subscribed).subscription
    except ValidationError:
        return None
    if isinstance(made, SubscriptionRef):
        return made.id
    return None if made is UNSET else made


def _is_of_a_newer_gateway(params: Raw) -> bool:
    try:
        return msgspec.json.decode(params, type=_AnyEventParams).event.type not in EVENTS
    except ValidationError:
        return False
