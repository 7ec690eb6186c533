"""From a model to a client through the gateway: the wait for the first token, the delay and the cost of each.

The floors: for times, the same model asked directly; for CPU, a relay that
reads the same streams and sends each piece on.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, NamedTuple

import aiohttp
import msgspec

from .client import Client, connect, request_frame, text_frame
from .measuring import best, middle, percentile, turn_about
from .model import delays_ms, order
from .report import Row
from .scale import Scale
from .servers import Server, gateway, serving
from .upstream import read_tokens

GAP_MS = 20.0
"""50 tokens a second, as models speak."""

_keys = (f"bench:turn-{number}" for number in itertools.count())


class _Delta(msgspec.Struct):
    text: str


class _DeltaParams(msgspec.Struct):
    delta: _Delta


class _DeltaNotification(msgspec.Struct):
    params: _DeltaParams


_decode_delta = msgspec.json.Decoder(_DeltaNotification).decode


Ask = Callable[["Listener", str], Coroutine[Any, Any, None]]
"""Asks the model for a listener."""


class Load(NamedTuple):
    """What many streams at once came to."""

    p50_ms: float
    p99_ms: float
    cpu_us: float


class Listener:
    """Hears one stream: when each of its tokens came, how long each was on its way."""

    def __init__(self, client: Client | None = None) -> None:
        self.first_ns = 0
        self.delays: list[float] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if client is not None:
            client.on_text = self.take

    def token(self, text: str) -> None:
        now = time.monotonic_ns()
        self.first_ns = self.first_ns or now
        self.delays += delays_ms(text, now)

    def take(self, text: bytes) -> None:
        """A message of the gateway or, as it is only the token, of the relay."""
        if text[:1] != b"{":
            self.token(text.decode())
        elif b'"session.delta"' in text:
            self.token(_decode_delta(text).params.delta.text)
        elif b'"turn.completed"' in text:
            self.ended.set_result(None)
        elif b'"turn.failed"' in text or b'"error"' in text:
            self.ended.set_exception(RuntimeError(text.decode()))


async def measure(scale: Scale) -> list[Row]:
    async with serving("model") as model, aiohttp.ClientSession() as session:
        settings = f'[[agents]]\nid = "fake"\nkind = "openai"\nmodel = "fake"\nbase_url = "{model.url}"\n'
        async with gateway(settings) as (server, _), serving("relay", model_url=model.url) as relay:
            ask = partial(_listen, session, model)
            first = await _first_token(scale, ask, server)
            return first + await _many(scale, ask, relay, server)


async def _first_token(scale: Scale, ask: Ask, server: Server) -> list[Row]:
    """One turn after the other, each in a new session, nothing else going on."""

    async def directly() -> list[float]:
        waits = []
        for _ in range(scale.first_tokens):
            listener, sent = Listener(), time.monotonic_ns()
            await ask(listener, order(1, 0))
            waits.append((listener.first_ns - sent) / 1e6)
        return waits

    async def through() -> list[float]:
        client, waits = await connect(server), []
        for _ in range(scale.first_tokens):
            send = await _prepare(client, order(1, 0))
            listener, sent = Listener(client), time.monotonic_ns()
            client.write(send)
            await listener.ended
            waits.append((listener.first_ns - sent) / 1e6)
        client.close()
        return waits

    floors, gateways = await turn_about(scale.rounds, directly, through)
    floor, gateway = (list(itertools.chain(*rounds)) for rounds in (floors, gateways))
    return [
        Row(f"first token after send, p{percent}", percentile(floor, percent), percentile(gateway, percent), "ms")
        for percent in (50, 99)
    ]


async def _many(scale: Scale, ask: Ask, relay: Server, server: Server) -> list[Row]:
    """Many streams at once, each at the speed of a model."""
    content = order(scale.tokens_a_stream, GAP_MS)
    duration_s = scale.tokens_a_stream * GAP_MS / 1000
    relay_clients = [await connect(relay) for _ in range(scale.streams)]
    clients = [await connect(server) for _ in range(scale.streams)]

    async def directly() -> Load:
        listeners = [Listener() for _ in range(scale.streams)]
        async with asyncio.TaskGroup() as group:
            await _start([partial(group.create_task, ask(listener, content)) for listener in listeners])
            delays = await _middle_part(relay, listeners, duration_s)
        relayed = [Listener(client) for client in relay_clients]
        await _start([partial(client.write, text_frame(content)) for client in relay_clients])
        cost = await _middle_part(relay, relayed, duration_s)
        await asyncio.sleep(duration_s / 4)
        return delays._replace(cpu_us=cost.cpu_us)

    async def through() -> Load:
        sends = [await _prepare(client, content) for client in clients]
        listeners = [Listener(client) for client in clients]
        await _start([partial(client.write, send) for client, send in zip(clients, sends, strict=True)])
        load = await _middle_part(server, listeners, duration_s)
        await asyncio.gather(*(listener.ended for listener in listeners))
        return load

    floors, gateways = await turn_about(scale.rounds, directly, through)
    what = f"a token of {scale.streams} streams at {1000 / GAP_MS:.0f}/s"

    def row(label: str, unit: str, choose: Callable[[Sequence[float]], float], member: int) -> Row:
        floor, gateway = (choose([load[member] for load in loads]) for loads in (floors, gateways))
        return Row(f"{what}, {label}", floor, gateway, unit)

    return [
        row("delay p50", "ms", middle, 0),
        row("delay p99", "ms", middle, 1),
        row("relayed", "µs CPU a token", best, 2),
    ]


async def _start(streams: Sequence[Callable[[], object]]) -> None:
    """Evenly spread over the gap between two tokens: begun at once, they would all speak at once for ever."""
    for start in streams:
        start()
        await asyncio.sleep(GAP_MS / 1000 / len(streams))


async def _middle_part(server: Server, listeners: Sequence[Listener], duration_s: float) -> Load:
    """From a fifth of the streams' time to four fifths: neither their beginning nor their end."""
    await asyncio.sleep(duration_s / 5)
    begun, before = [len(listener.delays) for listener in listeners], await server.cpu_us()
    await asyncio.sleep(duration_s * 3 / 5)
    after = await server.cpu_us()
    delays = [delay for listener, start in zip(listeners, begun, strict=True) for delay in listener.delays[start:]]
    return Load(percentile(delays, 50), percentile(delays, 99), (after - before) / len(delays))


async def _listen(session: aiohttp.ClientSession, model: Server, listener: Listener, content: str) -> None:
    """Ask the model itself."""
    async for token in read_tokens(session, model.url, content):
        listener.token(token)


async def _prepare(client: Client, content: str) -> bytes:
    """A new session that is followed, and the frame that sends it a message."""
    key = next(_keys)
    client.on_text = client.take_answer
    await client.call("session.create", agent="fake", key=key, subscribe=True)
    return request_frame(1_000_000, "session.send", {"key": key, "content": content})
