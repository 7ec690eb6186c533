"""Following a session live and resuming after a dropped connection; watching a list of sessions."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from . import errors
from .descriptors import Method
from .directory import ListResult, ViewParams
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


class WatchParams(ViewParams, kw_only=True):
    """What to watch, as session.list takes it; `sort` and `limit` bound the answer alone."""


class WatchResult(ListResult, kw_only=True):
    """The list as it is now; `nextCursor` goes on with session.list, of the same params. Changes come after this."""

    subscription: Annotated[
        str, Meta(description="Its changes cover every session that matches, also those beyond `limit`, unsorted.")
    ]


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
WATCH = Method(
    name="session.watch",
    params=WatchParams,
    result=WatchResult,
    summary="List sessions and hear of whatever enters, changes or leaves the list.",
    errors=(errors.TooManySubscriptions, errors.Forbidden, errors.StoreUnavailable),
)
UNSUBSCRIBE = Method(
    name="session.unsubscribe",
    params=UnsubscribeParams,
    result=UnsubscribeResult,
    summary="Stop following or watching.",
    past_limits=True,
)
METHODS = (SUBSCRIBE, WATCH, UNSUBSCRIBE)
