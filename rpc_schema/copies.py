"""Sessions made from sessions: a fork, a transfer to another agent, a file brought back."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from . import errors
from .descriptors import Method
from .types import IdempotencyKey, IfRevision, Key, Params, Session, SessionParams, Tenant, Title, Wire, Word


class ForkParams(SessionParams, kw_only=True):
    """Up to where, and what the new session is called; without `title` like the one it comes from."""

    key: Key
    at_seq: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=2**53,
                description="The last event that is copied. Without it the newest, or, while a turn runs, the last"
                " before that turn. What a turn has not finished by then is closed: an open tool call gets a result"
                " with an error, the turn a `turn.stopped`.",
            ),
        ]
        | UnsetType
    ) = UNSET
    title: Title | UnsetType = UNSET
    idempotency_key: IdempotencyKey | UnsetType = UNSET


class ForkResult(Wire, kw_only=True):
    """The new session."""

    session: Session


class TransferParams(SessionParams, kw_only=True):
    """Which session, and to which agent."""

    key: Key
    agent: Word
    idempotency_key: IdempotencyKey | UnsetType = UNSET
    if_revision: IfRevision | UnsetType = UNSET


class TransferResult(Wire, kw_only=True):
    """The session that has ended, and the one in which the conversation goes on."""

    source: Session
    target: Session


class ImportParams(Params, kw_only=True):
    """One session as `session.export` gives it as jsonl; nothing is imported unless all of it is right."""

    data: Annotated[str, Meta(description="Header, events, end line; each line with its LF.")]
    key: Annotated[Key, Meta(description="Instead of the one in the file.")] | UnsetType = UNSET
    on_conflict: Annotated[
        Literal["fail", "rename"], Meta(description="Where the key is taken: an error, or a number behind the key.")
    ] = "fail"
    tenant: Tenant | UnsetType = UNSET
    idempotency_key: IdempotencyKey | UnsetType = UNSET


class ImportResult(Wire, kw_only=True):
    """The session as it is now, and how many events it came with."""

    session: Session
    events: int


FORK = Method(
    name="session.fork",
    params=ForkParams,
    result=ForkResult,
    summary="Copy a conversation up to a point into a new session of the same agent and user.",
    errors=(
        *errors.REACHING_A_SESSION,
        errors.AgentNotFound,
        errors.SessionExists,
        errors.TurnRunning,
        errors.IdempotencyConflict,
        errors.ShuttingDown,
    ),
)
TRANSFER = Method(
    name="session.transfer",
    params=TransferParams,
    result=TransferResult,
    summary="End a session and go on in a new one with another agent, which is shown the history.",
    errors=(
        *errors.REACHING_A_SESSION,
        errors.AgentNotFound,
        errors.SessionExists,
        errors.TurnRunning,
        *errors.CLOSED,
        errors.SessionLimit,
        errors.IdempotencyConflict,
        errors.RevisionMismatch,
        errors.ShuttingDown,
    ),
)
IMPORT = Method(
    name="session.import",
    params=ImportParams,
    result=ImportResult,
    summary="Make a session from an exported file, as the caller's own.",
    errors=errors.MAKING_A_SESSION,
)
METHODS = (FORK, TRANSFER, IMPORT)
