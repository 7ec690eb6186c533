"""`gateway config check` and `show`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.main import cli


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but the test's."""
    import os

    for name in [name for name in os.environ if name.startswith(("GATEWAY_", "SESSION_", "AGENT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["config", *args], prog_name="gateway")


def test_settings_that_can_be_used() -> None:
    """Exit code 0; --quiet says nothing."""
    assert run("check").exit_code == 0
    assert run("check", "--quiet").output == ""


def test_settings_that_cannot_be_used(tmp_path: Path) -> None:
    """Exit code 2, a line a problem, each naming the file and the key."""
    file = tmp_path / "mine.toml"
    file.write_text('[server]\nport = 70000\nhots = "x"\n')
    for command in ("check", "show"):
        result = run(command, "--config", str(file))
        assert result.exit_code == 2
        problems = result.stderr.splitlines()
        assert len(problems) == 2
        assert all(line.startswith("error: ") and "mine.toml" in line for line in problems)


def test_a_file_that_is_not_there() -> None:
    """Named, and exit code 2."""
    result = run("check", "--config", "nowhere.toml")
    assert result.exit_code == 2
    assert "nowhere.toml" in result.stderr


def test_every_setting_is_shown_with_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table for people, JSON for scripts."""
    monkeypatch.setenv("GATEWAY_PORT", "9000")
    line = next(line for line in run("show").output.splitlines() if line.startswith("server.port "))
    assert line.split() == ["server.port", "9000", "environment", "GATEWAY_PORT"]
    shown = {setting["key"]: setting for setting in json.loads(run("show", "-o", "json").output)}
    assert shown["server.port"] == {"key": "server.port", "value": 9000, "source": "environment GATEWAY_PORT"}
