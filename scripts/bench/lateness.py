"""How late a client hears that sessions have ended whose deadlines are in one second; the floor is `call_later`.

The gateway ends each session durably and tells a client that watches; the
floor's timers do nothing.
"""

import asyncio
import time
from datetime import datetime

import msgspec

from .client import connect
from .measuring import percentile
from .report import Row
from .scale import Scale
from .servers import gateway

LEAD_S = 2.0
AT_ONCE = 64
A_CREATE_S = 0.0006
SETTINGS = "[policy]\nwarning_threshold_minutes = 0\nmin_timeout_minutes = 0.001\n"


class Told(msgspec.Struct):
    """A notification, as far as this looks."""

    method: str = ""
    params: msgspec.Raw = msgspec.Raw(b"{}")


async def measure(scale: Scale) -> list[Row]:
    rows: list[Row] = []
    for count in scale.deadlines:
        floor, late = await _by_loop(count), await _by_gateway(count)
        for share in (50, 99):
            what = f"{count} deadlines in a second, p{share}"
            rows.append(Row(what, percentile(floor, share), percentile(late, share), "ms late"))
    return rows


async def _by_gateway(count: int) -> list[float]:
    async with gateway(SETTINGS) as (server, _):
        making, watching = await connect(server), await connect(server)
        done = asyncio.Event()
        ends_ms: dict[str, float] = {}
        heard_ms: dict[str, float] = {}

        def hear(text: bytes) -> None:
            told = msgspec.json.decode(text, type=Told)
            if told.method == "session.changed":
                heard_ms[msgspec.json.decode(told.params)["key"]] = time.time() * 1000
                if len(heard_ms) == count:
                    done.set()

        await watching.call("session.watch", view="all", includeEmpty=True, filter={"state": "ended"}, limit=1)
        watching.on_text = hear
        first = time.time() + LEAD_S + count * A_CREATE_S
        for begin in range(0, count, AT_ONCE):
            numbers = range(begin, min(begin + AT_ONCE, count))
            minutes = [(first + number / count - time.time()) / 60 for number in numbers]
            made = await asyncio.gather(
                *(
                    making.call(
                        "session.create",
                        agent="echo",
                        key=f"k{number}",
                        policy={"timeoutMinutes": timeout, "idleAfterMinutes": timeout},
                    )
                    for number, timeout in zip(numbers, minutes, strict=True)
                )
            )
            for result in made:
                session = result["session"]
                ends_ms[session["key"]] = datetime.fromisoformat(session["expiresAt"]).timestamp() * 1000
        async with asyncio.timeout(LEAD_S + 60):
            await done.wait()
        return [heard_ms[key] - end_ms for key, end_ms in ends_ms.items()]


async def _by_loop(count: int) -> list[float]:
    loop, late = asyncio.get_running_loop(), list[float]()

    def fire(at: float) -> None:
        late.append((loop.time() - at) * 1000)

    first = loop.time() + 0.1
    for number in range(count):
        loop.call_at(first + number / count, fire, first + number / count)
    await asyncio.sleep(first + 1.2 - loop.time())
    return late
