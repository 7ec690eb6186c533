"""`gateway token` with a gateway and without one, and the other commands with a token."""

from pathlib import Path

import pytest

from tests.e2e.processes import running_gateway
from tests.e2e.shells import Shell


def nobody_there(tmp_path: Path) -> Shell:
    """A shell whose gateway does not run, with a store of its own."""
    shell = Shell("ws://127.0.0.1:1/rpc")
    shell.environ |= {"GATEWAY_DATA_DIR": str(tmp_path / "data")}
    return shell


def test_a_running_gateway(tmp_path: Path) -> None:
    """The first token is made by the local admin; from then on a token in the environment is needed."""
    with running_gateway(tmp_path) as gateway:
        shell = Shell(gateway.url)
        made = shell("token", "create", "--user", "root", "--role", "admin", "--tenant", "*", "--days", "30")
        token = made.stdout.strip()
        assert token.startswith("gw_")
        assert "not shown again" in made.stderr
        assert token not in made.stderr
        assert "unauthenticated" in shell("sessions", "list", exit_code=4).stderr
        assert "unauthenticated" in shell("token", "list", exit_code=4).stderr
        shell.environ |= {"GATEWAY_TOKEN": token}
        shell.say("k", "hello")
        made = shell("token", "create", "--user", "alice", "--tenant", "acme", "--scope", "sessions:read", "-q")
        assert made.stderr == ""
        shell.environ |= {"GATEWAY_TOKEN": made.stdout.strip()}
        assert shell.json("call", "session.list")["total"] == 0
        assert "forbidden" in shell("token", "list", exit_code=4).stderr
        shell.environ |= {"GATEWAY_TOKEN": token}
        listed = shell("token", "list").stdout
        assert token not in listed
        assert "root" in listed


@pytest.mark.parametrize("made_first", [True, False])
def test_no_gateway(tmp_path: Path, made_first: bool) -> None:
    """The store is opened instead, and that is said; the gateway that starts then takes the token, on any host."""
    shell = nobody_there(tmp_path)
    made = shell("token", "create", "--user", "root", "--role", "admin")
    assert "No gateway runs" in made.stderr
    token = made.stdout.strip()
    (row,) = shell.json("token", "list", "-o", "json")
    assert (row["user"], row["tenant"]) == ("root", "default")
    if made_first:
        with running_gateway(tmp_path, "--host", "0.0.0.0") as gateway:
            started = Shell(f"ws://127.0.0.1:{gateway.port}/rpc")
            assert "unauthenticated" in started("sessions", "list", exit_code=4).stderr
            started.environ |= {"GATEWAY_TOKEN": token}
            assert started.json("token", "list", "-o", "json")[0]["id"] == row["id"]
    shell("token", "revoke", row["id"])
    assert "token_not_found" in shell("token", "revoke", "none", exit_code=3).stderr
    assert "revokedAt" in shell.json("token", "list", "-o", "json")[0]


def test_a_store_that_is_in_use(tmp_path: Path) -> None:
    """A gateway runs, but not at the address: its store is not touched."""
    with running_gateway(tmp_path):
        refused = nobody_there(tmp_path)("token", "create", "--user", "alice", exit_code=1)
    assert "Another gateway is using the data directory" in refused.stderr


def test_a_gateway_elsewhere(tmp_path: Path) -> None:
    """The store of this machine is not its."""
    shell = nobody_there(tmp_path)
    shell("token", "create", "--user", "alice", "--url", "ws://gateway.invalid:1/rpc", exit_code=5)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["--role", "root"], "--role"),
        (["--scope", "all"], "--scope"),
        (["--days", "0"], "days"),
        (["--days", "nan"], "days"),
        (["--tenant", ""], "tenant"),
        (["--tenant", "*"], "only an admin's token"),
    ],
)
def test_what_no_token_can_be(tmp_path: Path, args: list[str], hint: str) -> None:
    """Nothing is made, with a gateway or without."""
    shell = nobody_there(tmp_path)
    done = shell("token", "create", "--user", "alice", *args, exit_code=1 if "*" in args else 2)
    assert hint in done.stderr
    assert done.stdout == ""
    assert shell.json("token", "list", "-o", "json") == []


def test_another_host_without_a_token(tmp_path: Path) -> None:
    """The gateway does not start, and says what to do."""
    refused = nobody_there(tmp_path)("serve", "--host", "0.0.0.0", "--port", "0", exit_code=1)
    assert "gateway token create" in refused.stderr
