"""The root of the command line: which commands there are, and how every failure ends.

Imports click only; a command's module is imported when it runs.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NoReturn

import click
from click.exceptions import NoArgsIsHelpError, NoSuchCommand

from gateway import __version__

from .errors import INTERRUPTED, failure_of

_HELP_BY_COMMAND: Final = {
    "serve": "Run a gateway.",
    "chat": "Talk with an agent.",
    "sessions": "List, show, export and import sessions.",
    "call": "Call any method of the protocol.",
    "token": "Make, list and revoke tokens.",
    "config": "Check and show the settings.",
}


class LazyGroup(click.Group):
    """Commands by name; the module of the same name in this package has each as `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order people meet them."""
        return list(_HELP_BY_COMMAND)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in _HELP_BY_COMMAND:
            return None
        command = import_module(f"gateway.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name a near one instead of an unknown one."""
        if args[0] not in _HELP_BY_COMMAND:
            raise NoSuchCommand(args[0], possibilities=_HELP_BY_COMMAND, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_HELP_BY_COMMAND.items()))

    def main(  # type: ignore[override]  # one way to end, whatever standalone_mode says
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run, and leave with an exit code; what failed is said in one line."""
        try:
            code = super().main(args, prog_name, **extra | {"standalone_mode": False})
        except NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.Abort:
            code = INTERRUPTED
        except Exception as error:
            failure = failure_of(error)
            if failure is None:
                raise
            click.echo(failure.text, err=True)
            code = failure.exit_code
        sys.exit(code or 0)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gateway", message="%(prog)s %(version)s")
def cli() -> None:
    """Holds conversations between people and agents: JSON-RPC over one WebSocket, durable, resumable, streamed."""
