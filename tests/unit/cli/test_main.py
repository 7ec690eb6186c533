"""The root: help, near names, one line for every failure."""

import subprocess
import sys
from importlib import import_module

import click
import pytest
from click.testing import CliRunner, Result

from gateway import __version__, client
from gateway.cli import options
from gateway.cli.main import cli

HEAVY = ["aiohttp", "aiosqlite", "jsonrpcserver", "structlog", "websockets", "msgspec", "asyncio"]


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, args, prog_name="gateway")


def test_help_imports_nothing_that_a_command_needs() -> None:
    """So that it is there at once."""
    script = f"""
import sys
sys.argv = ["gateway", "--help"]
from gateway.__main__ import main
try:
    main()
finally:
    loaded = [name for name in {HEAVY} if name in sys.modules]
    sys.exit(f"imported {{loaded}}" if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "sessions" in done.stdout


def test_help_names_every_command_as_it_names_itself() -> None:
    """The root lists the commands without importing them; its sentences are theirs."""
    listed = run("--help").output
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = import_module(f"gateway.cli.{name}").command
        assert f"{name}  " in listed
        assert cli.get_command(context, name) is command


@pytest.mark.parametrize(
    "command", ["serve", "chat", "sessions", "sessions list", "sessions export", "call", "token", "config"]
)
def test_every_command_explains_itself(command: str) -> None:
    """-h works everywhere."""
    result = run(*command.split(), "-h")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: gateway {command}")


def test_the_command_line_calls_where_the_client_does() -> None:
    """The address is written twice, so that --help need not import the client."""
    assert options.DEFAULT_URL == client.DEFAULT_URL


def test_the_version() -> None:
    """One line."""
    assert run("--version").output == f"gateway {__version__}\n"


def test_without_a_command_the_help_is_shown() -> None:
    """On stderr, exit code 2."""
    result = run()
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Commands:" in result.stderr


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["sesions"], "error: No such command 'sesions'. Did you mean 'sessions'? See 'gateway --help'.\n"),
        (["sessions", "exprot"], "Did you mean 'export'?"),
        (["serve", "--prot", "1"], "'--port'"),
        (["sessions", "list", "--viwe", "all"], "'--view'"),
        (["sessions", "list", "--limit", "none"], "Invalid value for '--limit'"),
        (["sessions", "show"], "Missing argument 'KEY'"),
        (["call", "--url", "nowhere", "gateway.health"], "'nowhere' is not a gateway's address; one looks like ws://"),
        (["call", "--token", "gw_x", "gateway.health"], "No such option"),
    ],
)
def test_a_slip_costs_one_line(args: list[str], hint: str) -> None:
    """It says what is near, or what is allowed; exit code 2, nothing on stdout."""
    result = run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert hint in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_token_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anybody is called; the token itself is not."""
    monkeypatch.setenv("GATEWAY_TOKEN", "two words")
    result = run("call", "gateway.health")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "a token is printable ASCII" in result.stderr
    assert "two words" not in result.stderr


def test_no_gateway() -> None:
    """Exit code 5, and what to do about it."""
    result = run("call", "--url", "ws://127.0.0.1:1", "gateway.health")
    assert result.exit_code == 5
    assert result.stderr == (
        "error: No gateway answers at ws://127.0.0.1:1/rpc: nothing listens there; start one with `gateway serve`.\n"
    )
