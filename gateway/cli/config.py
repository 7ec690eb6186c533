"""`gateway config`: what the settings are, and whether they can be used, without starting anything."""

from pathlib import Path

import click

from .errors import USAGE, Failure
from .output import as_json, print_table

_file = click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="Settings; by default ./gateway.toml."
)


@click.group()
def command() -> None:
    """Check and show the settings."""


@command.command()
@_file
@click.option("-q", "--quiet", "is_quiet", is_flag=True, help="Nothing on stderr but errors.")
def check(config_file: Path | None, is_quiet: bool) -> None:
    """Say whether a gateway would start with these settings; exit code 2 if not."""
    _load(config_file)
    if not is_quiet:
        click.echo("The settings are fine.", err=True)


@command.command()
@_file
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="For people or scripts.")
def show(config_file: Path | None, output: str) -> None:
    """Show every setting with its value and who said it; secrets are masked."""
    described = _load(config_file)
    if output == "json":
        click.echo(as_json([{"key": key, "value": value, "source": source} for key, value, source in described]))
    else:
        print_table(["SETTING", "VALUE", "SOURCE"], [[key, as_json(value), source] for key, value, source in described])


def _load(config_file: Path | None) -> list[tuple[str, object, str]]:
    from gateway.config import ConfigError, describe

    from .settings import load_settings

    try:
        return describe(load_settings(config_file, {}))
    except ConfigError as error:
        raise Failure(str(error), USAGE) from error
