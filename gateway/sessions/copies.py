"""What a session made from another one holds. Pure.

A copy has the conversation, not the life: messages, tools, generations and the
turns they belong to keep their time, turn and author, and are numbered anew;
what happened to the session itself stays behind. Every turn in a copy is over,
and no tool call was left open by the cut.
"""

from collections.abc import Iterable
from typing import Any, get_args

from msgspec import UNSET
from msgspec.structs import replace

from gateway.clock import instant
from rpc_schema import errors
from rpc_schema import events as ev
from rpc_schema.types import Lineage

from . import lifecycle
from .lifecycle import Birth
from .running import unanswered
from .state import Details, SessionState

_Copied = (
    ev.MessageUser
    | ev.MessageAssistant
    | ev.MessageSystem
    | ev.ToolCall
    | ev.ToolResult
    | ev.GenerationStart
    | ev.GenerationEnd
    | ev.TurnStarted
    | ev.TurnCompleted
    | ev.TurnStopped
    | ev.TurnFailed
)
_Message = ev.MessageUser | ev.MessageAssistant | ev.MessageSystem
_TurnEnd = ev.TurnCompleted | ev.TurnStopped | ev.TurnFailed
COPIED = tuple(str(event.__struct_config__.tag) for event in get_args(_Copied))
"""The types of events that a copy takes over."""

Events = list[ev.AnyEvent]


def cut(state: SessionState, at_seq: Any) -> int:
    """The last seq that a fork takes over; the whole log when none was asked for.

    Raises:
        InvalidParams: there is no such event, or no longer.
    """
    if at_seq is UNSET:
        return state.head
    if at_seq > state.head:
        raise errors.InvalidParams(path="$.atSeq", reason=f"the log ends at {state.head}")
    if at_seq <= state.cleared_to:
        raise errors.InvalidParams(path="$.atSeq", reason=f"a reset cleared everything up to {state.cleared_to}")
    return int(at_seq)


def check_cut(state: SessionState, until: int, events: Iterable[ev.AnyEvent]) -> None:
    """Refuse to cut where the running turn is; these are the events up to there.

    Raises:
        TurnRunning: it has begun by then, or its message is the last.
    """
    if state.turn is None:
        return
    for event in events:
        is_asked = isinstance(event, ev.MessageUser) and event.seq == until
        if event.turn == state.turn.id and (is_asked or isinstance(event, ev.TurnStarted)):
            raise errors.TurnRunning(turn=state.turn.id)


def conversation(events: Iterable[ev.AnyEvent], *, until: int, without: str | None, model: str, by: str) -> Events:
    """What of a log up to seq `until` is copied, without the turn that still runs.

    A message whose turn had not begun by then is left out, unless it is the one
    at `until`. What is unfinished is closed in the name of `by`; a turn of which
    nothing but its end is missing gets that, so `events` goes one further.
    """
    reach = [event for event in events if event.seq <= until or isinstance(event, _TurnEnd)]
    log = [event for event in reach if isinstance(event, _Copied) and (event.turn is None or event.turn != without)]
    turns = _turns(log, until)
    dangling = {turn.asking for turn in turns.values() if not turn.is_over}
    copied: Events = [
        event for event in log if (event.turn is None or event.turn in turns) and event.seq not in dangling
    ]
    at = copied[-1].at if copied else ""
    for id, turn in turns.items():
        closing = turn.closing(id, model, by)
        for event in closing:
            event.at = at
        copied += closing
    return copied


class _Turn:
    """How far a turn had come where the log was cut."""

    def __init__(self) -> None:
        self.is_begun = self.is_over = False
        self.asking: int | None = None
        self.open_calls: dict[str, None] = {}

    def follow(self, event: ev.AnyEvent) -> None:
        """One event further."""
        match event:
            case ev.TurnStarted():
                self.is_begun = True
            case ev.GenerationStart():
                self.asking = event.seq
            case ev.GenerationEnd():
                self.asking = None
            case ev.ToolCall():
                self.open_calls[event.call_id] = None
            case ev.ToolResult():
                self.open_calls.pop(event.call_id, None)
            case ev.TurnCompleted() | ev.TurnStopped() | ev.TurnFailed():
                self.is_over = True
            case _:
                pass

    def closing(self, id: str, model: str, by: str) -> Events:
        """What is missing until it is over."""
        if self.is_over:
            return []
        begun = [] if self.is_begun else [ev.TurnStarted(turn=id, model=model)]
        stopped = ev.TurnStopped(turn=id, by=by, reason="stopped")
        return [*begun, *unanswered(id, self.open_calls, lambda call: 0), stopped]


def _turns(log: Iterable[ev.AnyEvent], until: int) -> dict[str, _Turn]:
    """The turns that are copied: those that had begun or were over, and the one whose message is at `until`."""
    turns: dict[str, _Turn] = {}
    asked = None
    for event in log:
        if event.turn is not None:
            turns.setdefault(event.turn, _Turn()).follow(event)
            asked = event.turn if isinstance(event, ev.MessageUser) and event.seq == until else asked
    return {id: turn for id, turn in turns.items() if turn.is_begun or turn.is_over or id == asked}


def heir(source: SessionState, /, *, id: int, key: str, **changes: Any) -> Birth:
    """What a session is born with that is made from another one."""
    inherited = Birth(
        id=id,
        tenant=source.tenant,
        key=key,
        user=source.user,
        agent=source.agent,
        provider=source.provider,
        model=source.model,
        is_model_override=source.is_model_override,
        channel=source.channel,
        source="manual",
        project=source.project,
        pinned=False,
        details=source.details,
        clamped=source.clamped,
    )
    return replace(inherited, **changes)


def titled(details: Details, title: Any) -> Details:
    """The words of a fork: a title of its own, where one was given."""
    return details if title is UNSET else replace(details, title=title, title_source="user")


def fork(birth: Birth, origin: Lineage, copied: Events, by: str, now_ms: int) -> tuple[SessionState, Events]:
    """A session that begins with a copied conversation, and its log."""
    state, created = lifecycle.create(birth, by, now_ms)
    created.forked_from = origin
    return _settle(replace(state, forked_from=origin), [created, *copied], now_ms)


def succeed(birth: Birth, source: str, copied: Events, by: str, now_ms: int) -> tuple[SessionState, Events]:
    """The session in which a transferred conversation goes on, and its log."""
    state, created = lifecycle.create(birth, by, now_ms)
    came = ev.SessionTransferred(author=by, from_=source)
    return _settle(replace(state, transferred_from=source), [created, came, *copied], now_ms)


def _settle(state: SessionState, log: Events, now_ms: int) -> tuple[SessionState, Events]:
    """Number the log, and count what it holds; what it once cost was paid in another session."""
    for seq, event in enumerate(log, start=1):
        event.seq, event.at = seq, event.at or instant(now_ms)
    return replace(state, head=len(log), message_count=sum(isinstance(event, _Message) for event in log)), log


def check_transfer(state: SessionState, agent: str) -> None:
    """Refuse what cannot be handed over.

    Raises:
        SessionArchived, SessionEnded, SessionExpired, TurnRunning, InvalidParams.
    """
    lifecycle.check_open(state)
    lifecycle.check_quiet(state)
    if agent == state.agent:
        raise errors.InvalidParams(path="$.agent", reason="the session is with this agent already")


def hand_over(state: SessionState, to: str, by: str) -> Events:
    """The end of a session whose conversation goes on elsewhere; what waits in it is stopped."""
    return [
        *(ev.TurnStopped(turn=waiting.id, by=by, reason="ended") for waiting in state.queue),
        ev.SessionTransferred(author=by, to=to),
        ev.SessionStateChanged(author=by, from_=state.lifecycle, to="ended", reason="transferred"),
    ]
