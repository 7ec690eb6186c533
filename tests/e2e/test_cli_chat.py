"""`gateway chat`, in a pipe and on a terminal."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import ROOT, RunningGateway, running_gateway
from tests.e2e.shells import WAIT_S, Shell, Terminal, until


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture
def shell(gateway: RunningGateway) -> Shell:
    return Shell(gateway.url)


def test_a_pipe_talks_to_an_agent(shell: Shell) -> None:
    """All of stdin is one message, the answer goes to stdout, the key to stderr; KEY goes on."""
    done = shell("chat", input="one two\nthree\n")
    assert done.stdout == "one two\nthree\n"
    key = re.fullmatch(r"Session (\S+); come back with: gateway chat \1\n", done.stderr)
    assert key is not None
    again = shell("chat", key[1], "--quiet", input="/think aloud\nfour\x1b[2J")
    assert (again.stdout, again.stderr) == ("four[2J\n", "")
    assert "messages       4" in shell("sessions", "show", key[1]).stdout


def test_a_pipe_learns_of_a_failed_turn(shell: Shell) -> None:
    """What was said until then, why, exit code 1; and 2 when there is nothing to say."""
    failed = shell("chat", "-q", input="so far\n/fail The model is out.\n", exit_code=1)
    assert failed.stdout == "so far\n"
    assert failed.stderr == "error agent_failed: The model is out.\n"
    for nothing in ("", " \n"):
        assert shell("chat", input=nothing, exit_code=2).stderr == "error: There is nothing to say: stdin is empty.\n"


def test_with_several_agents_one_must_be_named(tmp_path: Path) -> None:
    """Unless there is one beside echo."""
    one = '[[agents]]\nid = "first"\nkind = "echo"\n'
    file = tmp_path / "gateway.toml"
    file.write_text(one)
    with running_gateway(tmp_path, "--config", str(file)) as gateway:
        shell = Shell(gateway.url)
        shell("chat", "-q", input="hello")
        assert json.loads(shell("sessions", "list", "-o", "json").stdout)[0]["agent"] == "first"
        file.write_text(one + one.replace("first", "second"))
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: "second" in shell("call", "agent.list").stdout)
        refused = shell("chat", input="hello", exit_code=2)
        assert refused.stderr == "error: Say whom to talk to: --agent echo | first | second.\n"


def test_a_reader_that_leaves_ends_it_quietly(shell: Shell) -> None:
    """`gateway … | head` shows no traceback."""
    for args, content in ((["chat", "-q"], "/words 5000"), (["call", "rpc.discover"], "")):
        command = [sys.executable, "-m", "gateway", *args]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, env=shell.environ, cwd=ROOT, text=True, **pipes) as process:  # type: ignore[call-overload]
            process.stdin.write(content)
            process.stdin.close()
            process.stdout.read(2)
            process.stdout.close()
            assert process.stderr.read() == ""
            assert process.wait(WAIT_S) in {0, 1}


def test_a_conversation_on_a_terminal(shell: Shell) -> None:
    """Prompt, answer, prompt; Ctrl-C stops an answer and keeps the partial; Ctrl-D leaves; KEY comes back."""
    with Terminal(shell, "chat") as terminal:
        key = re.search(r"gateway chat (\S+)", terminal.until("> "))
        assert key is not None
        terminal.type("hello there\n")
        assert "hello there\r\nhello there\r\n> " in terminal.until("\n> ")
        terminal.type("/think aloud\n")
        assert "\x1b[2maloud\x1b[0m\r\n" in terminal.until("\n> ")
        terminal.type("/fail Out of order.\n")
        assert "error agent_failed: Out of order.\r\n" in terminal.until("\n> ")
        terminal.type("/words 5000\n")
        terminal.until("w10 ")
        terminal.type("\x03")
        assert "(stopped)" in terminal.until("\n> ")
        terminal.type("\x04")
        assert terminal.end() == 0
    shown = shell("sessions", "show", key[1], "--messages", "1").stdout
    assert "w1 w2 w3" in shown
    assert "w5000" not in shown
    with Terminal(shell, "chat", key[1]) as terminal:
        terminal.until("> ")
        terminal.type("/quit\n")
        assert terminal.end() == 0


def test_ctrl_c_at_the_prompt_leaves(shell: Shell) -> None:
    """Quietly, and it was no failure."""
    with Terminal(shell, "chat") as terminal:
        terminal.until("> ")
        assert terminal.press_until_end("\x03") == 0


def test_ctrl_c_in_a_pipe_stops_the_answer(shell: Shell) -> None:
    """What came is kept, here and at the gateway; exit code 130, as shells say it."""
    command = [sys.executable, "-m", "gateway", "chat", "stopped", "--agent", "echo"]
    with subprocess.Popen(
        command, env=shell.environ, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"/words 5000")
        process.stdin.close()
        said = process.stdout.read(20)
        process.send_signal(signal.SIGINT)
        said += process.stdout.read()
        assert process.wait(WAIT_S) == 130
    history = json.loads(shell("call", "session.history", '{"key": "stopped", "types": ["message.assistant"]}').stdout)
    assert [event["content"] for event in history["events"]] == [said.decode().rstrip("\n")]


def test_an_answer_outlives_its_listener(tmp_path: Path) -> None:
    """The gateway goes away while an answer comes: exit code 5, and where to look."""
    with running_gateway(tmp_path) as gateway:
        shell = Shell(gateway.url)
        with Terminal(shell, "chat") as terminal:
            terminal.until("> ")
            terminal.type("/words 5000\n")
            terminal.until("w10 ")
            gateway.kill()
            said = terminal.until("gateway sessions show chat:")
            assert "error: The connection to the gateway is gone" in said
            terminal.until("> ")
            terminal.type("still there?\n")
            assert "error: No gateway answers at" in terminal.until("\n> ")
