"""One Chat Completions answer being read: chunks in, calls on an Output out. No I/O of its own."""

from collections.abc import Iterable
from itertools import chain, count

import msgspec

from gateway.agents.arguments import read_arguments
from gateway.agents.base import AgentFailure, Finish, Output
from gateway.agents.chat_completions import CallPiece, Chunk, Delta, FunctionPiece, NotAChunk, Usage, read_chunk
from gateway.agents.chat_failures import ChatFailures, filtered

_FINISHES: dict[str, Finish] = {
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
}


class Answer:
    """What one stream has said so far.

    Text, reasoning, arguments and usage go on at once; whole tool calls at the
    end, in the order of their index.
    """

    def __init__(self, out: Output, failures: ChatFailures) -> None:
        self._out, self._failures = out, failures
        self._calls = _ToolCalls(out)
        self._finish_reason = ""
        self.has_begun = False
        self.is_done = False

    @property
    def is_complete(self) -> bool:
        """Whether the server said that it ends, by a finish reason or `[DONE]`; usage may still follow the first."""
        return self.is_done or bool(self._finish_reason)

    def take(self, payload: bytes) -> None:
        """Take the next payload of a stream.

        Raises:
            NotAChunk: it is something else.
            AgentFailure: it is the server's error.
        """
        if payload.strip() == b"[DONE]":
            self.is_done = self.has_begun = True
        elif not self.is_done:
            self._add(read_chunk(payload), payload)

    def take_whole(self, body: bytes) -> None:
        """Take the answer of a server that does not stream.

        Raises:
            NotAChunk: it is something else.
            AgentFailure: it is the server's error.
        """
        chunk = read_chunk(body)
        self._add(chunk, body)
        if not any(choice.message for choice in chunk.choices or ()):
            raise NotAChunk
        self.is_done = True

    async def end(self) -> Finish:
        """Hand over the tool calls and say why the answer ended.

        Raises:
            AgentFailure: the provider filtered it, or gave up.
        """
        if self._finish_reason == "content_filter":
            raise filtered()
        if self._finish_reason == "error":
            raise AgentFailure("agent_failed", "The model's server gave up on the answer.")
        calls = self._calls.complete()
        for call in calls:
            await self._out.tool_call(call.id, call.name, call.input())
        finish = _FINISHES.get(self._finish_reason, "stop")
        return "tool_use" if calls and finish == "stop" else finish

    def _add(self, chunk: Chunk, payload: bytes) -> None:
        self.has_begun = True
        if chunk.error or chunk.object == "error":
            raise self._failures.in_stream(payload)
        for choice in chunk.choices or ():
            if choice.index:
                continue
            if delta := choice.delta or choice.message:
                self._tell(delta)
            if choice.finish_reason:
                self._finish_reason = choice.finish_reason.lower()
        if chunk.usage is not None:
            self._report(chunk.usage)

    def _tell(self, delta: Delta) -> None:
        if thought := _reasoning(delta):
            self._out.reasoning(thought)
        if text := delta.content or delta.refusal:
            self._out.text(text)
        for piece in delta.tool_calls or ():
            self._calls.add(piece)
        if delta.function_call:
            self._calls.add(CallPiece(index=0, function=delta.function_call))

    def _report(self, usage: Usage) -> None:
        details = usage.prompt_tokens_details
        self._out.usage(
            input_tokens=usage.prompt_tokens or 0,
            output_tokens=usage.completion_tokens or 0,
            cache_read_tokens=(details.cached_tokens or 0) if details else 0,
        )


def _reasoning(delta: Delta) -> str:
    """Find the thinking; servers that fill several fields say the same in each."""
    return (
        delta.reasoning_content
        or delta.reasoning
        or "".join(detail.text or "" for detail in delta.reasoning_details or ())
    )


class _ToolCall:
    """A tool call being written."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = self.server_id = self.name = ""
        self.arguments: list[str] = []

    def input(self) -> object:
        """Read the arguments; what is not JSON stays the text it is."""
        text = "".join(self.arguments)
        try:
            return read_arguments(text)
        except ValueError:
            return text


class _ToolCalls:
    """The tool calls of an answer, put together from their pieces."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._calls: list[_ToolCall] = []

    def add(self, piece: CallPiece) -> None:
        function = piece.function or FunctionPiece()
        call = self._open_call(piece, function.name or "")
        if call is None:
            call = _ToolCall(len(self._calls) if piece.index is None else piece.index)
            self._calls.append(call)
        call.name = call.name or function.name or ""
        call.server_id = call.server_id or piece.id or ""
        arguments = function.arguments
        if arguments is not None and not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments).decode()
        if arguments:
            self._name(call)
            call.arguments.append(arguments)
            self._out.tool_input(call.id, arguments)

    def complete(self) -> list[_ToolCall]:
        """All calls, each with its id, in the order of their index."""
        for call in self._calls:
            self._name(call)
            if not call.name:
                raise AgentFailure("agent_failed", "The model called a tool without a name.")
        return sorted(self._calls, key=lambda call: call.index)

    def _open_call(self, piece: CallPiece, name: str) -> _ToolCall | None:
        """Find the call that a piece goes on with; None when it begins one.

        Most servers number their calls. Some do not, and begin each with an id
        or a name; some give every call the number 0, but an id of its own.
        """
        if piece.index is None:
            if piece.id:
                return self._latest(call for call in self._calls if call.server_id == piece.id)
            return None if name else self._latest(self._calls)
        call = self._latest(call for call in self._calls if call.index == piece.index)
        if call and name and piece.id and call.server_id not in ("", piece.id):
            return None
        return call

    def _latest(self, calls: Iterable[_ToolCall]) -> _ToolCall | None:
        return next(reversed(list(calls)), None)

    def _name(self, call: _ToolCall) -> None:
        """Settle the id: the server's if it has one of its own, else one made up. It stays, as it may be shown."""
        if call.id:
            return
        taken = {other.id for other in self._calls}
        candidates = chain([call.server_id] if call.server_id else [], (f"call_{n}" for n in count(1)))
        call.id = next(id for id in candidates if id not in taken)
