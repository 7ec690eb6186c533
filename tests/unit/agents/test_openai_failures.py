"""Every way in which a Chat Completions server can fail, on a real socket: each has its code and its sentence."""

import asyncio
from typing import Any

import pytest

from tests.chat_completions import DONE, Exchange, Script, call_piece, chunk, respond, stream
from tests.openai_agent import KEY, failure_of


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}, "agent_unavailable", "the key in FAKE_KEY"),
        (403, b"", "agent_unavailable", "the key in FAKE_KEY"),
        (404, {"error": {"message": "no such model"}}, "agent_unavailable", "model and base_url"),
        (429, {"error": {"message": "slow down"}}, "agent_unavailable", "no more requests"),
        (500, {"error": {"message": "oops"}}, "agent_unavailable", "HTTP 500"),
        (529, b"<html>", "agent_unavailable", "HTTP 529"),
        (307, b"", "agent_unavailable", "check base_url"),
        (
            400,
            {"error": {"message": "too much", "code": "context_length_exceeded"}},
            "context_too_long",
            "longer than the model can take",
        ),
        (
            400,
            {"object": "error", "message": "This model's maximum context length is 4096 tokens.", "code": 400},
            "context_too_long",
            "longer than the model can take",
        ),
        (400, {"error": {"message": "no", "code": "content_filter"}}, "content_filtered", "filtered"),
        (400, {"error": {"message": "bad\n\x1b[31m  temperature"}}, "agent_failed", "reports: bad [31m temperature"),
        (400, [{"error": {"message": "in a list"}}], "agent_failed", "reports: in a list"),
        (422, {"detail": "a detail"}, "agent_failed", "reports: a detail"),
        (422, {"detail": [{"loc": ["body"]}]}, "agent_failed", "HTTP 422"),
        (402, {"error": "pay first"}, "agent_failed", "reports: pay first"),
        (400, {"error": {"message": f"{'x' * 290} {KEY}"}}, "agent_failed", "x ***"),
        (400, {"error": {"message": "y" * 5000}}, "agent_failed", "y" * 300),
        (418, b"<html><h1>teapot", "agent_failed", "HTTP 418"),
        (400, b'{"error":' * 4000, "agent_failed", "HTTP 400"),
        (400, b"7", "agent_failed", "HTTP 400"),
    ],
)
async def test_refused(status: int, body: Any, code: str, words: str) -> None:
    """Each status has its failure; the server's words only where they help, and never the key."""
    failure, out = await failure_of(respond(status, body, Location="http://127.0.0.1:1/"))
    assert failure.code == code
    assert words in failure.message
    assert [entry[0] for entry in out.entries] == ["generation"]


async def test_refused_without_key() -> None:
    """Who sent no key is told where one would go."""
    failure, _ = await failure_of(respond(401, b""), api_key_env="")
    assert "api_key_env" in failure.message


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("said", "low", "high"),
    [
        ("7", 7000, 7000),
        ("0.5", 500, 500),
        ("-3", 0, 0),
        ("1e9", 86_400_000, 86_400_000),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 86_400_000, 86_400_000),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 0, 0),
        ("nan", None, None),
        ("soon", None, None),
        ("", None, None),
    ],
)
async def test_retry_after(status: int, said: str, low: int | None, high: int | None) -> None:
    """Seconds or a date, bounded by a day; nonsense is nothing."""
    failure, _ = await failure_of(respond(status, b"", Retry_After=said))
    assert failure.retry_after_ms == low == high


@pytest.mark.parametrize(("status", "words"), [(400, "HTTP 400"), (200, "did not answer with a Chat Completions")])
async def test_endless_body(status: int, words: str) -> None:
    """Nobody listens to the end, be it an error or an answer."""

    async def script(exchange: Exchange) -> None:
        await exchange.start(status, "application/json")
        while True:
            await exchange.send(b"x" * 65536)

    async with asyncio.timeout(3):
        failure, _ = await failure_of(script)
    assert words in failure.message


async def test_error_body_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for one that stops."""
    monkeypatch.setattr("gateway.agents.openai.ERROR_BODY_S", 0.05)

    async def script(exchange: Exchange) -> None:
        await exchange.start(401, "application/json")
        await exchange.hang()

    failure, _ = await failure_of(script)
    assert failure.code == "agent_unavailable"


STREAM_ERRORS = {
    "with a status": ({"error": {"code": 502, "message": "down"}}, "agent_unavailable", "HTTP 502"),
    "with a word": ({"error": {"type": "server_error", "message": "x"}}, "agent_unavailable", "HTTP 503"),
    "limited": ({"error": {"code": "rate_limit_exceeded"}}, "agent_unavailable", "no more requests"),
    "too long": ({"error": {"message": "maximum context length is 8"}}, "context_too_long", "longer"),
    "filtered": ({"error": {"code": "content_filter"}}, "content_filtered", "filtered"),
    "as text": ({"error": f"bad {KEY}"}, "agent_failed", "reports: bad ***"),
    "of vLLM": ({"object": "error", "message": "bad", "code": 400}, "agent_failed", "reports: bad"),
    "with choices": ({**chunk("error"), "error": {"message": "died"}}, "agent_failed", "reports: died"),
    "as a finish reason": (chunk("error"), "agent_failed", "gave up"),
    "as a filter's finish reason": (chunk("content_filter"), "content_filtered", "filtered"),
}


@pytest.mark.parametrize(("payload", "code", "words"), STREAM_ERRORS.values(), ids=STREAM_ERRORS)
async def test_error_in_stream(payload: Any, code: str, words: str) -> None:
    """What was said before it stays said."""
    failure, out = await failure_of(stream(chunk(content="so far"), payload, DONE))
    assert failure.code == code
    assert words in failure.message
    assert out.joined("text") == "so far"


BROKEN = {
    "end without a reason": (stream(chunk(content="so far")), "The stream was cut before the answer was complete."),
    "cut": (stream(chunk(content="so far"), then="cut"), "The stream was cut before the answer was complete."),
    "end inside a chunk": (
        stream(chunk(content="so far"), b'data: {"choices":[{"del'),
        "The stream was cut before the answer was complete.",
    ),
    "cut with calls": (
        stream(chunk(content="so far"), call_piece('{"a', name="f", index=0, id="c"), then="cut"),
        "The stream was cut before the answer was complete.",
    ),
    "not JSON": (
        stream(chunk(content="so far"), "garbage"),
        "The model's server did not answer with a Chat Completions stream.",
    ),
    "other JSON": (
        stream(chunk(content="so far"), '{"choices":"none"}'),
        "The model's server did not answer with a Chat Completions stream.",
    ),
    "endless line": (
        stream(chunk(content="so far"), b"data: " + b"x" * 5_000_000),
        "The model's server did not answer with a Chat Completions stream.",
    ),
}


@pytest.mark.parametrize(("script", "message"), BROKEN.values(), ids=BROKEN)
async def test_broken_stream(script: Script, message: str) -> None:
    """Told apart: a stream that was cut, and something that is none. No call of a cut answer is made."""
    failure, out = await failure_of(script)
    assert (failure.code, failure.message) == ("agent_failed", message)
    assert out.joined("text") == "so far"
    assert out.of("tool_call") == []


NO_STREAM = {
    "html": respond(200, b"<html>Welcome to nginx</html>", "text/html; charset=utf-8"),
    "text": respond(200, b"it works\n", "text/plain"),
    "nothing": respond(200, b"", "text/event-stream"),
    "no content": respond(204, b"", "text/event-stream"),
    "other json": respond(200, {"models": []}),
    "json without a message": respond(200, {"choices": []}),
    "broken json": respond(200, b'{"choices":[{"mess'),
    "binary": respond(200, bytes(range(256)) * 9, "application/octet-stream"),
    "nesting": respond(200, b"[" * 100_000),
}


@pytest.mark.parametrize("script", NO_STREAM.values(), ids=NO_STREAM)
async def test_no_stream(script: Script) -> None:
    """A 200 from something that is no model server."""
    failure, out = await failure_of(script)
    assert failure.code == "agent_failed"
    assert "did not answer with a Chat Completions stream" in failure.message
    assert out.of("text") == []


async def test_error_as_whole_answer() -> None:
    """An error that comes with status 200 is still an error."""
    failure, _ = await failure_of(respond(200, {"error": {"message": "bad", "code": 429}}))
    assert failure.code == "agent_unavailable"
