"""The README is true: its commands are run, in order, and say what it says."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ADDRESS = "127.0.0.1:8765"
PATIENCE_S = 120


class Block(NamedTuple):
    """A fenced block: its language and what is in it."""

    language: str
    text: str


class Command(NamedTuple):
    """A command and what it should print; `…` stands for anything, alone on a line for any lines."""

    line: str
    output: str


BLOCKS = [Block(*match) for match in re.findall(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)]


def commands(text: str) -> list[Command]:
    """What stands behind each `$`, and the lines up to the next."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return [Command(*part.partition("\n")[::2]) for part in parts]


def is_said(expected: str, printed: str) -> bool:
    """Whether the output is as written, spaces aside."""
    pattern = re.escape(expected.strip())
    pattern = re.sub(r"(?:\\\s)+", r"\\s*", pattern)
    return re.fullmatch(pattern.replace("…", ".*"), printed.strip(), re.DOTALL) is not None


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a gateway listens that `make run` has started."""
    data = tmp_path_factory.mktemp("readme") / "data"
    make = subprocess.Popen(
        ["make", "run", f"ARGS=--port 0 --data-dir {data}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert make.stdout is not None
        ready = next(line for line in make.stdout if line.startswith("gateway ready"))
        port = re.fullmatch(r"gateway ready ws://127\.0\.0\.1:(\d+)/rpc http://127\.0\.0\.1:\1/\n", ready)
        assert port is not None, ready
        yield f"127.0.0.1:{port[1]}"
    finally:
        os.killpg(make.pid, signal.SIGTERM)
        make.communicate(timeout=PATIENCE_S)


def run(command: list[str] | str, address: str, cwd: Path = ROOT) -> str:
    """What a person sees of a command; it must succeed."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    done = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=cwd,
        env=environ | {"GATEWAY_URL": f"ws://{address}/rpc"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_first_command_starts_a_gateway(address: str) -> None:
    """`make run` prints where it listens."""
    first = commands(BLOCKS[0].text)[0]
    assert first.line == "make run"
    assert is_said(first.output.replace(ADDRESS, address), f"gateway ready ws://{address}/rpc http://{address}/")


def test_the_commands_print_what_stands_below_them(address: str, tmp_path: Path) -> None:
    """All console blocks but the first, in their order."""
    (tmp_path / "gateway.toml").write_text(next(block.text for block in BLOCKS if block.language == "toml"))
    console = [command for block in BLOCKS[1:] if block.language == "console" for command in commands(block.text)]
    assert len(console) >= 5
    for command in console:
        line = command.line.replace(".venv/bin/", f"{ROOT}/.venv/bin/")
        is_about_the_file = " config " in line
        printed = run(line, address, tmp_path if is_about_the_file else ROOT)
        assert is_said(command.output, printed), f"$ {command.line}\n{printed}"


def test_the_snippets_run_and_print_what_is_shown(address: str, tmp_path: Path) -> None:
    """The client's conversation ends with its title, the raw socket's output is the one shown."""
    snippets = [block.text.replace(ADDRESS, address) for block in BLOCKS if block.language == "python"]
    python = str(ROOT / ".venv/bin/python")
    client, socket = (run([python, "-c", snippet], address, tmp_path) for snippet in snippets)
    assert client.splitlines()[-1] == "Streamed word by word"
    assert socket == next(block.text for block in BLOCKS if block.language == "text")


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_a_link_leads_somewhere(link: str) -> None:
    """Every file the README points at is there."""
    assert (ROOT / link).exists()


def test_what_is_not_said_is_noticed() -> None:
    """The comparison can fail."""
    assert is_said('{"a":…}\n…\nend', '{"a":1}\nx\ny\nend\n')
    assert not is_said("end", "and")
    assert not is_said("KEY  …", "KEI  x")
