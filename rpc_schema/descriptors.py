"""A method and a notification as typed values.

Server, client, documents and tests all start from the same descriptor, so a
name, its params and its result cannot drift apart.
"""

from typing import Any, Generic, TypeVar

from msgspec import Struct

from .errors import RpcError

P = TypeVar("P")
R = TypeVar("R")


class Method(Struct, Generic[P, R], frozen=True, kw_only=True):
    """A call that a client can make.

    `bulk_result` is answered instead of `result` when `keys` was given.
    `past_limits` calls are taken even when the connection's requests in flight
    are used up: they free something.
    """

    name: str
    params: type[P]
    result: type[R]
    summary: str
    errors: tuple[type[RpcError], ...] = ()
    bulk_result: type[Any] | None = None
    past_limits: bool = False


class Notification(Struct, Generic[P], frozen=True, kw_only=True):
    """What the gateway says unasked."""

    name: str
    params: type[P]
    summary: str
