"""Every error that a client can do something about.

The first line of a class's docstring is its message; its annotations are the
typed members of `error.data`, beside `code` and `retryable`. Exception texts
and stacks never travel.
"""

from collections.abc import Iterator
from dataclasses import Field, dataclass, fields
from typing import Any, ClassVar, Literal

from msgspec import Struct

from .naming import camel

_by_code: dict[str, type["RpcError"]] = {}


class ErrorObject(Struct, frozen=True):
    """The `error` member of a failed answer; `data` always has `code` and `retryable`."""

    code: int
    message: str
    data: dict[str, Any]


class RpcError(Exception):
    """The call failed."""

    number: ClassVar[int]
    code: ClassVar[str]
    retryable: ClassVar[bool]
    _said: str | None = None

    def __init_subclass__(cls, *, number: int, code: str, retryable: bool = False) -> None:
        cls.number, cls.code, cls.retryable = number, code, retryable
        _by_code[code] = cls

    @property
    def message(self) -> str:
        """One sentence for people: what is wrong and what to do; a client has the gateway's own."""
        if self._said is not None:
            return self._said
        text = (type(self).__doc__ or "").splitlines()[0]
        return text.format(**{field.name: getattr(self, field.name) for field in _fields(type(self))})

    @property
    def data(self) -> dict[str, Any]:
        """What the wire carries in `error.data`."""
        members = {camel(field.name): getattr(self, field.name) for field in _fields(type(self))}
        return {"code": self.code, "retryable": self.retryable} | {k: v for k, v in members.items() if v is not None}

    def to_wire(self) -> ErrorObject:
        """The `error` member of the answer."""
        return ErrorObject(self.number, self.message, self.data)

    def __str__(self) -> str:
        return self.message


@dataclass(kw_only=True, eq=False)
class ParseError(RpcError, number=-32700, code="parse_error"):
    """The message is not valid JSON: {reason}."""

    reason: str


@dataclass(kw_only=True, eq=False)
class InvalidRequest(RpcError, number=-32600, code="invalid_request"):
    """The message is not a JSON-RPC 2.0 request: {reason}."""

    reason: str


@dataclass(kw_only=True, eq=False)
class MethodNotFound(RpcError, number=-32601, code="method_not_found"):
    """There is no method {method}; rpc.discover lists them."""

    method: str


@dataclass(kw_only=True, eq=False)
class InvalidParams(RpcError, number=-32602, code="invalid_params"):
    """Invalid params at {path}: {reason}."""

    path: str
    reason: str


@dataclass(kw_only=True, eq=False)
class InternalError(RpcError, number=-32603, code="internal_error"):
    """The gateway failed; its log has the details under {error_id}."""

    error_id: str


@dataclass(kw_only=True, eq=False)
class Overloaded(RpcError, number=-32001, code="overloaded", retryable=True):
    """Too many requests are in flight on this connection; try again in {retry_after_ms} ms."""

    retry_after_ms: int


@dataclass(kw_only=True, eq=False)
class TooManySubscriptions(RpcError, number=-32006, code="too_many_subscriptions"):
    """This connection already has {limit} subscriptions; unsubscribe from some first."""

    limit: int


@dataclass(kw_only=True, eq=False)
class RequestTooBig(RpcError, number=-32007, code="request_too_big"):
    """The message is over the limit of {limit} bytes; send less at a time."""

    limit: int


@dataclass(kw_only=True, eq=False)
class ResponseTooBig(RpcError, number=-32008, code="response_too_big"):
    """The answer is over the limit of {limit} bytes; ask for a smaller page."""

    limit: int


@dataclass(kw_only=True, eq=False)
class BatchTooBig(RpcError, number=-32010, code="batch_too_big"):
    """The batch has more than {limit} items; send several."""

    limit: int


@dataclass(kw_only=True, eq=False)
class Cancelled(RpcError, number=-32800, code="cancelled"):
    """The request was cancelled."""


@dataclass(kw_only=True, eq=False)
class InvalidKey(RpcError, number=400, code="invalid_key"):
    """Not a session key: {reason}; use 1 to 256 bytes of printable text without spaces."""

    reason: str


@dataclass(kw_only=True, eq=False)
class InvalidTimeout(RpcError, number=400, code="invalid_timeout"):
    """{path} is out of range: {reason}."""

    path: str
    reason: str


@dataclass(kw_only=True, eq=False)
class InvalidPolicy(RpcError, number=400, code="invalid_policy"):
    """{path} is out of range: {reason}."""

    path: str
    reason: str


@dataclass(kw_only=True, eq=False)
class InvalidCursor(RpcError, number=400, code="invalid_cursor"):
    """The cursor cannot be used: {reason}; start again without one."""

    reason: str


@dataclass(kw_only=True, eq=False)
class Unauthenticated(RpcError, number=401, code="unauthenticated"):
    """The credentials are not valid; ask whoever runs the gateway for a token."""


@dataclass(kw_only=True, eq=False)
class Forbidden(RpcError, number=403, code="forbidden"):
    """This needs {required}."""

    required: str


@dataclass(kw_only=True, eq=False)
class SessionNotFound(RpcError, number=404, code="session_not_found"):
    """There is no such session; session.list shows yours."""


@dataclass(kw_only=True, eq=False)
class AgentNotFound(RpcError, number=404, code="agent_not_found"):
    """There is no agent {agent}; agent.list shows them."""

    agent: str


@dataclass(kw_only=True, eq=False)
class TokenNotFound(RpcError, number=404, code="token_not_found"):
    """There is no such token; token.list shows their ids."""


@dataclass(kw_only=True, eq=False)
class SessionExists(RpcError, number=409, code="session_exists"):
    """The key is taken; use another, or the session that has it."""


@dataclass(kw_only=True, eq=False)
class TurnRunning(RpcError, number=409, code="turn_running"):
    """A turn is running; wait for its end or stop it first (a message may be sent with ifBusy enqueue or interrupt)."""

    turn: str


@dataclass(kw_only=True, eq=False)
class SessionPaused(RpcError, number=409, code="session_paused"):
    """The session is paused; resume it first."""


@dataclass(kw_only=True, eq=False)
class SessionPinned(RpcError, number=409, code="session_pinned"):
    """The session is pinned; unpin it first."""


@dataclass(kw_only=True, eq=False)
class SessionArchived(RpcError, number=409, code="session_archived"):
    """The session is archived; restore it first."""


@dataclass(kw_only=True, eq=False)
class IdempotencyConflict(RpcError, number=409, code="idempotency_conflict"):
    """This idempotencyKey was used with other params; use a new one."""


@dataclass(kw_only=True, eq=False)
class RevisionMismatch(RpcError, number=409, code="revision_mismatch"):
    """The session is at revision {revision}; read it again and decide anew."""

    revision: int


@dataclass(kw_only=True, eq=False)
class SessionExpired(RpcError, number=410, code="session_expired"):
    """This session expired at {expires_at} and accepts no more messages; create a new one."""

    expires_at: str
    reason: Literal["idle_timeout", "expired", "max_duration"]


@dataclass(kw_only=True, eq=False)
class SessionEnded(RpcError, number=410, code="session_ended"):
    """This session ended at {ended_at} and accepts no more messages; create a new one."""

    ended_at: str
    reason: Literal["user", "admin", "transferred"]
    transferred_to: str | None = None


@dataclass(kw_only=True, eq=False)
class SessionDeleted(RpcError, number=410, code="session_deleted"):
    """This session was deleted; create a new one."""


@dataclass(kw_only=True, eq=False)
class ContentTooLarge(RpcError, number=413, code="content_too_large"):
    """The content has {length} characters, {limit} are allowed; send it in parts."""

    length: int
    limit: int


@dataclass(kw_only=True, eq=False)
class MetadataTooLarge(RpcError, number=413, code="metadata_too_large"):
    """The metadata has {length} bytes as JSON, {limit} are allowed."""

    length: int
    limit: int


@dataclass(kw_only=True, eq=False)
class RenewalFailed(RpcError, number=422, code="renewal_failed"):
    """The session cannot last longer than {max_duration_minutes} minutes from {created_at}; create a new one."""

    max_duration_minutes: float
    created_at: str


@dataclass(kw_only=True, eq=False)
class QueueFull(RpcError, number=429, code="queue_full", retryable=True):
    """{limit} messages are waiting already; wait for a turn to end."""

    limit: int


@dataclass(kw_only=True, eq=False)
class SessionLimit(RpcError, number=429, code="session_limit"):
    """You have {current} of {limit} sessions with this agent; end one first."""

    limit: int
    current: int


@dataclass(kw_only=True, eq=False)
class ShuttingDown(RpcError, number=503, code="shutting_down", retryable=True):
    """The gateway is shutting down; reconnect and try again."""


@dataclass(kw_only=True, eq=False)
class StoreUnavailable(RpcError, number=503, code="store_unavailable", retryable=True):
    """The store is not available now; try again later."""


class UnknownError(RpcError, number=0, code="unknown"):
    """An error of a newer gateway than this package knows."""

    def __init__(self, error: ErrorObject) -> None:
        super().__init__(error.message)
        self.number, self.code = error.code, error.data.get("code", "unknown")  # type: ignore[misc]  # per instance
        self.retryable = bool(error.data.get("retryable"))  # type: ignore[misc]  # per instance
        self.error = error

    @property
    def message(self) -> str:
        """As the gateway said it."""
        return self.error.message

    @property
    def data(self) -> dict[str, Any]:
        """As the gateway sent it."""
        return self.error.data


REACHING_A_SESSION = (InvalidKey, SessionNotFound, SessionDeleted, Forbidden, StoreUnavailable)
"""What any method that names a session can answer."""
MAKING_A_SESSION = (
    AgentNotFound,
    InvalidKey,
    SessionNotFound,
    SessionDeleted,
    SessionExists,
    MetadataTooLarge,
    Forbidden,
    SessionLimit,
    ShuttingDown,
    IdempotencyConflict,
    StoreUnavailable,
)
"""What any method that makes a session of its params can answer."""
CLOSED = (SessionArchived, SessionExpired, SessionEnded)
"""What a session that is archived or has ended answers to whatever would go on with it."""


def every_error() -> Iterator[type[RpcError]]:
    """All errors that the gateway answers with, in the order of this page."""
    yield from (error for error in _by_code.values() if error is not UnknownError)


def from_wire(error: ErrorObject) -> RpcError:
    """The exception that a client raises for an answer's `error`."""
    cls = _by_code.get(error.data.get("code", ""), UnknownError)
    if cls is UnknownError:
        return UnknownError(error)
    raised = cls(**{field.name: error.data.get(camel(field.name)) for field in _fields(cls)})
    raised._said = error.message
    return raised


def _fields(cls: type[RpcError]) -> tuple[Field[Any], ...]:
    return fields(cls)  # type: ignore[arg-type]  # every subclass is a dataclass
