"""The Chat Completions format: what is asked, and what an answer says. Pure.

Servers differ; where they do, the reading here is the kind one: unknown members
and nulls are passed over, and only what is no chunk at all is refused.
"""

import json
from collections.abc import Mapping
from typing import Any, assert_never

import msgspec
from msgspec import Struct

from gateway.agents.base import AssistantMessage, ChatMessage, SystemMessage, ToolMessage, UserMessage


class NotAChunk(ValueError):
    """A payload is not a piece of a Chat Completions answer."""


class FunctionPiece(Struct, frozen=True, gc=False):
    """Name and arguments of a call; `arguments` is text, but some servers send the object."""

    name: str | None = None
    arguments: Any = None


class CallPiece(Struct, frozen=True, gc=False):
    """A piece of a tool call, or all of it."""

    index: int | None = None
    id: str | None = None
    function: FunctionPiece | None = None


class ReasoningDetail(Struct, frozen=True, gc=False):
    """A part of the thinking; encrypted parts have no text."""

    text: str | None = None


class Delta(Struct, frozen=True, gc=False):
    """What a chunk adds; a whole message, where a server does not stream."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    tool_calls: list[CallPiece] | None = None
    function_call: FunctionPiece | None = None


class Choice(Struct, frozen=True, gc=False):
    """One of the answers; only the first is ever asked for."""

    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None


class PromptDetails(Struct, frozen=True, gc=False):
    """What the prompt was made of."""

    cached_tokens: int | None = None


class Usage(Struct, frozen=True, gc=False):
    """What a generation has used."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None


class Chunk(Struct, frozen=True, gc=False):
    """One payload of a stream."""

    object: str | None = None
    choices: list[Choice] | None = None
    usage: Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(Chunk).decode


def read_chunk(payload: bytes) -> Chunk:
    """Decode a payload; text that is not Unicode is mended first.

    Raises:
        NotAChunk: it is something else.
    """
    try:
        return _decode(payload)
    except msgspec.ValidationError as error:
        raise NotAChunk from error
    except (ValueError, RecursionError):
        return _read_broken(payload)


def _read_broken(payload: bytes) -> Chunk:
    """Read what msgspec is too strict for: bad UTF-8, half of a surrogate pair; either becomes a question mark."""
    try:
        value = json.loads(payload.decode(errors="replace"))
        return _decode(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError) as error:
        raise NotAChunk from error


def request_body(messages: tuple[ChatMessage, ...], *, model: str, system: str, members: Mapping[str, Any]) -> bytes:
    """Write a request; `members` are added to it."""
    listed = [{"role": "system", "content": system}] if system else []
    request = {
        "messages": [*listed, *(message_of(message) for message in messages)],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if model:
        request["model"] = model
    return msgspec.json.encode({**request, **members})


def message_of(message: ChatMessage) -> dict[str, Any]:
    """One message of the list."""
    match message:
        case UserMessage(content):
            return {"role": "user", "content": content}
        case SystemMessage(content):
            return {"role": "system", "content": content}
        case ToolMessage(call_id, content):
            return {"role": "tool", "tool_call_id": call_id, "content": content}
        case AssistantMessage(content, ()):
            return {"role": "assistant", "content": content}
        case AssistantMessage(content, calls):
            return {
                "role": "assistant",
                "content": content or None,
                "tool_calls": [
                    {
                        "id": call.call_id,
                        "type": "function",
                        "function": {"name": call.name, "arguments": msgspec.json.encode(call.input).decode()},
                    }
                    for call in calls
                ],
            }
    assert_never(message)
