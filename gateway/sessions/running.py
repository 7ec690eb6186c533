"""A turn while it runs: what the agent says into it, and what is left to write when it ends.

The agent's side is `Output`. Text goes live at once and to the log in pieces;
tools and generations go to the log as they come. Once sealed, nothing an agent
still says has any effect.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Literal

import msgspec
import structlog

from gateway.agents.base import Finish
from gateway.clock import Clock
from gateway.hub.hub import Hub, Topic
from gateway.storage.base import StoreFault
from rpc_schema import events as ev
from rpc_schema.conversation import TurnFailure
from rpc_schema.notifications import Delta
from rpc_schema.subscriptions import RunningTurn as Snapshot
from rpc_schema.types import FinishReason, Usage

SAVE_EVERY_S = 0.25
MOST_TOKENS = 10**12
Kind = Literal["text", "reasoning", "tool_input"]
Events = list[ev.AnyEvent]
Record = Callable[["TurnRun", Callable[[], Events]], Awaitable[None]]
log = structlog.get_logger(__name__)

ENDING = ("message.assistant", "generation.end", "turn.completed", "turn.stopped", "turn.failed")
NO_USAGE = Usage(input_tokens=0, output_tokens=0, cache_read_tokens=0, cache_write_tokens=0)


class Chunk(msgspec.Struct):
    """A piece of a running turn's text, as it is kept against a crash; `offset` as in deltas."""

    turn: str
    offset: int
    text: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a turn ended; `message` is its last, None when it never ran."""

    message: ev.MessageAssistant | None = None
    usage: Usage
    cost_usd: float | None = 0.0
    finish_reason: FinishReason
    failure: TurnFailure | None = None


class Generation:
    """One asking of a model: its clock and what it used."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.first_piece: float | None = None
        self.usage = NO_USAGE

    def end(self, turn: str, now: float, cost_usd: float | None) -> ev.GenerationEnd:
        """Its last word."""
        ttft = None if self.first_piece is None else round((self.first_piece - self.started) * 1000)
        duration = round((now - self.started) * 1000)
        return ev.GenerationEnd(turn=turn, usage=self.usage, cost_usd=cost_usd, ttft_ms=ttft, duration_ms=duration)


class TurnRun:
    """The Output of one running turn.

    `record` gets a function that makes events, calls it inside the session's
    lane, commits them and reports to `recorded`; once sealed it does nothing.
    """

    def __init__(
        self,
        topic: Topic,
        session: int,
        turn: str,
        *,
        hub: Hub,
        clock: Clock,
        record: Record,
        save: Callable[[int, bytes], asyncio.Future[None]],
        price: Callable[[Usage], float | None],
        output_bytes: int,
    ) -> None:
        self.topic, self.session, self.turn = topic, session, turn
        self.started = clock.monotonic()
        self.task: asyncio.Task[Finish] | None = None
        self.ending: tuple[FinishReason, ev.AnyEvent] | None = None
        self.is_cut = False
        self._hub, self._clock, self._record, self._save, self._price = hub, clock, record, save, price
        self._bytes_left = output_bytes
        self._said: dict[Kind, list[str]] = {"text": [], "reasoning": []}
        self._offsets: dict[Kind, int] = {"text": 0, "reasoning": 0, "tool_input": 0}
        self._logged = 0
        self._saved = 0
        self._timer: asyncio.TimerHandle | None = None
        self._generation: Generation | None = None
        self._open_calls: dict[str, float] = {}
        self._last_message: ev.MessageAssistant | None = None
        self._last_words: Events = []
        self._ended: Events = []

    # What the agent calls.

    def text(self, piece: str) -> None:
        """Add to the answer."""
        self._say("text", piece)

    def reasoning(self, piece: str) -> None:
        """Add to the thinking."""
        self._say("reasoning", piece)

    def tool_input(self, call_id: str, piece: str) -> None:
        """Show a tool's arguments while they are being written."""
        self._say("tool_input", piece, call_id)

    def usage(
        self, *, input_tokens: int, output_tokens: int, cache_read_tokens: int = 0, cache_write_tokens: int = 0
    ) -> None:
        """Say what the running generation has used so far."""
        if self._generation is not None and self.ending is None:
            self._generation.usage = Usage(
                input_tokens=_tokens(input_tokens),
                output_tokens=_tokens(output_tokens),
                cache_read_tokens=_tokens(cache_read_tokens),
                cache_write_tokens=_tokens(cache_write_tokens),
            )

    async def generation(self, *, provider: str, model: str) -> None:
        """A model is about to be asked."""
        start = ev.GenerationStart(turn=self.turn, provider=provider, model=model)
        await self._record(self, lambda: [*self._end_generation(), start])

    async def tool_call(self, call_id: str, name: str, input: Any) -> None:
        """The agent calls a tool; what it said before is a message of its own."""
        call = ev.ToolCall(turn=self.turn, call_id=call_id, name=name, input=input)
        await self._record(self, lambda: [*self._unlogged_message(), call])

    async def tool_result(self, call_id: str, output: Any, *, error: str | None = None, duration_ms: int) -> None:
        """The tool came back, or could not."""
        result = ev.ToolResult(turn=self.turn, call_id=call_id, output=output, error=error, duration_ms=duration_ms)
        await self._record(self, lambda: [result])

    # What the turn's owner calls, inside the session's lane.

    def seal(self, finish: FinishReason, end: ev.AnyEvent) -> None:
        """Decide how the turn ends; the first to do so is right, and nothing more is heard of the agent."""
        if self.ending is None:
            self.ending = (finish, end)
            if self.task is not None:
                self.task.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def closing(self) -> Events:
        """All that is left to write: open tools, the generation, the last message, the end."""
        assert self.ending is not None
        finish, end = self.ending
        is_partial = finish in ("stopped", "failed", "interrupted")
        last = self._last_message
        is_said = last is not None and last.finish_reason == finish and not self._unlogged()
        message = [] if is_said else [self._message(finish, is_partial=is_partial)]
        open_calls = unanswered(self.turn, self._open_calls, self._open_ms) if is_partial or self.is_cut else []
        self._last_words = [*open_calls, *self._end_generation(), *message, end]
        return self._last_words

    def recorded(self, events: Events) -> None:
        """Take note of what is in the log now."""
        for event in events:
            match event:
                case ev.MessageAssistant():
                    self._logged += len(event.content)
                    self._saved = max(self._saved, self._logged)
                    self._last_message = event
                    self._ended.append(event)
                case ev.GenerationStart():
                    self._generation = Generation(self._clock.monotonic())
                case ev.GenerationEnd():
                    self._generation = None
                    self._ended.append(event)
                case ev.ToolCall():
                    self._open_calls[event.call_id] = self._clock.monotonic()
                case ev.ToolResult():
                    self._open_calls.pop(event.call_id, None)
                case _:
                    pass

    def outcome(self) -> Outcome:
        """How it ended; asked for once, when what `closing` gave is in the log."""
        return outcome_of([*self._ended, *self._last_words])

    def snapshot(self) -> Snapshot:
        """What it has said so far, for a client that comes in the middle."""
        text = self._whole("text")
        return Snapshot(id=self.turn, state="running", text=text, reasoning=self._whole("reasoning"), offset=len(text))

    def since(self, text: int, reasoning: int) -> list[Delta]:
        """What came after these offsets, one delta a kind."""
        known: dict[Kind, int] = {"reasoning": reasoning, "text": text}
        return [
            Delta(turn=self.turn, kind=kind, offset=offset, text=piece)
            for kind, offset in known.items()
            if (piece := self._whole(kind)[offset:])
        ]

    def _say(self, kind: Kind, piece: str, call_id: str | None = None) -> None:
        if self.ending is not None or self.is_cut or not piece:
            return
        piece = self._fit(piece)
        if self._generation is not None and self._generation.first_piece is None:
            self._generation.first_piece = self._clock.monotonic()
        offset = self._offsets[kind]
        self._offsets[kind] = offset + len(piece)
        if kind != "tool_input":
            self._said[kind].append(piece)
        if kind == "text" and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SAVE_EVERY_S, self._keep)
        if piece:
            self._hub.publish_delta(
                self.topic, Delta(turn=self.turn, kind=kind, offset=offset, text=piece, call_id=call_id)
            )

    def _fit(self, piece: str) -> str:
        """The piece as valid UTF-8 within what is left of the turn's bytes; past them the turn is cut."""
        encoded = piece.encode("utf-8", "replace")
        if len(encoded) > self._bytes_left:
            encoded = encoded[: self._bytes_left]
            self.is_cut = True
            if self.task is not None:
                self.task.cancel()
        self._bytes_left -= len(encoded)
        return encoded.decode("utf-8", "ignore")

    def _keep(self) -> None:
        """Store what was said since the last time, so that a crash loses at most SAVE_EVERY_S of it."""
        self._timer = None
        text = self._whole("text")
        if self._saved < len(text):
            offset, self._saved = self._saved, len(text)
            chunk = msgspec.json.encode(Chunk(self.turn, offset, text[offset:]))
            self._save(self.session, chunk).add_done_callback(partial(self._kept, offset))

    def _kept(self, offset: int, saved: asyncio.Future[None]) -> None:
        """See whether it was stored; if not, it goes with the next piece."""
        try:
            saved.result()
        except (StoreFault, asyncio.CancelledError) as error:
            self._saved = min(self._saved, offset)
            log.warning("partial_not_saved", error=str(error))

    def _whole(self, kind: Kind) -> str:
        pieces = self._said[kind]
        if len(pieces) > 1:
            pieces[:] = ["".join(pieces)]
        return pieces[0] if pieces else ""

    def _unlogged(self) -> str:
        return self._whole("text")[self._logged :]

    def _unlogged_message(self) -> Events:
        return [self._message("tool_use", is_partial=False)] if self._unlogged() else []

    def _message(self, finish: FinishReason, *, is_partial: bool) -> ev.MessageAssistant:
        return ev.MessageAssistant(turn=self.turn, content=self._unlogged(), finish_reason=finish, partial=is_partial)

    def _end_generation(self) -> Events:
        if self._generation is None:
            return []
        cost_usd = self._price(self._generation.usage)
        return [self._generation.end(self.turn, self._clock.monotonic(), cost_usd)]

    def _open_ms(self, call_id: str) -> int:
        return round((self._clock.monotonic() - self._open_calls[call_id]) * 1000)


def _tokens(count: int) -> int:
    """A count that can be added up for ever, whatever a provider says."""
    return min(max(count, 0), MOST_TOKENS)


def outcome_of(events: Iterable[ev.AnyEvent]) -> Outcome:
    """How a turn ended, from its events of the types ENDING."""
    message, failure, usage = None, None, dict.fromkeys(Usage.__struct_fields__, 0)
    finish: FinishReason = "stopped"
    cost: float | None = 0.0
    for event in events:
        match event:
            case ev.MessageAssistant():
                message, finish = event, event.finish_reason
            case ev.GenerationEnd():
                usage = {name: total + getattr(event.usage, name) for name, total in usage.items()}
                cost = cost + event.cost_usd if cost is not None and event.cost_usd is not None else None
            case ev.TurnFailed():
                failure = TurnFailure(code=event.code, message=event.message)
            case _:
                pass
    return Outcome(message=message, usage=Usage(**usage), cost_usd=cost, finish_reason=finish, failure=failure)


def unanswered(turn: str, calls: Iterable[str], duration_ms: Callable[[str], int]) -> Events:
    """Results for tools that did not come back, so that no call is left without one."""
    error = "The turn ended before the tool answered."
    return [
        ev.ToolResult(turn=turn, call_id=call, output=None, error=error, duration_ms=duration_ms(call))
        for call in calls
    ]


def rest_of(chunks: Iterable[Chunk], turn: str, offset: int) -> str:
    """What a turn said after an offset, from its chunks; some of them may say the same."""
    said = ""
    for chunk in sorted((chunk for chunk in chunks if chunk.turn == turn), key=lambda chunk: chunk.offset):
        known = offset + len(said) - chunk.offset
        if known >= 0:
            said += chunk.text[known:]
    return said
