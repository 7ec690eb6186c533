"""Every way in which a Chat Completions server can give an answer, on a real socket."""

import asyncio
from typing import Any

import pytest

from gateway.agents.base import Finish
from tests.chat_completions import DONE, call_piece, chunk, respond, stream, usage
from tests.openai_agent import HELLO, answer_to


@pytest.mark.parametrize("piece_bytes", [0, 1, 2, 3, 5, 7])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
async def test_text(newline: str, piece_bytes: int) -> None:
    """Pieces as the server gave them, wherever the bytes were cut."""
    payloads = (b": hello\n\n", *HELLO[:3], chunk(content="ě🐎"), chunk("stop"), DONE)
    out, finish = await answer_to(stream(*payloads, newline=newline, piece_bytes=piece_bytes))
    assert finish == "stop"
    assert out.entries == [
        ("generation", "openai", "fake-1"),
        ("text", "hello "),
        ("text", "world"),
        ("text", "ě🐎"),
    ]


@pytest.mark.parametrize("member", ["reasoning_content", "reasoning"])
async def test_reasoning(member: str) -> None:
    """Thinking comes in one of several members and before the answer."""
    out, _ = await answer_to(stream(chunk(**{member: "hm "}), chunk(**{member: "so"}), *HELLO, DONE))
    assert [entry[0] for entry in out.entries] == ["generation", "reasoning", "reasoning", "text", "text"]
    assert out.joined("reasoning") == "hm so"


async def test_reasoning_details() -> None:
    """The parts of OpenRouter; parts without text say nothing, and what two members repeat is said once."""
    details = [{"type": "reasoning.text", "text": "hm"}, {"type": "reasoning.encrypted", "data": "x"}]
    out, _ = await answer_to(
        stream(chunk(reasoning_details=details), chunk(reasoning=" so", reasoning_details=[{"text": " so"}]), DONE)
    )
    assert out.joined("reasoning") == "hm so"


async def test_refusal() -> None:
    """A refusal is the answer."""
    out, _ = await answer_to(stream(chunk(content=None, refusal="I would rather not."), chunk("stop"), DONE))
    assert out.joined("text") == "I would rather not."


USAGE = {
    "after the finish reason": ((*HELLO, {"choices": [], "usage": usage(7, 2, 3)}, DONE), (7, 2, 3, 0)),
    "with the finish reason": ((*HELLO[:3], chunk("stop", usage=usage(7, 2)), DONE), (7, 2, 0, 0)),
    "before the text": ((chunk(usage=usage(7, 0)), *HELLO, DONE), (7, 0, 0, 0)),
    "in every chunk": (tuple(chunk("stop", content="x", usage=usage(7, n)) for n in range(3)), (7, 2, 0, 0)),
    "null choices": ((*HELLO, {"choices": None, "usage": usage(7, 2)}, DONE), (7, 2, 0, 0)),
    "null counts": (
        (*HELLO, {"usage": {"prompt_tokens": 7, "completion_tokens": None, "prompt_tokens_details": None}}, DONE),
        (7, 0, 0, 0),
    ),
    "null cached": (
        (*HELLO, {"usage": {"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": None}}}, DONE),
        (7, 0, 0, 0),
    ),
}


@pytest.mark.parametrize(("payloads", "expected"), USAGE.values(), ids=USAGE)
async def test_usage(payloads: tuple[Any, ...], expected: tuple[int, ...]) -> None:
    """Wherever it stands; the last word counts."""
    out, _ = await answer_to(stream(*payloads))
    assert out.last_usage == expected


async def test_no_usage() -> None:
    """A server that does not count is not counted for."""
    out, _ = await answer_to(stream(*HELLO, DONE))
    assert out.of("usage") == []


FINISHES: dict[str, tuple[tuple[Any, ...], Finish]] = {
    "stop": ((chunk("stop"), DONE), "stop"),
    "length": ((chunk("length"), DONE), "length"),
    "tool_calls": ((call_piece("{}", name="f", index=0, id="c"), chunk("tool_calls"), DONE), "tool_use"),
    "function_call": ((chunk(function_call={"name": "f", "arguments": "{}"}), chunk("function_call")), "tool_use"),
    "stop with calls": ((call_piece("{}", name="f", index=0, id="c"), chunk("stop"), DONE), "tool_use"),
    "length with calls": ((call_piece("{}", name="f", index=0, id="c"), chunk("length"), DONE), "length"),
    "in capitals": ((chunk("STOP"), DONE), "stop"),
    "never heard of": ((chunk("eos"), DONE), "stop"),
    "empty until the last": ((chunk("", content="x"), chunk("length")), "length"),
    "none, but [DONE]": ((chunk(content="x"), DONE), "stop"),
    "no [DONE]": ((chunk(content="x"), chunk("stop")), "stop"),
    "no blank line at the end": ((chunk(content="x"), b"data: [DONE]"), "stop"),
    "only [DONE]": ((DONE,), "stop"),
    "words after [DONE]": ((chunk("stop"), DONE, chunk("length", content="late"), "garbage"), "stop"),
    "cut after it": ((chunk("length"), b'data: {"choi'), "length"),
}


@pytest.mark.parametrize(("payloads", "expected"), FINISHES.values(), ids=FINISHES)
async def test_finish(payloads: tuple[Any, ...], expected: Finish) -> None:
    """Why an answer ended, in our three words."""
    out, finish = await answer_to(stream(*payloads))
    assert finish == expected
    assert "late" not in out.joined("text")


@pytest.mark.parametrize("then", ["cut", "hang"])
@pytest.mark.parametrize("last", [chunk("stop"), DONE], ids=["finish reason", "[DONE]"])
async def test_complete_is_complete(last: Any, then: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the server has said that it ends, it does not matter how the connection does."""
    monkeypatch.setattr("gateway.agents.openai.USAGE_S", 0.1)
    async with asyncio.timeout(2):
        out, finish = await answer_to(stream(chunk(content="all"), last, then=then))
    assert (out.joined("text"), finish) == ("all", "stop")


async def test_other_choices() -> None:
    """Only the first choice is the answer."""
    second = {"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "length"}]}
    out, finish = await answer_to(stream(chunk(content="one"), second, chunk("stop"), DONE))
    assert (out.joined("text"), finish) == ("one", "stop")


@pytest.mark.parametrize("payload", ["{}", '{"choices":[{"delta":null}]}', '{"choices":[{}]}', '{"new":{"a":[1]}}'])
async def test_empty_chunks(payload: str) -> None:
    """Chunks that say nothing do nothing."""
    out, finish = await answer_to(stream(payload, *HELLO, payload, DONE))
    assert (out.joined("text"), finish) == ("hello world", "stop")


@pytest.mark.parametrize(
    ("raw", "text"), [(b'"a\\ud83db"', "a?b"), (b'"a\xffb"', "a\N{REPLACEMENT CHARACTER}b")], ids=["surrogate", "utf-8"]
)
async def test_text_that_is_no_unicode(raw: bytes, text: str) -> None:
    """It is mended, not a reason to lose the answer."""
    out, _ = await answer_to(stream(b'data: {"choices":[{"delta":{"content":' + raw + b"}}]}\n\n", DONE))
    assert out.joined("text") == text


async def test_server_that_does_not_stream() -> None:
    """A whole answer is taken as one piece."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    message = {"role": "assistant", "content": "hello", "reasoning": "hm", "tool_calls": [call]}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}], "usage": usage(3, 1)}
    out, finish = await answer_to(respond(200, body))
    assert finish == "tool_use"
    assert out.entries[1:] == [
        ("reasoning", "hm"),
        ("text", "hello"),
        ("tool_input", "c1", '{"a":1}'),
        ("usage", 3, 1, 0, 0),
        ("tool_call", "c1", "f", {"a": 1}),
    ]
