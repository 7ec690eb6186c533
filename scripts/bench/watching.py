"""A change of a session while so many watch lists that have it, against the same change while nobody watches."""

from collections.abc import Callable
from functools import partial
from typing import Any

from .client import Client, connect
from .measuring import best, turn_about
from .report import Row
from .scale import Scale
from .servers import Server, gateway

KEY = "bench:watched"
CHANGES = 200
LISTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "the same list": lambda n: {"limit": 1},
    "lists of their own": lambda n: {"limit": 1, "filter": {"channel": ["api", f"channel-{n}"]}},
    "lists without it": lambda n: {"limit": 1, "filter": {"channel": f"channel-{n}"}},
}


async def measure(scale: Scale) -> list[Row]:
    rows: list[Row] = []
    for kind, params in LISTS.items():
        async with gateway("") as (floor, _), gateway("") as (server, _):
            changing = [await connect(each) for each in (floor, server)]
            for client in changing:
                await client.call("session.create", agent="echo", key=KEY, pinned=True)
            watching: list[Client] = []
            for count in (count for count in scale.subscribers if count <= 100):
                for n in range(len(watching), count):
                    watching.append(await connect(server))
                    await watching[-1].call("session.watch", **params(n))
                costs = partial(_cost_us, floor, changing[0]), partial(_cost_us, server, changing[1])
                floors, gateways = await turn_about(scale.rounds, *costs)
                rows.append(Row(f"{count} watch {kind}", best(floors), best(gateways), "µs CPU a change"))
    return rows


async def _cost_us(server: Server, client: Client) -> float:
    before = await server.cpu_us()
    for n in range(CHANGES):
        await client.call("session.update", key=KEY, title=f"change {n}")
    return (await server.cpu_us() - before) / CHANGES
