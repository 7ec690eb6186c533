"""Clients that talk to sessions of their own, against the bare group commit of the same rows.

A message and its one-word answer are six events in three commits: the message
with the start of its turn, the start of the generation, and the end of both
with the answer. A send is answered after the first, and the next one is sent
when the turn has ended.
"""

import asyncio
import itertools
import time
from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

from .client import Client, connect, request_frame
from .group_commit import Copy, written
from .measuring import best, middle, percentile, turn_about
from .report import Row
from .scale import Scale
from .servers import Server, gateway

SETTINGS = '[[agents]]\nid = "echo"\nkind = "echo"\noptions = { delay_ms = 0 }\n'
_SEND_ID = 1_000_000
_keys = (f"bench:talk-{number}" for number in itertools.count())


class Round(NamedTuple):
    """What a round came to; the percentiles are of the wait until a message was durable."""

    messages_a_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


async def measure(scale: Scale) -> list[Row]:
    async with gateway(SETTINGS) as (server, store):
        clients = [await connect(server) for _ in range(scale.clients)]
        await _talk(server, clients, scale.messages_a_client)
        conversations = written(store)
        with closing(Copy(store, store.parent / "floor.db")) as copy:

            async def bare() -> Round:
                cpu, begun = time.process_time_ns(), time.monotonic()
                waits = await copy.write(conversations)
                return _round(waits, time.monotonic() - begun, (time.process_time_ns() - cpu) / 1000)

            async def talk() -> Round:
                return await _talk(server, clients, scale.messages_a_client)

            floors, gateways = await turn_about(scale.rounds, bare, talk)
    return _rows(f"{scale.clients} clients", floors, gateways)


class Talker:
    """One client in conversation: the next message goes when the answer to the last one is complete."""

    def __init__(self, client: Client) -> None:
        self.waits: list[float] = []
        self._client, self._key = client, next(_keys)
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._send = request_frame(_SEND_ID, "session.send", {"key": self._key, "content": "hello"})
        self._sent = 0.0
        self._left = 0

    async def begin(self) -> None:
        """Make a session and follow it."""
        self._client.on_text = self._client.take_answer
        await self._client.call("session.create", agent="echo", key=self._key, subscribe=True)
        self._client.on_text = self._take

    async def talk(self, messages: int) -> None:
        self._left = messages
        self._say()
        await self._done

    def _say(self) -> None:
        self._left -= 1
        self._sent = time.monotonic()
        self._client.write(self._send)

    def _take(self, text: bytes) -> None:
        if b'"id":1000000,"result"' in text:
            self.waits.append((time.monotonic() - self._sent) * 1000)
        elif b'"id":1000000,"error"' in text or b'"turn.failed"' in text:
            self._done.set_exception(RuntimeError(text.decode()))
        elif b'"turn.completed"' in text:
            if self._left:
                self._say()
            else:
                self._done.set_result(None)


async def _talk(server: Server, clients: Sequence[Client], messages: int) -> Round:
    talkers = [Talker(client) for client in clients]
    await asyncio.gather(*(talker.begin() for talker in talkers))
    before, begun = await server.cpu_us(), time.monotonic()
    await asyncio.gather(*(talker.talk(messages) for talker in talkers))
    duration_s, after = time.monotonic() - begun, await server.cpu_us()
    return _round([wait for talker in talkers for wait in talker.waits], duration_s, after - before)


def _round(waits: Sequence[float], duration_s: float, cpu_us: float) -> Round:
    count = len(waits)
    return Round(count / duration_s, percentile(waits, 50), percentile(waits, 99), cpu_us / count)


def _rows(who: str, floors: Sequence[Round], gateways: Sequence[Round]) -> list[Row]:
    def values(member: int) -> tuple[list[float], list[float]]:
        return [round[member] for round in floors], [round[member] for round in gateways]

    rate, p50, p99, cpu = (values(member) for member in range(4))
    return [
        Row(f"{who}: messages and answers", middle(rate[0]), middle(rate[1]), "a second"),
        Row(f"{who}: send until durable, p50", middle(p50[0]), middle(p50[1]), "ms"),
        Row(f"{who}: send until durable, p99", middle(p99[0]), middle(p99[1]), "ms"),
        Row(f"{who}: message and answer", best(cpu[0]), best(cpu[1]), "µs CPU"),
    ]
