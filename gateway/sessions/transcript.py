"""The log read back: as pages of events, and as the conversation an agent is shown."""

from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec

from gateway.agents.base import (
    AssistantMessage,
    ChatMessage,
    SystemMessage,
    ToolMessage,
    ToolUse,
    UserMessage,
)
from gateway.storage.base import EventPage, EventQuery, EventRow, Store, StoreFault
from rpc_schema import events as ev
from rpc_schema.errors import StoreUnavailable

PAGE_EVENTS = 500
PAGE_BYTES = 1024 * 1024
SEEN_BY_AGENTS = ("message.user", "message.assistant", "message.system", "tool.call", "tool.result", "turn.started")
_UNANSWERED = "No result: the turn ended before the tool answered."

decode_event = msgspec.json.Decoder(ev.AnyEvent).decode


class Transcript:
    """Reads logs; the words of what was reset or deleted are not there."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(self, query: EventQuery) -> EventPage:
        """One page of a log.

        Raises:
            StoreUnavailable: it could not be read.
        """
        try:
            return await self._store.events(query)
        except StoreFault as error:
            raise StoreUnavailable from error

    async def everything(self, session: int, after: int, to: int, types: Sequence[str] = ()) -> list[EventRow]:
        """All events with `after < seq <= to`."""
        return [row async for row in self.each(session, after, to, types)]

    async def each(self, session: int, after: int, to: int, types: Sequence[str] = ()) -> AsyncIterator[EventRow]:
        """Events with `after < seq <= to` one by one, read page by page."""
        has_more = True
        while has_more:
            page = await self.page(
                EventQuery(
                    session=session,
                    after=after,
                    before=to + 1,
                    limit=PAGE_EVENTS,
                    max_bytes=PAGE_BYTES,
                    types=types,
                )
            )
            for row in page.events:
                yield row
                after = row.seq
            has_more = page.has_more

    async def conversation(self, session: int, to: int) -> tuple[ChatMessage, ...]:
        """What the agent of the turn that started at seq `to` is shown."""
        rows = await self.everything(session, 0, to, SEEN_BY_AGENTS)
        return tuple(chat_messages(decode_event(row.body) for row in rows))


def chat_messages(events: Iterable[ev.AnyEvent]) -> Iterable[ChatMessage]:
    """The conversation as providers accept it.

    A user message stands where its turn began, not where it queued; every tool
    call is followed by its result, made up where there is none; nothing is empty.
    """
    log = list(events)
    results = {(event.turn, event.call_id): event for event in log if isinstance(event, ev.ToolResult)}
    waiting: dict[str | None, ev.MessageUser] = {}
    step = _Step()
    for event in log:
        match event:
            case ev.MessageUser():
                waiting[event.turn] = event
            case ev.TurnStarted():
                yield from step.take()
                if (message := waiting.pop(event.turn, None)) is not None:
                    yield UserMessage(message.content)
            case ev.MessageSystem():
                yield from step.take()
                yield SystemMessage(event.content)
            case ev.MessageAssistant():
                yield from step.take()
                step.content = event.content
            case ev.ToolCall():
                if step.is_answered:
                    yield from step.take()
                use = ToolUse(call_id=event.call_id, name=event.name, input=event.input)
                step.calls.append((use, results.get((event.turn, event.call_id))))
            case ev.ToolResult():
                step.is_answered = True
            case _:
                pass
    yield from step.take()


class _Step:
    """One answer of a model with the tools it called, while it is being put together."""

    def __init__(self) -> None:
        self.content = ""
        self.calls: list[tuple[ToolUse, ev.ToolResult | None]] = []
        self.is_answered = False

    def take(self) -> Iterable[ChatMessage]:
        """The messages of this step, if there are any; then it is empty again."""
        if self.content or self.calls:
            yield AssistantMessage(self.content, tuple(use for use, _ in self.calls))
        for use, result in self.calls:
            yield ToolMessage(use.call_id, _as_text(result) if result is not None else _UNANSWERED)
        self.__init__()  # type: ignore[misc]  # begin anew


def _as_text(result: ev.ToolResult) -> str:
    if result.error is not None:
        return f"Error: {result.error}"
    return result.output if isinstance(result.output, str) else msgspec.json.encode(result.output).decode()
