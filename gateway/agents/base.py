"""What an agent is: something that takes one turn and says what it does through an `Output`.

Not for: where the output goes, what is stored, who may stop it. The turn owns
all that; an agent only runs, and can be cancelled at any await.
"""

from typing import Any, Literal, Protocol

from msgspec import Struct

Finish = Literal["stop", "length", "tool_use"]
FailureCode = Literal[
    "agent_failed", "agent_unavailable", "agent_timeout", "content_filtered", "context_too_long", "budget_exceeded"
]


class ToolUse(Struct, frozen=True, kw_only=True):
    """A tool call of an earlier answer."""

    call_id: str
    name: str
    input: Any


class UserMessage(Struct, frozen=True, tag="user"):
    """What a person said."""

    content: str


class AssistantMessage(Struct, frozen=True, tag="assistant"):
    """What the agent said, with the tools it called; either may be empty, not both."""

    content: str
    tool_calls: tuple[ToolUse, ...] = ()


class ToolMessage(Struct, frozen=True, tag="tool"):
    """What a tool gave back; stands after the AssistantMessage that called it."""

    call_id: str
    content: str


class SystemMessage(Struct, frozen=True, tag="system"):
    """A note from neither side."""

    content: str


ChatMessage = UserMessage | AssistantMessage | ToolMessage | SystemMessage


class Turn(Struct, frozen=True, kw_only=True):
    """One turn to take: `messages` is the conversation, the newest user message last.

    Every tool call in it is followed by its result. An empty `model` is the
    agent's own.
    """

    session: str
    turn: str
    user: str
    model: str
    messages: tuple[ChatMessage, ...]


class AgentFailure(Exception):
    """The turn cannot be finished. The message is shown to users: a sentence, no secrets, no stack."""

    def __init__(self, code: FailureCode, message: str, *, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.retry_after_ms = code, message, retry_after_ms


class Output(Protocol):
    """Where a turn goes, piece by piece, in the order of the calls.

    The sync calls never wait and never fail; the async ones return when the
    event is durable. After a cancellation every call is ignored.
    """

    def text(self, piece: str) -> None:
        """Add to the answer; an empty piece is nothing."""

    def reasoning(self, piece: str) -> None:
        """Add to the thinking that precedes the answer."""

    def tool_input(self, call_id: str, piece: str) -> None:
        """Show a tool's arguments while they are being written."""

    def usage(
        self, *, input_tokens: int, output_tokens: int, cache_read_tokens: int = 0, cache_write_tokens: int = 0
    ) -> None:
        """Say what the running generation has used so far; the last word counts.

        `input_tokens` includes what was read from a cache.
        """

    async def generation(self, *, provider: str, model: str) -> None:
        """A model is about to be asked. Ends the generation before, if any.

        An agent that is unavailable fails before it: nothing was asked.
        """

    async def tool_call(self, call_id: str, name: str, input: Any) -> None:
        """The agent calls a tool: arguments complete, any JSON value; what is no JSON comes as its text.

        `call_id` is unique within the turn.
        """

    async def tool_result(self, call_id: str, output: Any, *, error: str | None = None, duration_ms: int) -> None:
        """The tool came back, or could not (`error` says why)."""


class Agent(Protocol):
    """Something that takes turns, many sessions' at once.

    What every kind guarantees, and `tests/contract/test_agents.py` holds it to:

    - Order: pieces and calls reach the Output in the order the model gave them.
    - Generations: `generation` comes before anything else; `usage` is reported
      for each where the provider tells it.
    - Exactly one end: `run` returns a Finish, or raises AgentFailure. Anything
      else it raises is a bug, which the turn reports as `agent_failed`. `tool_use`
      means that calls were made whose results the agent did not give.
    - Cancellation: cancelling `run` at any await ends it at once and lets go of
      whatever it holds upstream (sockets closed, requests aborted).
    - Nothing is kept between turns but connections: the same Turn can run twice.
    """

    @property
    def id(self) -> str:
        """The word that sessions name it by."""

    @property
    def kind(self) -> str:
        """The kind in the settings."""

    @property
    def provider(self) -> str:
        """A label for people, prices and lists."""

    @property
    def model(self) -> str:
        """The model a turn uses unless it says otherwise."""

    def unavailable(self) -> str | None:
        """Why it cannot take turns now (say, a missing key), or None."""

    async def run(self, turn: Turn, out: Output) -> Finish:
        """Take one turn."""

    async def close(self) -> None:
        """Let go of connections; running turns were cancelled before."""
