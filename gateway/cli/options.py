"""What every command that calls a gateway takes: where, as whom, how much to say."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gateway.client import GatewayClient

DEFAULT_URL = "ws://127.0.0.1:8765/rpc"


@dataclass(frozen=True)
class Caller:
    """The gateway to call, and how much to say on stderr about it."""

    url: str
    token: str | None
    is_quiet: bool

    def connect(self) -> AbstractAsyncContextManager[GatewayClient]:
        """A connection for one command."""
        from gateway.client import connect
        from gateway.client.opening import address, credentials

        try:
            address(self.url), credentials(self.token)
        except ValueError as error:
            raise click.UsageError(f"{error}.") from error
        return connect(self.url, token=self.token, client="gateway-cli")

    def talk(self, text: str) -> None:
        """Tell a person; scripts ask for --quiet."""
        if not self.is_quiet:
            click.echo(text, err=True)


def calls_gateway(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command its Caller as first argument."""

    @click.option(
        "--url",
        envvar="GATEWAY_URL",
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        help="Where the gateway is; GATEWAY_TOKEN in the environment is who you are.",
    )
    @click.option("-q", "--quiet", "is_quiet", is_flag=True, help="Nothing on stderr but errors.")
    @functools.wraps(command)
    def wrapped(url: str, is_quiet: bool, **others: Any) -> Any:
        # Not an option: command lines stand in process lists and shell histories.
        token = os.environ.get("GATEWAY_TOKEN") or None
        return command(Caller(url, token, is_quiet), **others)

    return wrapped
