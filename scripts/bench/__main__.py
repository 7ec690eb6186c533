"""Measure the gateway against bare floors and print one table.

`python scripts/bench [--quick] [--only NAME …] [-o table|json]`
"""

import argparse
import asyncio
import resource
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench import calls, dispatch, fanout, lateness, listing, searching, sends, timers, tokens, watching
from scripts.bench.report import Row, as_json, as_table, machine
from scripts.bench.scale import FULL, QUICK, Scale

MEASUREMENTS = {
    "dispatch": dispatch.measure,
    "calls": calls.measure,
    "fanout": fanout.measure,
    "tokens": tokens.measure,
    "sends": sends.measure,
    "list": listing.measure,
    "watch": watching.measure,
    "search": searching.measure,
    "timers": timers.measure,
    "lateness": lateness.measure,
}


def main() -> None:
    options = _options()
    _allow_files()
    rows = _run(_measure(options.only or list(MEASUREMENTS), QUICK if options.quick else FULL))
    print(as_json(rows) if options.output == "json" else as_table(rows))


async def _measure(names: list[str], scale: Scale) -> list[Row]:
    rows: list[Row] = []
    print(machine(), file=sys.stderr)
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        rows += await MEASUREMENTS[name](scale)
    return rows


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller run: seconds, noisier")
    parser.add_argument("--only", action="append", choices=MEASUREMENTS, metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    return parser.parse_args()


def _allow_files() -> None:
    """A thousand connections need a thousand files, here and in the servers, which inherit this."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _run(work: Coroutine[Any, Any, list[Row]]) -> list[Row]:
    """On the loop that the servers use too."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


if __name__ == "__main__":
    main()
