"""JSON-RPC 2.0 messages (https://www.jsonrpc.org/specification), stricter where the gateway is.

An id is a string of at most 128 characters or an integer within ±2^53; a null
id is a request answered with id null; a message without an id is a
notification, which is never answered.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from .errors import ErrorObject

Id = Annotated[int, Meta(ge=-(2**53), le=2**53)] | Annotated[str, Meta(max_length=128)] | None


class Request(Struct, frozen=True):
    """A call, or a notification when `id` is unset."""

    jsonrpc: Literal["2.0"]
    method: str
    id: Id | UnsetType = UNSET
    params: Raw | UnsetType = UNSET


class Success(Struct, frozen=True, kw_only=True):
    """The answer of a call that went well."""

    jsonrpc: Literal["2.0"] = "2.0"
    id: Id
    result: Any


class Failure(Struct, frozen=True, kw_only=True):
    """The answer of a call that did not."""

    jsonrpc: Literal["2.0"] = "2.0"
    id: Id
    error: ErrorObject


class Message(Struct, frozen=True):
    """Anything a client can receive: an answer or a notification, told apart by `method`."""

    id: Id | UnsetType = UNSET
    method: str | UnsetType = UNSET
    params: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: ErrorObject | UnsetType = UNSET
