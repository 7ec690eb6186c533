"""An Output that writes down what it is told, and turns to try agents with."""

import asyncio
from typing import Any

from gateway.agents.base import Turn, UserMessage

Entry = tuple[Any, ...]


class RecordingOutput:
    """Every call as a tuple in `entries`: its name, then its arguments."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._changed = asyncio.Event()

    def text(self, piece: str) -> None:
        self._add("text", piece)

    def reasoning(self, piece: str) -> None:
        self._add("reasoning", piece)

    def tool_input(self, call_id: str, piece: str) -> None:
        self._add("tool_input", call_id, piece)

    def usage(
        self, *, input_tokens: int, output_tokens: int, cache_read_tokens: int = 0, cache_write_tokens: int = 0
    ) -> None:
        self._add("usage", input_tokens, output_tokens, cache_read_tokens, cache_write_tokens)

    async def generation(self, *, provider: str, model: str) -> None:
        await asyncio.sleep(0)
        self._add("generation", provider, model)

    async def tool_call(self, call_id: str, name: str, input: Any) -> None:
        await asyncio.sleep(0)
        self._add("tool_call", call_id, name, input)

    async def tool_result(self, call_id: str, output: Any, *, error: str | None = None, duration_ms: int) -> None:
        await asyncio.sleep(0)
        self._add("tool_result", call_id, output, error)

    def of(self, name: str) -> list[Entry]:
        """The arguments of every call of that name, in order."""
        return [entry[1:] for entry in self.entries if entry[0] == name]

    def joined(self, name: str) -> str:
        """The pieces of text, reasoning or tool_input, put together."""
        return "".join(entry[-1] for entry in self.of(name))

    @property
    def last_usage(self) -> Entry:
        """Input, output, cache read, cache write."""
        return self.of("usage")[-1]

    async def until(self, name: str) -> None:
        """Wait for the first call of that name."""
        while not self.of(name):
            self._changed.clear()
            await self._changed.wait()

    def _add(self, *entry: Any) -> None:
        self.entries.append(entry)
        self._changed.set()


def turn_of(content: str, **fields: Any) -> Turn:
    """A turn in which a person says one thing."""
    return Turn(
        **{"session": "s", "turn": "t_1", "user": "ann", "model": "", "messages": (UserMessage(content),), **fields}
    )
