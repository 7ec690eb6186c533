"""The log of a session: what can happen in it, as one tagged union.

Every event has `seq` (1-based, consecutive, never reused) and `at`; both are
given when it is committed. `turn` is there for what belongs to a turn,
`author` for what a person did, `via` when somebody did it for them.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from .types import EndReason, FinishReason, Instant, Key, Lineage, PolicyPatch, Source, State, Usage


class Event(Struct, rename="camel", tag_field="type", kw_only=True, omit_defaults=True):
    """One entry of the log."""

    seq: int = 0
    at: Instant = ""
    turn: str | None = None
    author: str | None = None
    via: str | None = None


class SessionCreated(Event, tag="session.created", kw_only=True):
    """The session began."""

    agent: str
    model: str
    source: Source
    channel: str
    forked_from: Lineage | None = None


class SessionStateChanged(Event, tag="session.state", kw_only=True):
    """The session went from one state to another."""

    from_: State = field(name="from")
    to: State
    reason: Literal["idle", "activity", "user", "admin"] | EndReason


class SessionExpiring(Event, tag="session.expiring", kw_only=True):
    """The session is near its end: said once for each deadline."""

    cause: Literal["timeout", "max_duration"]
    expires_at: Instant
    minutes_remaining: float
    time_remaining_ms: int


class SessionRenewed(Event, tag="session.renewed", kw_only=True):
    """The end of the session moved out: by hand, or by what took back a warning (`auto`: by activity)."""

    expires_at: Instant
    renewal_count: int
    auto: bool


class SessionUpdated(Event, tag="session.updated", kw_only=True):
    """What a person decided anew: only the changed fields are there, null where one was cleared."""

    title: str | UnsetType | None = UNSET
    pinned: bool | UnsetType = UNSET
    labels: dict[str, str] | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    model: str | UnsetType = UNSET
    policy: (
        Annotated[PolicyPatch, Meta(description="All of the session's own overrides, as they are now.")] | UnsetType
    ) = UNSET
    archived_at: Instant | UnsetType | None = UNSET


class SessionTransferred(Event, tag="session.transferred", kw_only=True):
    """The conversation goes on in session `to`, or has come from session `from`: one of them is there."""

    to: Key | None = None
    from_: Key | None = field(name="from", default=None)


class MessageUser(Event, tag="message.user", kw_only=True):
    """A person's message."""

    content: str
    metadata: dict[str, Any] | None = None


class MessageAssistant(Event, tag="message.assistant", kw_only=True):
    """What the agent said; a turn's text deltas joined are its contents joined."""

    content: str
    finish_reason: FinishReason
    partial: bool


class MessageSystem(Event, tag="message.system", kw_only=True):
    """A note that neither side of the conversation wrote."""

    content: str


class ToolCall(Event, tag="tool.call", kw_only=True):
    """The agent called a tool."""

    call_id: str
    name: str
    input: Any


class ToolResult(Event, tag="tool.result", kw_only=True):
    """What the tool gave back, or `error` with why it could not."""

    call_id: str
    output: Any = None
    error: str | None = None
    duration_ms: int


class GenerationStart(Event, tag="generation.start", kw_only=True):
    """A model was asked."""

    provider: str
    model: str


class GenerationEnd(Event, tag="generation.end", kw_only=True):
    """A model has answered, was stopped or failed; `costUsd` is absent while a price is unknown."""

    usage: Usage
    cost_usd: float | None = None
    ttft_ms: Annotated[int, Meta(description="From the start to the first piece; absent if none came.")] | None = None
    duration_ms: int


class Reset(Event, tag="reset", kw_only=True):
    """The history was cleared: drop everything up to `clearedTo`."""

    messages_cleared: int
    cleared_to: int


class TurnQueued(Event, tag="turn.queued", kw_only=True):
    """The turn waits for those before it; position 1 is next."""

    position: int


class TurnStarted(Event, tag="turn.started", kw_only=True):
    """The agent has the turn."""

    model: str


class TurnCompleted(Event, tag="turn.completed", kw_only=True):
    """The turn ended by itself."""


class TurnStopped(Event, tag="turn.stopped", kw_only=True):
    """The turn was ended from outside; what it said until then is kept."""

    by: str
    reason: Literal["stopped", "interrupted", "reset", "deleted", "ended", "paused"]


class TurnFailed(Event, tag="turn.failed", kw_only=True):
    """The turn could not be finished; what it said until then is kept."""

    code: Literal[
        "agent_failed",
        "agent_unavailable",
        "agent_timeout",
        "gateway_restarted",
        "content_filtered",
        "context_too_long",
        "budget_exceeded",
    ]
    message: str
    retry_after_ms: int | None = None


AnyEvent = (
    SessionCreated
    | SessionStateChanged
    | SessionExpiring
    | SessionRenewed
    | SessionUpdated
    | SessionTransferred
    | MessageUser
    | MessageAssistant
    | MessageSystem
    | ToolCall
    | ToolResult
    | GenerationStart
    | GenerationEnd
    | Reset
    | TurnQueued
    | TurnStarted
    | TurnCompleted
    | TurnStopped
    | TurnFailed
)
LoggedEvent = Annotated[Raw, Meta(extra_json_schema={"$ref": "#/components/schemas/Event"})]
"""An event as the log has it: passed on as it is, without being decoded."""

EventType = Literal[
    "session.created",
    "session.state",
    "session.expiring",
    "session.renewed",
    "session.updated",
    "session.transferred",
    "message.user",
    "message.assistant",
    "message.system",
    "tool.call",
    "tool.result",
    "generation.start",
    "generation.end",
    "reset",
    "turn.queued",
    "turn.started",
    "turn.completed",
    "turn.stopped",
    "turn.failed",
]
