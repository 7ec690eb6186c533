"""One stream to many connections, against `websockets.broadcast` of a ready-made text: server CPU a delivery."""

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from .client import Client, connect, request_frame, text_frame
from .measuring import best, turn_about
from .report import Row
from .scale import Scale
from .servers import Server, gateway, serving

GAPS_MS = {1: 1, 10: 1, 100: 5, 1000: 40}
"""Between two pieces: so that the readers, which share the machine, keep up and nothing piles up."""

PIECES = (40, 1000)
EVENTS = 6
"""What a turn tells beside its pieces: message, start, start of the generation; its end, the answer, the end."""

SETTINGS = "".join(
    f'[[agents]]\nid = "every-{gap}-ms"\nkind = "echo"\noptions = {{ delay_ms = {gap} }}\n'
    for gap in sorted(set(GAPS_MS.values()))
)


class Stream(NamedTuple):
    """A server, who listens, the frame that sets the stream off, and how many texts it comes to."""

    server: Server
    clients: Sequence[Client]
    order: bytes
    pieces: int
    texts: int


async def measure(scale: Scale) -> list[Row]:
    rows: list[Row] = []
    async with serving("broadcast") as floor, gateway(SETTINGS) as (server, _):
        floor_clients: list[Client] = []
        clients: list[Client] = []
        for count in scale.subscribers:
            for some, of in ((floor_clients, floor), (clients, server)):
                some += [await connect(of) for _ in range(count - len(some))]
            streamed, ready = await _streams(floor, floor_clients, server, clients, scale.deliveries)
            floors, gateways = await turn_about(scale.rounds, partial(_cost_us, ready), partial(_cost_us, streamed))
            rows.append(Row(f"a stream to {count}", best(floors), best(gateways), "µs CPU a delivery"))
    return rows


async def _streams(
    floor: Server, floor_clients: Sequence[Client], server: Server, clients: Sequence[Client], deliveries: int
) -> tuple[Stream, Stream]:
    """The same on both sides: as many pieces of the same size, as far apart, to as many."""
    count = len(clients)
    gap_ms, key = GAPS_MS[count], f"bench:to-{count}"
    pieces = min(max(PIECES[0], deliveries // count), PIECES[1])
    await clients[0].call("session.create", agent=f"every-{gap_ms}-ms", key=key)
    for client in clients:
        await client.call("session.subscribe", key=key)
    size = await _piece_bytes(clients[0], key)
    order = text_frame(json.dumps({"count": pieces, "bytes": size, "gap_ms": gap_ms}))
    send = request_frame(1, "session.send", {"key": key, "content": f"/words {pieces}"})
    return (
        Stream(server, clients, send, pieces, count * (pieces + EVENTS) + 1),
        Stream(floor, floor_clients, order, pieces, count * pieces),
    )


async def _piece_bytes(client: Client, key: str) -> int:
    """How long the notification of one piece is."""
    sizes: list[int] = []
    usual = client.on_text

    def take(text: bytes) -> None:
        if b'"session.delta"' in text:
            sizes.append(len(text))
        usual(text)

    client.on_text = take
    await client.call("session.send", key=key, content="/words 99", wait=True)
    client.on_text = usual
    return max(sizes)


async def _cost_us(stream: Stream) -> float:
    """From the first tenth of the pieces to the last: what a turn costs beside them is another measurement."""
    tally = _Tally(stream.clients)
    stream.clients[0].write(stream.order)
    await tally.reaches(len(stream.clients) * stream.pieces // 10)
    begun, before = tally.count, await stream.server.cpu_us()
    await tally.reaches(len(stream.clients) * stream.pieces)
    after, ended = await stream.server.cpu_us(), tally.count
    await tally.reaches(stream.texts)
    tally.stop()
    return (after - before) / (ended - begun)


class _Tally:
    """Counts what all the clients receive."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self.count = 0
        self._goal = 0
        self._reached: asyncio.Future[None]
        self._clients = clients
        for client in clients:
            client.on_text = self._take

    def stop(self) -> None:
        for client in self._clients:
            client.on_text = client.take_answer

    async def reaches(self, goal: int) -> None:
        if self.count < goal:
            self._goal, self._reached = goal, asyncio.get_running_loop().create_future()
            await self._reached

    def _take(self, text: bytes) -> None:
        self.count += 1
        if self.count == self._goal:
            self._reached.set_result(None)
