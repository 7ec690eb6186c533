"""The params of `gateway call`: where they come from and what is wrong with them."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.call import _parse, _read
from gateway.cli.main import cli


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ('{"a": 1,\n "b": }', "The argument is not JSON: Expecting value at line 2, column 7."),
        ("{'a': 1}", "line 1, column 2."),
        ("", "line 1, column 1."),
        ("[1]", "not a JSON object"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ('{"a": "\\ud800"}', "half of a surrogate pair"),
        ("[" * 100_000, "nested too deeply"),
        ("@/no/such/file", "Cannot read /no/such/file: No such file or directory."),
    ],
)
def test_broken_params_are_pointed_at(params: str, problem: str) -> None:
    """Before anything is sent; exit code 2."""
    result = CliRunner().invoke(cli, ["call", "gateway.health", params], prog_name="gateway")
    assert result.exit_code == 2
    assert problem in result.stderr


def test_params_from_a_file(tmp_path: Path) -> None:
    """@FILE; a byte order mark is no problem, another encoding is."""
    file = tmp_path / "params.json"
    file.write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xa4"}')
    assert _parse(*_read(f"@{file}")) == {"a": "ä"}
    file.write_bytes(b'{"a": "\xe4"}')
    result = CliRunner().invoke(cli, ["call", "x", f"@{file}"], prog_name="gateway")
    assert result.exit_code == 2
    assert "is not UTF-8 at byte 7" in result.stderr


def test_params_from_stdin() -> None:
    """A dash; the place of a mistake is one of stdin."""
    result = CliRunner().invoke(cli, ["call", "x", "-"], input="{\n\n", prog_name="gateway")
    assert result.exit_code == 2
    assert "stdin is not JSON" in result.stderr
    assert "line 3, column 1" in result.stderr
