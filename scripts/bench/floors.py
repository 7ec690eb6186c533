"""The least that a server could do: what the gateway is held against.

Plain uses of the same libraries on the same loop, without a session, a store, a
check or a bound.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable

import aiohttp
from websockets.asyncio.server import ServerConnection, serve
from websockets.asyncio.server import broadcast as send_to_all

from .upstream import read_tokens

Say = Callable[[str], None]


async def echo(say: Say) -> None:
    """Every message comes back."""

    async def talk(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    await _serve(talk, say)


async def broadcast(say: Say) -> None:
    """`{"count", "bytes", "gap_ms"}` from one client: a ready-made text, so many times, to all."""
    sockets: set[ServerConnection] = set()

    async def talk(socket: ServerConnection) -> None:
        sockets.add(socket)
        async for message in socket:
            order = json.loads(message)
            text = "x" * order["bytes"]
            for _ in range(order["count"]):
                await asyncio.sleep(order["gap_ms"] / 1000)
                send_to_all(sockets, text)
        sockets.discard(socket)

    await _serve(talk, say)


async def relay(say: Say, model_url: str) -> None:
    """A message goes to the model, what the model says comes back as it comes."""
    async with aiohttp.ClientSession() as session:

        async def talk(socket: ServerConnection) -> None:
            async for message in socket:
                async for token in read_tokens(session, model_url, str(message)):
                    await socket.send(token)

        await _serve(talk, say)


async def _serve(talk: Callable[[ServerConnection], Awaitable[None]], say: Say) -> None:
    async with serve(talk, "127.0.0.1", 0, compression=None) as server:
        say(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/")
        await asyncio.Event().wait()
