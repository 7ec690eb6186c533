"""`gateway token`: make, list and revoke gateway tokens.

Calls the running gateway; where none runs on this machine, opens its store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from .errors import FAILED, USAGE, Failure
from .options import Caller, calls_gateway
from .output import print_json, print_table

if TYPE_CHECKING:
    from gateway.auth.tokens import Tokens

_HEADER = ["ID", "USER", "TENANT", "ROLES", "SCOPES", "CREATED", "LAST USED", "EXPIRES", "REVOKED"]
_INSTANTS = ("createdAt", "lastUsedAt", "expiresAt", "revokedAt")
_output = click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", help="For people or scripts."
)


def _finds_store(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where the store is that a gateway would open, for when none runs."""
    file = click.option("--config", "config_file", type=click.Path(path_type=Path), help="Settings, if none runs.")
    folder = click.option("--data-dir", help="Directory of the store, if none runs.")
    return file(folder(command))


@click.group()
def command() -> None:
    """Make, list and revoke tokens."""


@command.command()
@click.option("--user", required=True, help="Whom it stands for.")
@click.option("--tenant", help="The user's tenant; * is every tenant.  [default: your own]")
@click.option(
    "--role", "roles", multiple=True, type=click.Choice(["user", "admin"]), help="May be repeated.  [default: user]"
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["sessions:read", "sessions:write", "admin"]),
    help="Narrows it; may be repeated.  [default: all that the roles can use]",
)
@click.option("--days", type=float, help="How long it is good.  [default: until revoked]")
@_output
@_finds_store
@calls_gateway
def create(caller: Caller, *, output: str, config_file: Path | None, data_dir: str | None, **grant: Any) -> None:
    """Make a token and print it: it is shown this once.

    The first one switches authentication on, for good.
    """
    given = {name: value for name, value in grant.items() if value not in (None, ())}
    params = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    desk = _Desk(caller, config_file, data_dir)
    made = asyncio.run(desk.call("token.create", params))
    if output == "json":
        print_json(made)
        return
    click.echo(made["token"])
    until = f"until {made['expiresAt']}" if "expiresAt" in made else "until it is revoked"
    caller.talk(f"Token {made['id']} for {made['user']} of {made['tenant']}, good {until}. It is not shown again.")


@command.command("list")
@_output
@_finds_store
@calls_gateway
def list_(caller: Caller, *, output: str, config_file: Path | None, data_dir: str | None) -> None:
    """List tokens, also those that are over; never what opens."""
    listed = asyncio.run(_Desk(caller, config_file, data_dir).call("token.list", {}))["tokens"]
    if output == "json":
        print_json(listed)
        return
    print_table(_HEADER, [_row(token) for token in listed])


@command.command()
@click.argument("id")
@_finds_store
@calls_gateway
def revoke(caller: Caller, *, id: str, config_file: Path | None, data_dir: str | None) -> None:
    """Revoke the token ID; what it opened is closed."""
    asyncio.run(_Desk(caller, config_file, data_dir).call("token.revoke", {"id": id}))
    caller.talk(f"Token {id} is revoked.")


class _Desk:
    """Whoever answers `token.*`: the running gateway, else its store."""

    def __init__(self, caller: Caller, config_file: Path | None, data_dir: str | None) -> None:
        self._caller, self._config_file, self._data_dir = caller, config_file, data_dir
        self._is_default_url = click.get_current_context().get_parameter_source("url") is ParameterSource.DEFAULT

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        """The method's result, as plain JSON values."""
        from gateway.client import GatewayUnreachable

        try:
            async with self._caller.connect() as gateway:
                return await gateway.call(method, params)
        except GatewayUnreachable:
            if not self._is_here():
                raise
        return await self._call_store(method, params)

    def _is_here(self) -> bool:
        """Whether the gateway asked for would have its store on this machine."""
        from urllib.parse import urlsplit

        from gateway.server.origins import is_loopback

        return self._is_default_url or is_loopback(urlsplit(self._caller.url).hostname or "")

    async def _call_store(self, method: str, params: dict[str, Any]) -> Any:
        import msgspec

        from gateway import app, config, logs

        from .settings import load_settings

        logs.configure("console", "warning")
        try:
            settings = load_settings(self._config_file, {"server.data_dir": self._data_dir}).settings
            async with app.stored_tokens(settings) as tokens:
                result = await _answer(tokens, method, params)
        except config.ConfigError as error:
            raise Failure(str(error), USAGE) from error
        except msgspec.ValidationError as error:
            raise Failure(f"Invalid params: {error}.", USAGE) from error
        except app.StartError as error:
            raise Failure(str(error), FAILED) from error
        self._caller.talk(f"No gateway runs at {self._caller.url}; this was done in {settings.server.data_dir}.")
        return msgspec.to_builtins(result)


async def _answer(tokens: Tokens, method: str, params: dict[str, Any]) -> Any:
    """As the gateway would answer its local admin."""
    from msgspec import convert

    from gateway.auth.principal import LOCAL
    from gateway.methods import tokens as methods
    from rpc_schema import tokens as wire

    if method == wire.CREATE.name:
        return await methods.create_as(LOCAL, tokens, convert(params, wire.CreateTokenParams))
    if method == wire.REVOKE.name:
        return await methods.revoke_as(LOCAL, tokens, convert(params, wire.RevokeTokenParams))
    return methods.list_as(LOCAL, tokens)


def _row(token: dict[str, Any]) -> list[str]:
    created, used, expires, revoked = (token.get(name, "") for name in _INSTANTS)
    who = [token["id"], token["user"], token["tenant"], ",".join(token["roles"]), ",".join(token["scopes"])]
    return [*who, created, used, expires, revoked]
