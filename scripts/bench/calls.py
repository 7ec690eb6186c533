"""A call over a real socket, against a bare echo of the same request: server CPU a request."""

import asyncio
from collections.abc import Sequence
from functools import partial

from .client import Client, connect, request_frame
from .measuring import best, turn_about
from .report import Row
from .scale import Scale
from .servers import Server, gateway, serving

KEY = "bench:calls"
DEPTHS = (1, 32)
CALLS = {
    "gateway.hello": {},
    "gateway.health": {},
    "session.status": {"key": KEY, "messages": 0},
}


async def measure(scale: Scale) -> list[Row]:
    rows: list[Row] = []
    async with serving("echo") as floor, gateway("") as (server, _):
        talkers = [(floor, await connect(floor)), (server, await connect(server))]
        await talkers[1][1].call("session.create", agent="echo", key=KEY)
        for method, params in CALLS.items():
            for depth in DEPTHS:
                burst = [request_frame(id, method, params) for id in range(1, depth + 1)]
                sides = [partial(_cost_us, *talker, burst, scale.requests) for talker in talkers]
                floors, gateways = await turn_about(scale.rounds, *sides)
                row = Row(f"{method}, {depth} at a time", best(floors), best(gateways), "µs CPU a request")
                rows.append(row)
    return rows


async def _cost_us(server: Server, client: Client, burst: Sequence[bytes], count: int) -> float:
    before = await server.cpu_us()
    await _pump(client, burst, count // len(burst))
    return (await server.cpu_us() - before) / count


async def _pump(client: Client, burst: Sequence[bytes], times: int) -> None:
    """Send the burst in one packet, wait for all its answers, again; without a task or a future between."""
    done = asyncio.get_running_loop().create_future()
    packet, rest, sent = b"".join(burst), len(burst), 1

    def take(text: bytes) -> None:
        nonlocal rest, sent
        rest -= 1
        if rest:
            return
        if sent == times:
            done.set_result(None)
            return
        rest, sent = len(burst), sent + 1
        client.write(packet)

    usual, client.on_text = client.on_text, take
    client.write(packet)
    await done
    client.on_text = usual
