"""Following a session live, and resuming after a dropped connection."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from . import errors
from .descriptors import Method
from .types import Key, Params, Part, Seq, Session, SessionParams, Wire


class Since(Part, kw_only=True):
    """The last event a client has; without `epoch` in this log."""

    seq: Seq
    epoch: str | UnsetType = UNSET


class SubscribeParams(SessionParams, kw_only=True):
    """What to follow, from where."""

    key: Key
    since: Since | UnsetType = UNSET
    deltas: Annotated[bool, Meta(description="Also the pieces of a turn as they come.")] = True


class Replay(Wire, kw_only=True):
    """The events that follow the answer: `from` to `to`; none when `to` is below `from`."""

    from_: int = field(name="from")
    to: int
    complete: Annotated[bool, Meta(description="False: the range could not be had; read the history anew.")]


class RunningTurn(Wire, kw_only=True):
    """A turn in progress: what it has said so far; `offset` is the length of `text` in code points."""

    id: str
    state: Literal["running"]
    text: str
    reasoning: str
    offset: int


class SubscribeResult(Wire, kw_only=True):
    """The subscription; notifications come after this answer."""

    subscription: str
    epoch: str
    head: int
    session: Session
    replay: Replay
    turn: RunningTurn | None = None


class UnsubscribeParams(Params, kw_only=True):
    """Which subscription of this connection."""

    subscription: str


class UnsubscribeResult(Wire, kw_only=True):
    """`closed` is false when this connection had no such subscription."""

    closed: bool


SUBSCRIBE = Method(
    name="session.subscribe",
    params=SubscribeParams,
    result=SubscribeResult,
    summary="Follow a session: answer, replay since a seq, then live, without a gap or a repeat.",
    errors=(
        *errors.REACHING_A_SESSION,
        errors.TooManySubscriptions,
    ),
)
UNSUBSCRIBE = Method(
    name="session.unsubscribe",
    params=UnsubscribeParams,
    result=UnsubscribeResult,
    summary="Stop following.",
    past_limits=True,
)
METHODS = (SUBSCRIBE, UNSUBSCRIBE)
