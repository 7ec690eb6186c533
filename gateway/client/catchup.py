"""What a follower has been given, so that over any number of connections it gets everything once. Pure.

Events are told apart by seq, text by its offset in the turn. Text also comes in
whole inside `message.assistant`, so a piece that was missed while the
connection was down is given from there: for every turn that a follower saw
start, the text pieces joined are the messages' contents joined.
"""

from collections.abc import Iterator

from msgspec import structs

from rpc_schema.events import AnyEvent, MessageAssistant, Reset, TurnCompleted, TurnFailed, TurnStarted, TurnStopped
from rpc_schema.notifications import Delta, EventParams
from rpc_schema.subscriptions import RunningTurn, Since, SubscribeResult
from rpc_schema.types import Wire

TURN_ENDS = (TurnCompleted, TurnStopped, TurnFailed)


class LogReplaced(Wire, kw_only=True):
    """The log is another one than was followed (a restored backup, a key used again).

    Drop what you have of it; session.history has everything up to `head`, and
    what follows this comes after `head`.
    """

    epoch: str
    head: int


class TextMissing(Exception):
    """A piece does not join on to the one before."""


class Catchup:
    """Turns what each connection says into what the follower has not had yet.

    `since` is the last event it was given, None before the first connection.
    Without `deltas` it gives events only.
    """

    def __init__(self, since: Since | None, *, deltas: bool = True) -> None:
        self.since = since
        self._deltas = deltas
        self._turn: _TurnText | None = None
        self._running: RunningTurn | None = None
        self._message_start = 0
        self._replay_to = 0

    def needs_message_start(self, answer: SubscribeResult) -> bool:
        """Whether `subscribed` needs to be told where the message under way began."""
        is_known = answer.turn is None or (self._turn is not None and self._turn.id == answer.turn.id)
        return self._deltas and not is_known

    def subscribed(
        self, answer: SubscribeResult, *, message_start: int = 0
    ) -> Iterator[AnyEvent | Delta | LogReplaced]:
        """Begin with a connection.

        `message_start` is the length of the messages that the running turn had
        finished at the answer's head.
        """
        is_resumed = self.since is not None and answer.replay.complete
        if self.since is not None and not is_resumed:
            yield LogReplaced(epoch=answer.epoch, head=answer.head)
        if self.since is None or not is_resumed:
            self._turn = None
            self.since = Since(seq=answer.head)
        self.since = Since(seq=self.since.seq, epoch=answer.epoch)
        self._running, self._message_start = answer.turn if self._deltas else None, message_start
        self._replay_to = answer.head
        yield from self._text_so_far()

    def event(self, params: EventParams) -> Iterator[AnyEvent | Delta]:
        """An event, after the text that it ends; nothing when it was given before."""
        event = params.event
        if self.since is not None and event.seq <= self.since.seq:
            return
        if isinstance(event, TurnStarted) and self._deltas:
            self._turn = _TurnText(event.turn or "", message_start=0)
        elif isinstance(event, Reset):
            self._turn = None
        elif self._turn is not None and event.turn == self._turn.id:
            if isinstance(event, MessageAssistant):
                yield from self._turn.message(event.content)
            elif isinstance(event, TURN_ENDS):
                self._turn = None
        self.since = Since(seq=event.seq, epoch=params.epoch)
        yield event
        yield from self._text_so_far()

    def delta(self, delta: Delta) -> Iterator[Delta]:
        """What is new of a piece.

        Raises:
            TextMissing: there is text between the piece before and this one.
        """
        if self._turn is None or delta.turn != self._turn.id:
            yield delta
        else:
            yield from self._turn.piece(delta)

    def _text_so_far(self) -> Iterator[Delta]:
        running = self._running
        if running is None or self.since is None or self.since.seq < self._replay_to:
            return
        self._running = None
        if self._turn is None or self._turn.id != running.id:
            self._turn = _TurnText(running.id, self._message_start)
        yield from self._turn.piece(Delta(turn=running.id, kind="reasoning", offset=0, text=running.reasoning))
        yield from self._turn.piece(Delta(turn=running.id, kind="text", offset=0, text=running.text))


class _TurnText:
    """How much of one turn was given, in code points of each kind, and where its message under way began."""

    def __init__(self, id: str, message_start: int) -> None:
        self.id = id
        self._message_start = message_start
        self._given = {"text": 0, "reasoning": 0, "tool_input": 0}

    def piece(self, delta: Delta) -> Iterator[Delta]:
        given = self._given[delta.kind]
        if delta.kind == "text" and delta.offset > given:
            raise TextMissing
        fresh = delta.text[max(0, given - delta.offset) :]
        if fresh:
            offset = max(given, delta.offset)
            self._given[delta.kind] = offset + len(fresh)
            yield structs.replace(delta, offset=offset, text=fresh)

    def message(self, content: str) -> Iterator[Delta]:
        start = self._message_start
        self._message_start += len(content)
        yield from self.piece(Delta(turn=self.id, kind="text", offset=start, text=content))
