"""Talking with an agent: send a message, stop the answer."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from . import errors
from .descriptors import Method
from .events import LoggedEvent
from .lifecycle import NewSession
from .types import FinishReason, IdempotencyKey, Instant, Key, SessionParams, SubscriptionRef, Usage, Wire, Word


class SendParams(SessionParams, kw_only=True):
    """A message to the agent."""

    key: Key
    content: Annotated[str, Meta(min_length=1, description="At most 100,000 characters (setting).")]
    metadata: dict[str, Any] | UnsetType = UNSET
    if_busy: Annotated[
        Literal["enqueue", "reject", "interrupt"],
        Meta(description="While a turn runs: wait behind it, refuse, or stop it and go next."),
    ] = "enqueue"
    wait: Annotated[bool, Meta(description="Answer when the turn has ended, with the message.")] = False
    subscribe: bool = False
    create: Annotated[NewSession, Meta(description="The session to make when the key is new.")] | UnsetType = UNSET
    on_behalf_of: Annotated[Word, Meta(description="The author; only an admin may act for another.")] | UnsetType = (
        UNSET
    )
    idempotency_key: IdempotencyKey | UnsetType = UNSET


class SessionStatus(Wire, kw_only=True):
    """What the message did to the session's lifetime."""

    expires_at: Instant | None = None
    renewal_count: int
    was_renewed: bool
    is_near_expiration: bool


class TurnFailure(Wire, kw_only=True):
    """Why a turn failed, as in `turn.failed`."""

    code: str
    message: str


class SendResult(Wire, kw_only=True):
    """The turn the message began or waits for; with `wait` also how it ended."""

    turn: str
    seq: int
    state: Literal["running", "queued"]
    position: int | None = None
    subscription: SubscriptionRef | None = None
    session_status: SessionStatus
    message: Annotated[LoggedEvent, Meta(description="The last message.assistant event of the turn.")] | UnsetType = (
        UNSET
    )
    usage: Usage | None = None
    cost_usd: float | None = None
    finish_reason: FinishReason | None = None
    failure: TurnFailure | None = None


class StopParams(SessionParams, kw_only=True):
    """Which turn; without one the running turn, else the first that waits."""

    key: Key
    turn: str | UnsetType = UNSET


class StopResult(Wire, kw_only=True):
    """`stopped` is false when there was nothing (any more) to stop."""

    stopped: bool
    turn: str | None = None


SEND = Method(
    name="session.send",
    params=SendParams,
    result=SendResult,
    summary="Send a message; the answer comes once it is durable, or at the turn's end with `wait`.",
    errors=(
        *errors.REACHING_A_SESSION,
        *errors.CLOSED,
        errors.SessionPaused,
        errors.TurnRunning,
        errors.QueueFull,
        errors.ContentTooLarge,
        errors.MetadataTooLarge,
        errors.AgentNotFound,
        errors.SessionLimit,
        errors.ShuttingDown,
        errors.IdempotencyConflict,
        errors.TooManySubscriptions,
    ),
)
STOP = Method(
    name="session.stop",
    params=StopParams,
    result=StopResult,
    summary="Stop a turn; what it said and did until then is kept.",
    errors=errors.REACHING_A_SESSION,
    past_limits=True,
)
METHODS = (SEND, STOP)
