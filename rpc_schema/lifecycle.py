"""Beginning, changing, clearing and deleting a session."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType, field

from . import errors
from .descriptors import Method
from .types import (
    BulkResult,
    IdempotencyKey,
    IfRevision,
    Key,
    Labels,
    Part,
    PolicyPatch,
    RequestMeta,
    Session,
    SessionParams,
    Source,
    SubscriptionRef,
    Tenant,
    Title,
    Wire,
    Word,
)

Keys = Annotated[list[Key], Meta(min_length=1, max_length=500, description="Instead of `key`.")]


class NewSession(Part, kw_only=True):
    """What a session is born with."""

    agent: Word
    model: Word | UnsetType = UNSET
    title: Title | UnsetType = UNSET
    channel: Word = "api"
    source: Source = "manual"
    project: Word | UnsetType = UNSET
    labels: Labels = {}
    metadata: Annotated[dict[str, Any], Meta(description="At most 10,240 bytes as JSON.")] = {}
    policy: PolicyPatch | UnsetType = UNSET
    pinned: bool = False
    user: Annotated[Word, Meta(description="For whom; only an admin may act for another.")] | UnsetType = UNSET


class CreateParams(NewSession, kw_only=True):
    """A new session; the key is made by the gateway when not given."""

    key: Key | UnsetType = UNSET
    tenant: Tenant | UnsetType = UNSET
    subscribe: bool = False
    idempotency_key: IdempotencyKey | UnsetType = UNSET
    meta: RequestMeta | UnsetType = field(default=UNSET, name="_meta")


class CreateResult(Wire, kw_only=True):
    """The new session, and the subscription when one was asked for."""

    session: Session
    subscription: SubscriptionRef | None = None


class UpdateParams(SessionParams, kw_only=True):
    """What to change: left out keeps, null clears."""

    key: Key
    title: Title | UnsetType | None = UNSET
    pinned: bool | UnsetType | None = UNSET
    labels: Labels | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET
    model: Annotated[Word, Meta(description="From the next turn on; null: the agent's own.")] | UnsetType | None = UNSET
    policy: Annotated[PolicyPatch, Meta(description="Null clears all overrides.")] | UnsetType | None = UNSET
    if_revision: IfRevision | UnsetType = UNSET


class SessionResult(Wire, kw_only=True):
    """The session after the call."""

    session: Session


class RenewParams(SessionParams, kw_only=True):
    """Which session."""

    key: Key
    idempotency_key: IdempotencyKey | UnsetType = UNSET


class HeartbeatParams(SessionParams, kw_only=True):
    """Which session."""

    key: Key


class ManyParams(SessionParams, kw_only=True):
    """One session by `key`, or up to 500 by `keys`."""

    key: Key | UnsetType = UNSET
    keys: Keys | UnsetType = UNSET


class ClearParams(ManyParams, kw_only=True):
    """Which sessions to empty or delete."""

    idempotency_key: IdempotencyKey | UnsetType = UNSET
    if_revision: IfRevision | UnsetType = UNSET


class ResetResult(Wire, kw_only=True):
    """The emptied session and how many messages it had."""

    session: Session
    previous_messages: int


class DeleteResult(Wire, kw_only=True):
    """The session is gone."""

    deleted: bool


def _managing(
    verb: str, summary: str, *errors_beside: type[errors.RpcError], past_limits: bool = False
) -> Method[ManyParams, SessionResult]:
    """A verb that takes one key or many and answers with the session."""
    return Method(
        name=f"session.{verb}",
        params=ManyParams,
        result=SessionResult,
        bulk_result=BulkResult,
        summary=summary,
        errors=(*errors.REACHING_A_SESSION, *errors_beside),
        past_limits=past_limits,
    )


CREATE = Method(
    name="session.create",
    params=CreateParams,
    result=CreateResult,
    summary="Begin a session with an agent.",
    errors=(*errors.MAKING_A_SESSION, errors.TooManySubscriptions),
)
UPDATE = Method(
    name="session.update",
    params=UpdateParams,
    result=SessionResult,
    summary="Change title, pin, labels, metadata, model or policy: all that is asked for, or nothing.",
    errors=(
        *errors.REACHING_A_SESSION,
        *errors.CLOSED,
        errors.RevisionMismatch,
        errors.MetadataTooLarge,
        errors.InvalidTimeout,
        errors.InvalidPolicy,
        errors.AgentNotFound,
    ),
)
RESET = Method(
    name="session.reset",
    params=ClearParams,
    result=ResetResult,
    bulk_result=BulkResult,
    summary="Clear the history and the queue, from every read and from the disk; a running turn is stopped first.",
    errors=(
        *errors.REACHING_A_SESSION,
        errors.SessionArchived,
        errors.RevisionMismatch,
        errors.IdempotencyConflict,
    ),
)
DELETE = Method(
    name="session.delete",
    params=ClearParams,
    result=DeleteResult,
    bulk_result=BulkResult,
    summary="Delete the session and its history for good; a running turn is stopped first.",
    errors=(
        *errors.REACHING_A_SESSION,
        errors.RevisionMismatch,
        errors.IdempotencyConflict,
    ),
)
END = _managing(
    "end",
    "End the session for good; its history stays. A running turn and the queue are stopped first.",
    past_limits=True,
)
PAUSE = _managing(
    "pause",
    "Stop the clock of inactivity and take no messages; a running turn is stopped, the queue waits.",
    *errors.CLOSED,
)
RESUME = _managing("resume", "Go on where the session was paused, with the time that was left.", *errors.CLOSED)
ARCHIVE = _managing(
    "archive", "Put the session away, read-only, until it is restored.", errors.SessionPinned, errors.TurnRunning
)
RESTORE = _managing("restore", "Take the session out of the archive; one that has ended stays ended.")
RENEW = Method(
    name="session.renew",
    params=RenewParams,
    result=SessionResult,
    summary="Give the session its whole timeout again.",
    errors=(
        *errors.REACHING_A_SESSION,
        *errors.CLOSED,
        errors.SessionPaused,
        errors.RenewalFailed,
        errors.IdempotencyConflict,
    ),
)
HEARTBEAT = Method(
    name="session.heartbeat",
    params=HeartbeatParams,
    result=SessionResult,
    summary="Say that somebody is there: activity, as a message is.",
    errors=(*errors.REACHING_A_SESSION, *errors.CLOSED, errors.SessionPaused),
)
METHODS = (CREATE, UPDATE, END, PAUSE, RESUME, RENEW, HEARTBEAT, ARCHIVE, RESTORE, RESET, DELETE)
