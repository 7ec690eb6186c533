"""One request to its handler and back as bytes.

The only importer of jsonrpcserver, called below its front door: its parsing,
validation and encoding cost 100 times the call itself, and it answers clients
with exception texts. So nothing but a Result ever reaches it from a handler.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec
import structlog
from jsonrpcserver import Error, Result, Success
from jsonrpcserver import async_dispatcher as jsonrpc
from jsonrpcserver.dispatcher import get_method
from jsonrpcserver.request import Request as JsonRpcRequest
from msgspec import UNSET
from oslash.either import Left

from rpc_schema.envelope import Failure, Id, Request
from rpc_schema.envelope import Success as Answer
from rpc_schema.errors import InternalError, InvalidParams, MethodNotFound, ResponseTooBig, RpcError

from .frames import reason_of
from .handlers import Handler

C = TypeVar("C")
_encode = msgspec.json.encode
log = structlog.get_logger(__name__)


class Dispatcher(Generic[C]):
    """Finds, calls, answers. `C` is whatever a handler is given beside its params."""

    def __init__(self, handlers: Mapping[str, Handler[C]], *, response_bytes: int) -> None:
        self._handlers = handlers
        self._methods: dict[str, Callable[..., Any]] = {name: _guarded(handler) for name, handler in handlers.items()}
        self._response_bytes = response_bytes

    def handler(self, method: str) -> Handler[C] | None:
        """What serves the method."""
        return self._handlers.get(method)

    async def call(self, request: Request, context: C) -> bytes | None:
        """The answer, None for a notification. Only a cancellation is raised."""
        found = get_method(self._methods, request.method)
        if request.method not in self._handlers:
            return self.refuse(request.id, MethodNotFound(method=request.method[:128]))
        try:
            params = self._handlers[request.method].decode(request.params if request.params is not UNSET else b"{}")
        except msgspec.ValidationError as error:
            path, reason = reason_of(error)
            return self.refuse(request.id, InvalidParams(path=path, reason=reason))
        result = await jsonrpc.call(JsonRpcRequest(request.method, [params], request.id), context, found._value)
        if request.id is UNSET:
            return None
        return self._answer(request.id, result)

    @staticmethod
    def refuse(id: Id | msgspec.UnsetType, error: RpcError) -> bytes | None:
        """The answer to a request that is not called; None for a notification."""
        return None if id is UNSET else _encode(Failure(id=id, error=error.to_wire()))

    def _answer(self, id: Id, result: Any) -> bytes | None:
        if isinstance(result, Left):
            return self.refuse(id, result._error.data)
        try:
            encoded = _encode(Answer(id=id, result=result._value.result))
        except (TypeError, ValueError) as error:  # a lone surrogate, a value that JSON has not
            return self.refuse(id, broken(error))
        if len(encoded) > self._response_bytes:
            return self.refuse(id, ResponseTooBig(limit=self._response_bytes))
        return encoded


def _guarded(handler: Handler[Any]) -> Callable[[Any, Any], Awaitable[Result]]:
    """The handler as jsonrpcserver wants it: every outcome but a cancellation is a Result."""

    async def call(context: Any, params: Any) -> Result:
        try:
            return Success(await handler.function(context, params))
        except RpcError as error:
            return _as_result(error)
        except Exception as error:  # what no handler foresaw: the client gets an id, the log the rest
            return _as_result(broken(error))

    return call


def _as_result(error: RpcError) -> Result:
    return Error(error.number, error.message, error)


def broken(error: BaseException) -> InternalError:
    """What a client is told of a bug; the log has the rest under the same id."""
    error_id = uuid.uuid4().hex[:12]
    log.error("handler_broke", error_id=error_id, exc_info=error)
    return InternalError(error_id=error_id)
