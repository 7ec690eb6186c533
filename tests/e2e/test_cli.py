"""The command line as scripts use it: serving, calling, listing, exporting."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.client import connect
from rpc_schema.conversation import SEND, SendParams
from rpc_schema.lifecycle import NewSession
from tests.e2e.processes import RunningGateway, environment, running_gateway
from tests.e2e.shells import WAIT_S, Shell, until


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture
def shell(gateway: RunningGateway) -> Shell:
    return Shell(gateway.url)


def test_a_gateway_says_when_it_is_ready_and_ends_well(tmp_path: Path) -> None:
    """One line on stdout, the log on stderr, exit code 0 on SIGTERM."""
    with running_gateway(tmp_path, "--log-format", "json") as gateway:
        assert gateway.url == f"ws://127.0.0.1:{gateway.port}/rpc"
        assert Shell(gateway.url).json("call", "gateway.health")["status"] == "ok"
        assert gateway.stop() == 0
        assert gateway.process.stdout is not None
        assert gateway.process.stdout.read() == ""
    lines = [json.loads(line) for line in (tmp_path / "gateway.log").read_text().splitlines()]
    assert {"gateway_started", "gateway_stopped"} <= {line["event"] for line in lines}


def test_a_gateway_that_cannot_start_says_why(gateway: RunningGateway, shell: Shell, tmp_path: Path) -> None:
    """A taken port, a taken directory: exit code 1; settings that cannot be used: 2. One line, nothing on stdout."""
    environ = environment()
    port, data = str(gateway.port), str(tmp_path / "data")
    with running_gateway(tmp_path):
        for flags, code, why in [
            (["--port", port, "--data-dir", str(tmp_path / "other")], 1, f"127.0.0.1:{port}"),
            (["--port", "0", "--data-dir", data], 1, data),
            (["--port", "many"], 2, "--port"),
            (["--config", "nowhere.toml"], 2, "nowhere.toml"),
        ]:
            command = [sys.executable, "-m", "gateway", "serve", *flags]
            done = subprocess.run(
                command, capture_output=True, text=True, env=environ, cwd=tmp_path, timeout=WAIT_S, check=False
            )
            assert (done.returncode, done.stdout) == (code, ""), done
            said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
            assert len(said) == 1
            assert why in said[0]


def test_settings_are_read_again_on_sighup(tmp_path: Path) -> None:
    """A new agent is there without a restart; a broken file changes nothing."""
    file = tmp_path / "gateway.toml"
    file.write_text("")
    with running_gateway(tmp_path, "--config", str(file)) as gateway:
        shell = Shell(gateway.url)
        file.write_text('[[agents]]\nid = "second"\nkind = "echo"\n')
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: "second" in shell("call", "agent.list").stdout)
        file.write_text("broken")
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: "reload_refused" in (tmp_path / "gateway.log").read_text())
        assert "second" in shell("call", "agent.list").stdout


def test_any_method_can_be_called(shell: Shell) -> None:
    """Params as an argument, a file or stdin; one line of JSON out."""
    message = '{"key": "called", "content": "hello world", "create": {"agent": "echo"}, "wait": true}'
    sent = shell.json("call", "session.send", message)
    assert sent["finishReason"] == "stop"
    done = shell("call", "session.status", "-", input='{"key": "called"}')
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout)["session"]["messageCount"] == 2


def test_what_fails_says_so_in_its_exit_code(shell: Shell) -> None:
    """1 failed, 3 not found, 5 unreachable; one line on stderr, nothing on stdout."""
    for args, code, says in [
        (["call", "no.such.method"], 1, "error method_not_found (-32601): There is no method no.such.method"),
        (["call", "session.status", "{}"], 1, "error invalid_params (-32602): "),
        (["call", "session.status", '{"key": "none"}'], 3, "error session_not_found (404): "),
        (["sessions", "show", "none"], 3, "error session_not_found (404): "),
        (["sessions", "export", "none"], 3, "error session_not_found (404): "),
        (["chat", "none"], 3, "error session_not_found (404): "),
        (["chat", "--agent", "none"], 3, "error agent_not_found (404): "),
        (["call", "gateway.health", "--url", "ws://127.0.0.1:1"], 5, "error: No gateway answers at"),
    ]:
        done = shell(*args, input="hello", exit_code=code)
        assert done.stdout == ""
        assert done.stderr.startswith(says)
        assert done.stderr.count("\n") == 1


def test_sessions_are_listed_page_by_page(tmp_path: Path) -> None:
    """More than a page holds: --limit bounds, --all does not, and stderr says what is left out."""
    many = 230

    async def fill(url: str) -> None:
        async with connect(url) as gw, asyncio.TaskGroup() as tasks:
            for number in range(many):
                agent = NewSession(agent="echo", title=f"number {number}")
                tasks.create_task(gw.call(SEND, SendParams(key=f"k{number}", content="x", create=agent, wait=True)))

    with running_gateway(tmp_path) as gateway:
        shell = Shell(gateway.url)
        assert shell("sessions", "list").stdout == "KEY  STATE  AGENT  MESSAGES  ACTIVE  TITLE\n"
        asyncio.run(fill(gateway.url))
        done = shell("sessions", "list")
        assert done.stdout.count("\n") == 51
        assert done.stderr == "50 of 230 sessions; --all lists them all.\n"
        keys = [
            json.loads(line)["key"] for line in shell("sessions", "list", "--all", "-o", "jsonl").stdout.splitlines()
        ]
        assert sorted(keys) == sorted(f"k{number}" for number in range(many))
        listed = shell("sessions", "list", "--limit", "210", "-o", "json", "--quiet")
        assert [session["key"] for session in json.loads(listed.stdout)] == keys[:210]
        assert listed.stderr == ""
        found = shell(
            "sessions", "list", "--search", "number 22", "--agent", "echo", "--state", "live", "--view", "all"
        )
        assert {line.split()[-1] for line in found.stdout.splitlines()[1:]} == {"22", *map(str, range(220, 230))}


def test_what_was_said_is_found(shell: Shell) -> None:
    """For people in a table, for scripts as JSON; nothing found is no failure."""
    shell.say("found", "a xylophone\nin \x1b]0;evil\x07 Lisbon")
    table = shell("sessions", "search", "LISBON", "xylo*").stdout.splitlines()
    assert [line.split()[:3:2] for line in table] == [["KEY", "TYPE"], ["found", "message.assistant"],
                                                      ["found", "message.user"]]  # fmt: skip
    assert table[1].endswith("a xylophone in ]0;evil Lisbon")
    assert len(shell.json("sessions", "search", "xylophone", "-o", "json", "--limit", "1")) == 1
    assert shell("sessions", "search", "xylophone", "nowhere").stderr == "Nothing found.\n"


def test_a_session_is_shown(shell: Shell) -> None:
    """For people, with what was said last; for scripts, all of it."""
    shell.say("shown", "first\nsecond \x1b]0;evil\x07")
    shown = shell("sessions", "show", "shown").stdout
    assert re.search(r"^key +shown$", shown, re.MULTILINE)
    assert re.search(r"^messages +2$", shown, re.MULTILINE)
    assert "\nassistant\nfirst\nsecond ]0;evil\n" in shown
    assert shell.json("sessions", "show", "shown", "-o", "json", "--messages", "1")["messages"]


def test_a_session_is_exported_whole(shell: Shell, tmp_path: Path) -> None:
    """Over several pages, to stdout and to a file: the same events, sealed."""
    for _ in range(8):
        shell.say("big", "ä" * 90_000)
    file = tmp_path / "big.jsonl"
    done = shell("sessions", "export", "big", "-f", str(file))
    assert done.stdout == ""
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) > 50
    assert done.stderr == f"{len(lines) - 2} events in {file}; the checksum is right.\n"
    assert json.loads(lines[0])["key"] == "big"
    again = shell("sessions", "export", "big", "--quiet").stdout.encode().splitlines(keepends=True)
    assert again[1:-1] == lines[1:-1]
    refused = shell("sessions", "export", "big", "-f", str(tmp_path / "no" / "x"), exit_code=1)
    assert refused.stderr == f"error: Cannot write {tmp_path}/no/x: No such file or directory.\n"


def test_a_session_is_imported(shell: Shell, tmp_path: Path) -> None:
    """From a file or a pipe, under its key, another or the next free one; what is no export is refused by its line."""
    shell.say("moved", "hello")
    file = tmp_path / "moved.jsonl"
    shell("sessions", "export", "moved", "-f", str(file))
    done = shell("sessions", "import", str(file), "--rename")
    assert (done.stdout, done.stderr) == ("moved-2\n", "7 events imported.\n")
    assert shell("sessions", "import", "-", "--key", "piped", "-q", input=file.read_text()).stdout == "piped\n"
    taken = shell("sessions", "import", str(file), exit_code=1)
    assert taken.stderr.startswith("error session_exists (409): ")
    file.write_text(file.read_text()[:-9])
    cut = shell("sessions", "import", str(file), "--key", "cut", exit_code=1)
    assert "line 9: the file ends here, without an LF" in cut.stderr
    file.write_bytes(b"a\n\xff")
    assert shell("sessions", "import", str(file), exit_code=1).stderr.endswith("line 2 is not UTF-8.\n")
    gone = shell("sessions", "import", str(tmp_path / "none"), exit_code=1)
    assert gone.stderr == f"error: Cannot read {tmp_path}/none: No such file or directory.\n"


def test_a_session_is_exported_to_be_read(shell: Shell) -> None:
    """As a page, and as messages."""
    shell.say("read", "hello")
    page = shell("sessions", "export", "read", "--format", "markdown")
    assert page.stdout.startswith("# hello\n")
    assert re.fullmatch(r"\d+ lines\.\n", page.stderr)
    messages = json.loads(shell("sessions", "export", "read", "--format", "openai", "-q").stdout)
    assert messages == [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hello"}]
