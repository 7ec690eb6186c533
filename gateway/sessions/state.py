"""What is known about a session, and how each event changes it. Pure.

`apply` folds events: the same events on the same state always give the same.
Birth, renewals and deletion are in the projection alone. What people wrote
(title, labels, metadata) stands apart in `Details`, because the store must be
able to erase it.
"""

from typing import Any, assert_never, cast

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from gateway.clock import parse_instant
from rpc_schema import events as ev
from rpc_schema.types import EndReason, Lineage, Source, State, TitleSource, Usage

from . import titles
from .policy import overrides_of


class Details(Struct, frozen=True):
    """A session's words beside its log; `policy` holds its own overrides by field."""

    title: str | None = None
    title_source: TitleSource | None = None
    labels: dict[str, str] = {}
    metadata: dict[str, Any] = {}
    policy: dict[str, Any] = {}


class RunningTurn(Struct, frozen=True):
    """The turn that an agent has; `open_calls` are tool calls without a result yet."""

    id: str
    seq: int
    generation_started_at: int | None = None
    open_calls: tuple[str, ...] = ()


class WaitingTurn(Struct, frozen=True):
    """A turn in the queue; `seq` is its user message."""

    id: str
    seq: int


class SessionState(Struct, frozen=True, kw_only=True):
    """One session after the events up to `head`. Instants are milliseconds UTC.

    `cleared_to` is the last seq that a reset took away. `clamped` names the
    policy fields that were moved into range when the session was made.
    `warned_for` is the end that the session was last warned of; `expired_at`
    the end at which time has ended it. `paused_ms` is how long it was paused
    since its creation or last renewal by hand; `uncounted_ms` what the wall
    clock has leapt in its lifetime.
    """

    id: int
    tenant: str
    key: str
    epoch: str
    user: str
    agent: str
    provider: str
    model: str
    is_model_override: bool = False
    channel: str
    source: Source
    project: str | None = None
    created_at: int
    last_activity_at: int
    lifecycle: State = "live"
    end_reason: EndReason | None = None
    transferred_to: str | None = None
    transferred_from: str | None = None
    forked_from: Lineage | None = None
    ended_at: int | None = None
    archived_at: int | None = None
    deleted_at: int | None = None
    restored_at: int | None = None
    expired_at: int | None = None
    warned_for: int | None = None
    renewed_at: int | None = None
    paused_at: int | None = None
    resumed_at: int | None = None
    paused_ms: int = 0
    paused_since_activity_ms: int = 0
    uncounted_ms: int = 0
    pinned: bool = False
    message_count: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float | None = 0.0
    tool_calls: int = 0
    compactions: int = 0
    resets: int = 0
    renewal_count: int = 0
    revision: int = 1
    head: int = 0
    cleared_to: int = 0
    turn: RunningTurn | None = None
    queue: tuple[WaitingTurn, ...] = ()
    clamped: tuple[str, ...] = ()
    details: Details = Details()

    @property
    def is_empty(self) -> bool:
        """Whether it never had a message: one that was reset had some."""
        return self.message_count == 0 and self.resets == 0

    @property
    def is_timed(self) -> bool:
        """Whether inactivity will end it."""
        return self.lifecycle in ("live", "idle") and self.deleted_at is None

    @property
    def is_archived(self) -> bool:
        """Whether it is read-only until it is restored."""
        return self.archived_at is not None

    @property
    def is_busy(self) -> bool:
        """Whether a turn runs or waits."""
        return self.turn is not None or bool(self.queue)


def encode(state: SessionState) -> bytes:
    """The state without its words, for the store."""
    return msgspec.json.encode(replace(state, details=Details()))


_decode_state = msgspec.json.Decoder(SessionState).decode
_decode_details = msgspec.json.Decoder(Details).decode


def decode(state: bytes, details: bytes | None) -> SessionState:
    """What `encode` stored, with its words put back."""
    decoded = _decode_state(state)
    return replace(decoded, details=_decode_details(details)) if details is not None else decoded


def apply(state: SessionState, event: ev.AnyEvent) -> SessionState:
    """The state after one event, which must be the next in the log."""
    return replace(_fold(state, event), head=event.seq)


def _fold(state: SessionState, event: ev.AnyEvent) -> SessionState:  # noqa: PLR0911  # one arm an event
    match event:
        case ev.SessionCreated():
            return state
        case ev.SessionStateChanged():
            return _change_lifecycle(state, event)
        case ev.SessionExpiring():
            return replace(state, warned_for=parse_instant(event.expires_at))
        case ev.SessionRenewed():
            return replace(state, warned_for=None, renewal_count=event.renewal_count)
        case ev.SessionUpdated():
            return _update(state, event)
        case ev.SessionTransferred():
            return replace(state, transferred_to=event.to or state.transferred_to)
        case ev.MessageUser():
            return _hear(state, event)
        case ev.MessageAssistant() | ev.MessageSystem():
            return active(replace(state, message_count=state.message_count + 1), parse_instant(event.at))
        case ev.ToolCall() | ev.ToolResult() | ev.GenerationStart() | ev.GenerationEnd():
            return _work(active(state, parse_instant(event.at)), event)
        case ev.Reset():
            return _reset(state, event)
        case ev.TurnQueued() | ev.TurnStarted() | ev.TurnCompleted() | ev.TurnStopped() | ev.TurnFailed():
            return _move_turn(state, event)
        case _:
            assert_never(event)


def active(state: SessionState, at_ms: int) -> SessionState:
    """The state after a sign of life."""
    return replace(state, last_activity_at=at_ms, paused_since_activity_ms=0)


def _change_lifecycle(state: SessionState, event: ev.SessionStateChanged) -> SessionState:
    at = parse_instant(event.at)
    state = replace(_unpause(state, at), lifecycle=event.to, revision=state.revision + 1)
    if event.to == "paused":
        return replace(state, paused_at=at)
    if event.to == "ended":
        return replace(state, end_reason=cast(EndReason, event.reason), ended_at=at)
    return state


def _unpause(state: SessionState, at_ms: int) -> SessionState:
    """Let the clock of inactivity, if it stood still, go on from where it was."""
    if state.paused_at is None:
        return state
    paused_ms = at_ms - state.paused_at
    return replace(
        state,
        paused_at=None,
        resumed_at=at_ms,
        paused_ms=state.paused_ms + paused_ms,
        paused_since_activity_ms=state.paused_since_activity_ms + paused_ms,
    )


def _update(state: SessionState, event: ev.SessionUpdated) -> SessionState:
    details = state.details
    if event.title is not UNSET:
        details = replace(details, title=event.title, title_source="user" if event.title is not None else None)
    if event.labels is not UNSET:
        details = replace(details, labels=event.labels)
    if event.metadata is not UNSET:
        details = replace(details, metadata=event.metadata)
    if event.policy is not UNSET:
        details = replace(details, policy=overrides_of(event.policy))
    state = replace(state, details=details, revision=state.revision + 1)
    if event.pinned is not UNSET:
        state = replace(state, pinned=event.pinned)
    if event.model is not UNSET:
        state = replace(state, model=event.model)
    if event.archived_at is not UNSET:
        state = _file(state, event)
    return state


def _file(state: SessionState, event: ev.SessionUpdated) -> SessionState:
    """Put it into the archive, or take it out."""
    if event.archived_at:
        return replace(state, archived_at=parse_instant(event.archived_at))
    return replace(state, archived_at=None, restored_at=parse_instant(event.at))


def _hear(state: SessionState, event: ev.MessageUser) -> SessionState:
    details = state.details
    if details.title is None and (title := titles.from_message(event.content)):
        details = replace(details, title=title, title_source="first_message")
    queue = (*state.queue, WaitingTurn(event.turn, event.seq)) if event.turn else state.queue
    state = replace(state, details=details, queue=queue, message_count=state.message_count + 1)
    return active(state, parse_instant(event.at))


def _work(
    state: SessionState, event: ev.ToolCall | ev.ToolResult | ev.GenerationStart | ev.GenerationEnd
) -> SessionState:
    turn = state.turn
    if turn is None:
        return state
    match event:
        case ev.ToolCall():
            turn = replace(turn, open_calls=(*turn.open_calls, event.call_id))
            return replace(state, turn=turn, tool_calls=state.tool_calls + 1)
        case ev.ToolResult():
            turn = replace(turn, open_calls=tuple(call for call in turn.open_calls if call != event.call_id))
            return replace(state, turn=turn)
        case ev.GenerationStart():
            return replace(state, turn=replace(turn, generation_started_at=parse_instant(event.at)))
        case ev.GenerationEnd():
            state = replace(state, turn=replace(turn, generation_started_at=None))
            return _count(state, event.usage, event.cost_usd)


def _count(state: SessionState, usage: Usage, cost_usd: float | None) -> SessionState:
    """Add up; a price that is not known makes the sum unknown."""
    cost = state.cost_usd
    if cost is not None and (cost_usd is not None or usage.input_tokens or usage.output_tokens):
        cost = cost + cost_usd if cost_usd is not None else None
    return replace(
        state,
        input_tokens=state.input_tokens + usage.input_tokens,
        output_tokens=state.output_tokens + usage.output_tokens,
        cache_read_tokens=state.cache_read_tokens + usage.cache_read_tokens,
        cache_write_tokens=state.cache_write_tokens + usage.cache_write_tokens,
        cost_usd=cost,
    )


def _reset(state: SessionState, event: ev.Reset) -> SessionState:
    details = state.details
    if details.title_source != "user":
        details = replace(details, title=None, title_source=None)
    return replace(
        state,
        details=details,
        message_count=0,
        resets=state.resets + 1,
        cleared_to=event.cleared_to,
        turn=None,
        queue=(),
        revision=state.revision + 1,
    )


def _move_turn(
    state: SessionState, event: ev.TurnQueued | ev.TurnStarted | ev.TurnCompleted | ev.TurnStopped | ev.TurnFailed
) -> SessionState:
    """A message put its turn at the end of the queue; from there it moves, runs and ends."""
    mine = [waiting for waiting in state.queue if waiting.id == event.turn]
    others = tuple(waiting for waiting in state.queue if waiting.id != event.turn)
    match event:
        case ev.TurnQueued():
            place = event.position - 1
            return replace(state, queue=(*others[:place], *mine, *others[place:]))
        case ev.TurnStarted():
            return replace(state, queue=others, turn=RunningTurn(mine[0].id, mine[0].seq))
        case _:
            is_running = state.turn is not None and state.turn.id == event.turn
            return replace(state, queue=others, turn=None if is_running else state.turn)
