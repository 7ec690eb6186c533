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
    pinned: bool | UnsetType = UNSET
    labels: Labels | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET
    if_revision: IfRevision | UnsetType = UNSET


class SessionResult(Wire, kw_only=True):
    """The session after the call."""

    session: Session


class ManyParams(SessionParams, kw_only=True):
    """One session by `key`, or up to 500 by `keys`."""

    key: Key | UnsetType = UNSET
    keys: Keys | UnsetType = UNSET
    idempotency_key: IdempotencyKey | UnsetType = UNSET
    if_revision: IfRevision | UnsetType = UNSET


class ResetResult(Wire, kw_only=True):
    """The emptied session and how many messages it had."""

    session: Session
    previous_messages: int


class DeleteResult(Wire, kw_only=True):
    """The session is gone."""

    deleted: bool


CREATE = Method(
    name="session.create",
    params=CreateParams,
    result=CreateResult,
    summary="Begin a session with an agent.",
    errors=(
        errors.AgentNotFound,
        errors.InvalidKey,
        errors.SessionNotFound,
        errors.SessionDeleted,
        errors.SessionExists,
        errors.MetadataTooLarge,
        errors.Forbidden,
        errors.SessionLimit,
        errors.ShuttingDown,
        errors.IdempotencyConflict,
        errors.TooManySubscriptions,
        errors.StoreUnavailable,
    ),
)
UPDATE = Method(
    name="session.update",
    params=UpdateParams,
    result=SessionResult,
    summary="Change title, pin, labels or metadata.",
    errors=(
        *errors.REACHING_A_SESSION,
        errors.SessionArchived,
        errors.RevisionMismatch,
        errors.MetadataTooLarge,
    ),
)
RESET = Method(
    name="session.reset",
    params=ManyParams,
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
    params=ManyParams,
    result=DeleteResult,
    bulk_result=BulkResult,
    summary="Delete the session and its history for good; a running turn is stopped first.",
    errors=(
        *errors.REACHING_A_SESSION,
        errors.RevisionMismatch,
        errors.IdempotencyConflict,
    ),
)
METHODS = (CREATE, UPDATE, RESET, DELETE)
