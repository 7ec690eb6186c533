"""Sessions and logs as the gateway could have written them."""

from collections.abc import Iterable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from gateway.clock import instant
from gateway.sessions import state as states
from gateway.sessions.state import SessionState
from rpc_schema import events as ev
from rpc_schema.types import Usage
from tests.fakes import BEGINNING_MS

patiently = settings(deadline=None, max_examples=60)  # a busy machine is no failure
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


def born(**fields: Any) -> SessionState:
    """A session before its first event."""
    usual = {
        "id": 1,
        "tenant": "default",
        "key": "k",
        "epoch": "e",
        "user": "ann",
        "agent": "echo",
        "provider": "echo",
        "model": "echo",
        "channel": "api",
        "source": "manual",
        "created_at": BEGINNING_MS,
        "last_activity_at": BEGINNING_MS,
    }
    return SessionState(**usual | fields)


def numbered(state: SessionState, events: Iterable[ev.AnyEvent], at_ms: int = BEGINNING_MS) -> list[ev.AnyEvent]:
    """The events as the next in the log."""
    found = list(events)
    for place, event in enumerate(found, state.head + 1):
        event.seq, event.at = place, instant(at_ms)
    return found


def fold(state: SessionState, *events: ev.AnyEvent, at_ms: int = BEGINNING_MS) -> SessionState:
    """The state after these."""
    for event in numbered(state, events, at_ms):
        state = states.apply(state, event)
    return state


def created() -> ev.SessionCreated:
    return ev.SessionCreated(agent="echo", model="echo", source="manual", channel="api")


def user(turn: str, content: str = "hi") -> ev.MessageUser:
    return ev.MessageUser(turn=turn, content=content, author="ann")


def started(turn: str) -> ev.TurnStarted:
    return ev.TurnStarted(turn=turn, model="echo")


def assistant(turn: str, content: str = "ho", finish: Any = "stop") -> ev.MessageAssistant:
    partial = finish in ("stopped", "failed", "interrupted")
    return ev.MessageAssistant(turn=turn, content=content, finish_reason=finish, partial=partial)


def call(turn: str, call_id: str, input: Any = None) -> ev.ToolCall:
    return ev.ToolCall(turn=turn, call_id=call_id, name="look", input=input or {})


def result(turn: str, call_id: str, output: Any = "found", error: str | None = None) -> ev.ToolResult:
    return ev.ToolResult(turn=turn, call_id=call_id, output=output, error=error, duration_ms=1)


def generation_end(turn: str, tokens: int = 1, cost_usd: float | None = 0.0) -> ev.GenerationEnd:
    usage = Usage(input_tokens=tokens, output_tokens=2 * tokens, cache_read_tokens=0, cache_write_tokens=0)
    return ev.GenerationEnd(turn=turn, usage=usage, cost_usd=cost_usd, duration_ms=1)


def stopped(turn: str) -> ev.TurnStopped:
    return ev.TurnStopped(turn=turn, by="ann", reason="stopped")


class Author:
    """Writes one event after the other, each one possible after those before."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.state = born()
        self.log: list[ev.AnyEvent] = []
        self._names = 0
        self.write(created())

    def write(self, *events: ev.AnyEvent) -> None:
        self.log += numbered(self.state, events)
        self.state = fold(self.state, *events)

    def go_on(self) -> None:
        """Whatever comes next."""
        turn = self.state.turn
        choices = ["say", "update"]
        if turn is None:
            choices += ["start", "start", "reset"] if self.state.queue else ["reset"]
        else:
            choices += ["answer", "call", "call", "generate", "end", "end"]
            choices += ["return"] * 3 if turn.open_calls else []
        choices += ["take back"] if self.state.queue else []
        getattr(self, "_" + self.draw(st.sampled_from(choices)).replace(" ", "_"))()

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}{self._names}"

    def _say(self) -> None:
        turn, message = self._name("t"), self.draw(TEXT)
        if self.state.is_busy:
            position = len(self.state.queue) + 1
            self.write(user(turn, message), ev.TurnQueued(turn=turn, position=position))
        else:
            self.write(user(turn, message), started(turn))

    def _update(self) -> None:
        title = self.draw(st.none() | TEXT.filter(bool))
        self.write(ev.SessionUpdated(author="ann", title=title, pinned=self.draw(st.booleans())))

    def _start(self) -> None:
        self.write(started(self.state.queue[0].id))

    def _reset(self) -> None:
        for waiting in self.state.queue:
            self.write(stopped(waiting.id))
        self.write(ev.Reset(messages_cleared=self.state.message_count, cleared_to=self.state.head))

    def _take_back(self) -> None:
        self.write(stopped(self.draw(st.sampled_from([waiting.id for waiting in self.state.queue]))))

    def _answer(self) -> None:
        self.write(assistant(self._running, self.draw(TEXT), self.draw(st.sampled_from(["tool_use", "stop"]))))

    def _call(self) -> None:
        self.write(call(self._running, self._name("c"), {"q": self.draw(TEXT)}))

    def _return(self) -> None:
        assert self.state.turn is not None
        call_id = self.draw(st.sampled_from(self.state.turn.open_calls))
        self.write(result(self._running, call_id, self.draw(TEXT | st.lists(TEXT, max_size=2))))

    def _generate(self) -> None:
        self.write(ev.GenerationStart(turn=self._running, provider="echo", model="echo"))
        cost = self.draw(st.sampled_from([None, 0.0, 0.25]))
        self.write(generation_end(self._running, self.draw(st.integers(0, 9)), cost))

    def _end(self) -> None:
        turn = self._running
        failed = ev.TurnFailed(turn=turn, code="agent_failed", message="no luck")
        end = self.draw(st.sampled_from([ev.TurnCompleted(turn=turn), stopped(turn), failed]))
        self.write(assistant(turn, self.draw(TEXT)), end)

    @property
    def _running(self) -> str:
        assert self.state.turn is not None
        return self.state.turn.id


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[ev.AnyEvent], SessionState]:
    """A log and the state after it."""
    author = Author(draw)
    for _ in range(draw(st.integers(0, 25))):
        author.go_on()
    return author.log, author.state
