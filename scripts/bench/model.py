"""A fake model: says as many tokens as it is asked for, each the time at which it was said.

The time is CLOCK_MONOTONIC in nanoseconds, which all processes of a machine
share: whoever receives a token knows how long it was on its way.
"""

import asyncio
import json
import time
from collections.abc import Callable

from aiohttp import web

_CHUNK = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1763700000,"model":"fake",'
    b'"choices":[{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}],"usage":null}\n\n'
)


def order(tokens: int, gap_ms: float) -> str:
    """A message that asks for so many tokens."""
    return json.dumps({"tokens": tokens, "gap_ms": gap_ms})


def delays_ms(text: str, received_ns: int) -> list[float]:
    """How long each token in a text was on its way."""
    return [(received_ns - int(stamp)) / 1e6 for stamp in text.split()]


async def serve(say: Callable[[str], None]) -> None:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", _complete)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    say(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
    await asyncio.Event().wait()


async def _complete(request: web.Request) -> web.StreamResponse:
    asked = json.loads((await request.json())["messages"][-1]["content"])
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for number in range(asked["tokens"]):
        if number:
            await asyncio.sleep(asked["gap_ms"] / 1000)
        await response.write(_CHUNK % (b'{"content":"%d "}' % time.monotonic_ns(), b"null"))
    await response.write(_CHUNK % (b"{}", b'"stop"') + b"data: [DONE]\n\n")
    return response
