"""Handlers, each bound to the method it serves; the table must be the registry, no more, no less."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from rpc_schema.descriptors import Method

C = TypeVar("C")
P = TypeVar("P")
R = TypeVar("R")


class Handler(Struct, Generic[C], frozen=True):
    """A method with the function that serves it.

    An `is_immediate` one waits for nothing but memory: it is awaited in the
    reader, which saves a task.
    """

    method: Method[Any, Any]
    function: Callable[[C, Any], Awaitable[Any]]
    decode: Callable[[bytes], Any]
    is_immediate: bool


def bind(
    method: Method[P, R], function: Callable[[C, P], Awaitable[R | Any]], *, is_immediate: bool = False
) -> Handler[C]:
    """Serve a method with a function of its params."""
    return Handler(method, function, _reader(method.params), is_immediate)


def _reader(params: type[P]) -> Callable[[bytes], P]:
    """Decode params; of duplicate members the last counts, also where an earlier one is wrong."""
    decode = msgspec.json.Decoder(params).decode

    def read(raw: bytes) -> P:
        try:
            return decode(raw)
        except msgspec.ValidationError as error:
            try:
                return msgspec.convert(msgspec.json.decode(raw), params)
            except msgspec.ValidationError:
                raise error from None

    return read


def table(handlers: Iterable[Handler[C]], registry: Mapping[str, Method[Any, Any]]) -> dict[str, Handler[C]]:
    """All handlers by method name.

    Raises:
        RuntimeError: a method has no handler or two, or a handler no method: the gateway must not start.
    """
    by_name: dict[str, Handler[C]] = {}
    for handler in handlers:
        if by_name.setdefault(handler.method.name, handler) is not handler:
            raise RuntimeError(f"{handler.method.name} has two handlers")
    if difference := {name for name in by_name.keys() | registry.keys() if not _same(by_name, registry, name)}:
        raise RuntimeError(f"handlers and registry differ in {', '.join(sorted(difference))}")
    return by_name


def _same(by_name: Mapping[str, Handler[Any]], registry: Mapping[str, Method[Any, Any]], name: str) -> bool:
    return name in by_name and name in registry and by_name[name].method is registry[name]
