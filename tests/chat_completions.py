"""A server of the Chat Completions format on a real socket, which does what a test's script says.

A script is told of each request by an `Exchange` and answers as it likes;
`stream` and `respond` make the usual ones.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from aiohttp import web

Script = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """A request and the means to answer it, well or badly."""

    def __init__(self, request: web.Request, body: Any) -> None:
        self.headers, self.path, self.body = request.headers, request.path_qs, body
        self.disconnected = asyncio.Event()  # the client went away before the answer was whole
        self.over = asyncio.Event()  # answered or left, the request is done with
        self.response: web.StreamResponse | None = None
        self._request = request

    @property
    def said(self) -> str:
        """The newest message of the request."""
        return self.body["messages"][-1]["content"]

    async def start(self, status: int = 200, content_type: str = "text/event-stream", **headers: str) -> None:
        """Send the head of the response."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.response = web.StreamResponse(status=status, headers={"Content-Type": content_type, **named})
        await self.response.prepare(self._request)

    async def send(self, data: bytes, *, piece_bytes: int = 0) -> None:
        """Send some of the body, at once or cut in pieces that arrive one by one."""
        assert self.response is not None
        size = piece_bytes or max(1, len(data))
        for start in range(0, len(data), size):
            await self.response.write(data[start : start + size])
            if piece_bytes:
                await asyncio.sleep(0)

    def send_raw(self, data: bytes) -> None:
        """Write to the socket past HTTP."""
        assert self._request.transport is not None
        self._request.transport.write(data)

    def cut(self) -> None:
        """Close the socket as it stands."""
        assert self._request.transport is not None
        self._request.transport.close()

    async def hang(self) -> None:
        """Say nothing more until the client goes away."""
        await asyncio.Event().wait()


class ChatServer:
    """Serves one script on 127.0.0.1; `async with` starts and stops it."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.exchanges: list[Exchange] = []
        self.connections: set[Any] = set()
        self.base_url = ""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        exchange = Exchange(request, await request.json())
        self.exchanges.append(exchange)
        self.connections.add(request.transport)
        try:
            with suppress(ConnectionError):
                await self.script(exchange)
        except asyncio.CancelledError:
            exchange.disconnected.set()
            raise
        finally:
            exchange.over.set()
        return exchange.response or web.Response(status=500)


def chunk(finish: str | None = None, *, usage: Any = None, **delta: Any) -> dict[str, Any]:
    """One chunk of a stream, as OpenAI writes it."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1763700000,
        "model": "fake",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        "usage": usage,
    }


def call_piece(arguments: Any = None, *, name: str | None = None, **fields: Any) -> dict[str, Any]:
    """A chunk with a piece of one tool call; `fields` are its index, id and type."""
    function = {"name": name, "arguments": arguments}
    given = {member: value for member, value in function.items() if value is not None}
    return chunk(tool_calls=[{**fields, "function": given}])


def usage(prompt: int, completion: int, cached: int | None = None) -> dict[str, Any]:
    """What a generation has used."""
    details = {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **details}


DONE = "[DONE]"


def sse(*payloads: Any, newline: str = "\n") -> bytes:
    """Events with these payloads; what is not text is written as JSON."""
    texts = (item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in payloads)
    return "".join(f"data: {text}{newline}{newline}" for text in texts).encode()


def stream(*payloads: Any, newline: str = "\n", piece_bytes: int = 0, then: str = "end") -> Script:
    """Stream payloads (text, JSON, or bytes that go as they are), then `end`, `cut` or `hang`."""
    data = b"".join(item if isinstance(item, bytes) else sse(item, newline=newline) for item in payloads)

    async def script(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.send(data, piece_bytes=piece_bytes)
        if then == "cut":
            exchange.cut()
        elif then == "hang":
            await exchange.hang()

    return script


def respond(status: int, body: Any = b"", content_type: str = "application/json", **headers: str) -> Script:
    """Answer with one body; what is not bytes is written as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def script(exchange: Exchange) -> None:
        await exchange.start(status, content_type, **headers)
        await exchange.send(data)

    return script


def in_turn(*scripts: Script) -> Script:
    """A script for each request, in order."""
    rest = iter(scripts)

    async def script(exchange: Exchange) -> None:
        await next(rest)(exchange)

    return script


async def never_answer(exchange: Exchange) -> None:
    """Not even the head of a response."""
    await exchange.hang()
