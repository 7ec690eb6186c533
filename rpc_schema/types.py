"""Shapes that several families share: the session, its policy, limits of words.

Names are snake_case here and camelCase on the wire. A member without a value
is left out, not null, unless null says something.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

_ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$(?!\n)"
_SOMETHING = r"^(?=.*\S)" + _ONE_LINE[1:]

Instant = Annotated[str, Meta(description="RFC 3339 in UTC with milliseconds.", examples=["2026-11-20T09:30:00.123Z"])]
Key = Annotated[
    str,
    Meta(description="1 to 256 bytes of printable text without spaces.", examples=["agent:support:telegram:42/7"]),
]
Seq = Annotated[int, Meta(ge=0, le=2**53, description="A place in a session's log; the first event has 1.")]
Label = Annotated[str, Meta(min_length=1, max_length=64, pattern=_ONE_LINE)]
LabelValue = Annotated[str, Meta(max_length=256, pattern=_ONE_LINE)]
Labels = Annotated[dict[Label, LabelValue], Meta(max_length=64)]
Title = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=_SOMETHING,
        description="One line with something to see, no control characters.",
    ),
]
Word = Annotated[str, Meta(min_length=1, max_length=128, pattern=_SOMETHING)]
Tenant = Annotated[Word, Meta(description="Whose the key is, for admins of every tenant; by default the caller's.")]
IdempotencyKey = Annotated[
    str, Meta(min_length=1, max_length=128, description="A repeat within 24 h gets the first call's answer.")
]
IfRevision = Annotated[int, Meta(ge=0, description="Refuse with revision_mismatch unless the session is at it.")]
MaxBytes = Annotated[int, Meta(ge=1024, le=4 * 1024 * 1024, description="Bytes of one page.")]

State = Literal["live", "idle", "paused", "ended"]
Source = Literal["manual", "scheduled", "trigger"]
EndReason = Literal["user", "admin", "idle_timeout", "expired", "max_duration", "transferred", "import"]
TitleSource = Literal["first_message", "ai", "user"]
FinishReason = Literal["stop", "length", "tool_use", "stopped", "failed", "interrupted"]
ContextPolicyName = Literal["window", "summarise", "hierarchical"]
Role = Literal["user", "admin"]
Scope = Literal["sessions:read", "sessions:write", "admin"]


class Wire(Struct, rename="camel", omit_defaults=True):
    """Base of what the gateway sends."""


class RequestMeta(Struct, rename="camel", kw_only=True):
    """The `_meta` member of any params: for tools on the way, not for the method."""

    progress_token: str | int | UnsetType = UNSET


class Part(Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Base of objects inside params: unknown members are refused."""


class Params(Part, kw_only=True):
    """Base of what a client sends: unknown members are refused, except `_meta`."""

    meta: RequestMeta | UnsetType = field(default=UNSET, name="_meta")


class SessionParams(Params, kw_only=True):
    """Base of what names sessions by `key` or `keys`: a key is unique within a tenant."""

    tenant: Tenant | UnsetType = UNSET


class NoParams(Params, kw_only=True):
    """A method without parameters."""


class Usage(Wire, kw_only=True):
    """Tokens as the provider counted them (words for the echo agent)."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int


class ContextPolicy(Wire, kw_only=True):
    """How much of the history an agent is shown."""

    policy: ContextPolicyName
    token_budget_ratio: float
    keep_recent_turns: int


class Policy(Wire, kw_only=True):
    """The rules a session lives by, after session > agent > gateway."""

    idle_after_minutes: float
    timeout_minutes: float
    max_duration_minutes: float
    warning_threshold_minutes: float
    auto_renew: bool
    max_concurrent_per_user: int | None
    auto_archive_days: float | None
    allow_model_override: bool
    context: ContextPolicy


class ContextPolicyPatch(Part, kw_only=True):
    """Changes to the context part of a policy; null clears an override."""

    policy: ContextPolicyName | UnsetType | None = UNSET
    token_budget_ratio: float | UnsetType | None = UNSET
    keep_recent_turns: int | UnsetType | None = UNSET


class PolicyPatch(Part, kw_only=True):
    """Changes to single policy fields.

    Null clears an override, so that the agent's or the gateway's value holds again; on create there is none to clear,
    and for maxConcurrentPerUser and autoArchiveDays it means unlimited and never. Out-of-range values are moved into
    range on create and refused by an update.
    """

    idle_after_minutes: float | UnsetType | None = UNSET
    timeout_minutes: float | UnsetType | None = UNSET
    max_duration_minutes: float | UnsetType | None = UNSET
    warning_threshold_minutes: float | UnsetType | None = UNSET
    auto_renew: bool | UnsetType | None = UNSET
    max_concurrent_per_user: int | UnsetType | None = UNSET
    auto_archive_days: float | UnsetType | None = UNSET
    allow_model_override: bool | UnsetType | None = UNSET
    context: ContextPolicyPatch | UnsetType | None = UNSET


class TurnRef(Wire, kw_only=True):
    """The turn that is running."""

    id: str
    state: Literal["running"]


class Lineage(Wire, kw_only=True):
    """Where a fork comes from: the session, and the last event of it that counted."""

    key: Key
    seq: Seq


class Session(Wire, kw_only=True):
    """One user's conversation with one agent, in summary; never a transcript."""

    key: Key
    title: str | None = None
    title_source: TitleSource | None = None
    agent: str
    agent_name: str
    provider: str
    model: str
    model_override: str | None = None
    user: str
    tenant: str
    project: str | None = None
    channel: str
    source: Source
    state: State
    end_reason: EndReason | None = None
    transferred_to: Key | None = None
    transferred_from: Key | None = None
    forked_from: Lineage | None = None
    pinned: bool
    archived_at: Instant | None = None
    labels: dict[str, str]
    turn: TurnRef | None = None
    queued: int
    message_count: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    tool_calls: int
    compactions: int
    resets: int
    cost_usd: float | None = None
    renewal_count: int
    created_at: Instant
    last_activity_at: Instant
    ended_at: Instant | None = None
    expires_at: Instant | None = None
    time_remaining_ms: int | None = None
    is_near_expiration: bool
    revision: int
    head: int


class SubscriptionRef(Wire, kw_only=True):
    """A subscription made on the way by create or send."""

    id: str
    epoch: str
    head: int


class BulkItem(Wire, kw_only=True):
    """What became of one key of a bulk call."""

    key: str
    ok: bool
    result: Any = None
    error: Any = None


class BulkResult(Wire, kw_only=True):
    """Results in the order of the keys, duplicates once: one bad key never fails the rest."""

    results: list[BulkItem]
    succeeded: int
    failed: int
