"""`gateway serve`: run a gateway in this process until it is told to stop."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from .errors import FAILED, USAGE, Failure


@click.command()
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Settings; by default ./gateway.toml.")
@click.option("--host", help="Address to listen on.")
@click.option("--port", help="Port to listen on; 0 picks a free one.")
@click.option("--data-dir", help="Directory of the store.")
@click.option("--store", help="Kind of store: sqlite.")
@click.option("--demo", is_flag=True, help="Begin with a few sessions to look at.")
@click.option("--log-format", type=click.Choice(["json", "console"]), help="How the log on stderr looks.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning"]), help="The least that is logged.")
@click.pass_context
def command(
    ctx: click.Context,
    *,
    config_file: Path | None,
    host: str | None,
    port: str | None,
    data_dir: str | None,
    store: str | None,
    demo: bool,
    log_format: str | None,
    log_level: str | None,
) -> None:
    """Run a gateway until SIGTERM or Ctrl-C.

    Prints one line when it is ready; the log goes to stderr. Flags win over the
    environment (GATEWAY_…), which wins over the file. SIGHUP reads the settings again.
    """
    from gateway import app, config

    from .settings import load_settings

    flags = {
        "server.host": host,
        "server.port": port,
        "server.data_dir": data_dir,
        "store.url": store,
        "log.format": log_format,
        "log.level": log_level,
    }

    def load() -> Any:
        return load_settings(config_file, flags).settings

    try:
        ctx.exit(_runner()(app.serve(load(), reload=load, announce=_announce, demo=demo)))
    except config.ConfigError as error:
        raise Failure(str(error), USAGE) from error
    except app.StartError as error:
        raise Failure(str(error), FAILED) from error


def _announce(line: str) -> None:
    click.echo(line)


def _runner() -> Callable[[Coroutine[Any, Any, int]], int]:
    """The faster event loop, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run
