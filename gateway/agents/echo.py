"""The built-in agent: says a message back, word by word, and does what its slash lines ask.

Needs no key and no network, and the same message always gets the same answer:
for trying things out, and for tests.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec import Struct

from gateway.agents.arguments import read_arguments
from gateway.agents.base import AgentFailure, Finish, Output, Turn, UserMessage

MAX_WORDS = 1_000_000
MAX_SLEEP_MS = 86_400_000

_WORD = re.compile(r"\s*\S+\s*|\s+")
_NUMBER = re.compile(r"[0-9]{1,9}")

_Stream = Literal["text", "reasoning"]


class Say(Struct, frozen=True):
    """Plain lines, with the newlines between them."""

    text: str


class Words(Struct, frozen=True):
    """`/words N`: w1 w2 … wN."""

    count: int


class Think(Struct, frozen=True):
    """`/think TEXT`."""

    text: str


class CallTool(Struct, frozen=True):
    """`/tool NAME JSON`; without JSON `arguments` is `{}`."""

    name: str
    arguments: str


class Sleep(Struct, frozen=True):
    """`/sleep MS`."""

    ms: int


class Fail(Struct, frozen=True):
    """`/fail TEXT`."""

    text: str


Step = Say | Words | Think | CallTool | Sleep | Fail


def steps(message: str) -> list[Step]:
    """Read a message line by line; neighbouring plain lines are one step, and so is whatever makes no sense."""
    found: list[Step] = []
    for line in message.split("\n"):
        step = _slash_line(line) or Say(line)
        if isinstance(step, Say) and found and isinstance(before := found[-1], Say):
            found[-1] = Say(f"{before.text}\n{step.text}")
        else:
            found.append(step)
    return found


def _slash_line(line: str) -> Step | None:
    word, _, rest = line.partition(" ")
    rest = rest.strip()
    match word.rstrip():
        case "/words" if (count := _number(rest, MAX_WORDS)) is not None:
            return Words(count)
        case "/think" if rest:
            return Think(rest)
        case "/tool" if rest:
            name, *arguments = rest.split(maxsplit=1)
            return CallTool(name, arguments[0] if arguments else "{}")
        case "/sleep" if (ms := _number(rest, MAX_SLEEP_MS)) is not None:
            return Sleep(ms)
        case "/fail":
            return Fail(rest or "The message asked for a failure.")
    return None


def _number(text: str, most: int) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) and int(text) <= most else None


class EchoAgent:
    """The agent of kind `echo`."""

    kind = "echo"

    def __init__(self, *, id: str, provider: str, model: str, delay_ms: float) -> None:
        self.id, self.provider, self.model = id, provider, model
        self._delay_s = delay_ms / 1000

    def unavailable(self) -> str | None:
        """Never: there is nothing to be missing."""
        return None

    async def run(self, turn: Turn, out: Output) -> Finish:
        """Take the newest user message step by step; usage is counted in words."""
        message = next((said.content for said in reversed(turn.messages) if isinstance(said, UserMessage)), "")
        await out.generation(provider=self.provider, model=turn.model or self.model)
        recital = _Recital(out, delay_s=self._delay_s, input_words=len(message.split()))
        for step in steps(message):
            await recital.perform(step)
        return "stop"

    async def close(self) -> None:
        """Nothing is held."""


class _Recital:
    """One turn being performed."""

    def __init__(self, out: Output, *, delay_s: float, input_words: int) -> None:
        self._out, self._delay_s, self._input_words = out, delay_s, input_words
        self._output_words = self._tool_calls = 0
        self._begun: set[_Stream] = set()
        self._report()

    async def perform(self, step: Step) -> None:
        match step:
            case Say(text):
                await self._tell("text", _words(text))
            case Words(count):
                await self._tell("text", (f"w{n} " if n < count else f"w{n}" for n in range(1, count + 1)))
            case Think(text):
                await self._tell("reasoning", _words(text))
            case CallTool(name, arguments):
                await self._call_tool(name, arguments)
            case Sleep(ms):
                await asyncio.sleep(ms / 1000)
            case Fail(text):
                raise AgentFailure("agent_failed", text)

    async def _tell(self, stream: _Stream, words: Iterable[str]) -> None:
        """Stream words; what an earlier step said there since the last tool call ends in a newline first."""
        tell = self._out.text if stream == "text" else self._out.reasoning
        before = "\n" if stream in self._begun else ""
        for word in words:
            await asyncio.sleep(self._delay_s)
            tell(before + word)
            before = ""
            self._begun.add(stream)
            self._output_words += not word.isspace()
            self._report()

    async def _call_tool(self, name: str, arguments: str) -> None:
        self._tool_calls += 1
        call_id = f"call_{self._tool_calls}"
        for piece in _words(arguments):
            await asyncio.sleep(self._delay_s)
            self._out.tool_input(call_id, piece)
        try:
            value = read_arguments(arguments)
        except ValueError:
            await self._out.tool_call(call_id, name, arguments)
            await self._out.tool_result(call_id, None, error="The input is not valid JSON.", duration_ms=0)
        else:
            await self._out.tool_call(call_id, name, value)
            await self._out.tool_result(call_id, value, duration_ms=0)
        self._begun.clear()

    def _report(self) -> None:
        self._out.usage(input_tokens=self._input_words, output_tokens=self._output_words)


def _words(text: str) -> Iterator[str]:
    """Cut text before each word but the first; joined, the pieces are the text."""
    return (found.group() for found in _WORD.finditer(text))
