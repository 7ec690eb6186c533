"""The least that reads a Chat Completions stream: what a program does that asks the model itself."""

import json
from collections.abc import AsyncIterator

import aiohttp
import msgspec


class _Delta(msgspec.Struct):
    content: str = ""


class _Choice(msgspec.Struct):
    delta: _Delta


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []


_decode = msgspec.json.Decoder(_Chunk).decode


async def read_tokens(session: aiohttp.ClientSession, base_url: str, content: str) -> AsyncIterator[str]:
    """What the model says to this message, piece by piece."""
    asked = {"model": "fake", "stream": True, "messages": [{"role": "user", "content": content}]}
    body = json.dumps(asked).encode()
    rest = b""
    async with session.post(f"{base_url}/chat/completions", data=body) as response:
        async for piece in response.content.iter_any():
            *events, rest = (rest + piece).split(b"\n\n")
            for event in events:
                payload = event.removeprefix(b"data: ")
                if payload == b"[DONE]":
                    continue
                for choice in _decode(payload).choices:
                    if choice.delta.content:
                        yield choice.delta.content
