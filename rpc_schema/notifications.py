"""What the gateway says unasked."""

from typing import Annotated, Literal

from msgspec import Meta

from .descriptors import Notification
from .events import AnyEvent
from .types import Instant, Key, Session, Wire

Change = Literal["entered", "updated", "left", "deleted"]
CloseReason = Literal["unsubscribed", "deleted", "forbidden", "lagged", "shutdown"]


class EventParams(Wire, kw_only=True):
    """An event of a session's log; `prev` is the seq sent on this subscription before it."""

    subscription: str
    key: Key
    epoch: str
    prev: int
    event: AnyEvent


class Delta(Wire, kw_only=True):
    """A piece of a turn, live only; `offset` counts the code points of this kind in this turn before it."""

    turn: str
    kind: Literal["text", "reasoning", "tool_input"]
    offset: int
    text: str
    call_id: str | None = None


class DeltaParams(Wire, kw_only=True):
    """A piece of a running turn."""

    subscription: str
    key: Key
    delta: Delta


class ChangedParams(Wire, kw_only=True):
    """What became of a session in a watched list; sessions are told apart by tenant and key."""

    subscription: str
    change: Annotated[
        Change,
        Meta(
            description="Put in what entered or was updated, in place of what you have, if anything; take out what left"
            " or was deleted, if you have it. Several changes of a session may come as one; none is older than the"
            " list or the changes before."
        ),
    ]
    key: Key
    tenant: Annotated[
        str | None, Meta(description="With left and deleted, where it is not your own; else the summary has it.")
    ] = None
    session: Annotated[Session | None, Meta(description="The whole summary, with entered and updated.")] = None
    revision: int


class ClosedParams(Wire, kw_only=True):
    """The end of a subscription; `lastSeq` is the last event it sent, 0 for a watch."""

    subscription: str
    reason: CloseReason
    last_seq: int
    resumable: Annotated[
        bool, Meta(description="Whether subscribing again with since can go on; for a watch, whether to watch anew.")
    ]


class ShutdownParams(Wire, kw_only=True):
    """The gateway is about to close the connection with 1001."""

    reason: str
    retry_after_ms: int


class ExpiringParams(Wire, kw_only=True):
    """When the connection's token runs out; auth.refresh with another one of the same user goes on."""

    expires_at: Instant


EVENT = Notification(name="session.event", params=EventParams, summary="Something was added to a session's log.")
DELTA = Notification(name="session.delta", params=DeltaParams, summary="A turn said a little more.")
CHANGED = Notification(
    name="session.changed", params=ChangedParams, summary="A session entered, changed in or left a watched list."
)
CLOSED = Notification(name="subscription.closed", params=ClosedParams, summary="A subscription ended.")
SHUTDOWN = Notification(name="gateway.shutdown", params=ShutdownParams, summary="The gateway is going away.")
EXPIRING = Notification(
    name="auth.expiring",
    params=ExpiringParams,
    summary="In a minute the connection's token runs out, and closes it (4408).",
)
NOTIFICATIONS = (EVENT, DELTA, CHANGED, CLOSED, EXPIRING, SHUTDOWN)
