"""A process under measurement: the gateway as `gateway serve` runs it, or a floor.

Prints where it listens, then its CPU time in nanoseconds for every line on
stdin, and ends when stdin does.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any


async def gateway(config: str) -> None:
    from gateway.app import serve
    from gateway.config import load

    settings = load(Path(config), {}, {}).settings
    await serve(settings, reload=lambda: settings, announce=lambda line: _say(line.split()[2]))


async def echo() -> None:
    from .floors import echo as serve

    await serve(_say)


async def broadcast() -> None:
    from .floors import broadcast as serve

    await serve(_say)


async def relay(model_url: str) -> None:
    from .floors import relay as serve

    await serve(_say, model_url)


async def model() -> None:
    from .model import serve

    await serve(_say)


def _say(line: str) -> None:
    print(line, flush=True)


def _answer() -> None:
    for _ in sys.stdin:
        _say(str(time.process_time_ns()))
    os.kill(os.getpid(), signal.SIGTERM)


KINDS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "gateway": gateway,
    "echo": echo,
    "broadcast": broadcast,
    "relay": relay,
    "model": model,
}


def main() -> None:
    threading.Thread(target=_answer, daemon=True).start()
    _run(KINDS[sys.argv[1]](**json.loads(sys.argv[2])))


def _run(work: Coroutine[Any, Any, None]) -> None:
    """As the command line does: the faster loop, where it is installed."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


if __name__ == "__main__":
    main()
