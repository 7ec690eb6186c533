"""Lines on stderr: their shape, what they leave out, and that saying something never fails."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import logs

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Leave structlog and the root logger as they were."""
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    yield
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()
    logging.getLogger().handlers[:] = handlers


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Lines:
    """Give what came out on stderr since the last time, a dict a line."""
    return lambda: [json.loads(line) for line in capfd.readouterr().err.split("\n")[:-1]]


def test_a_line_is_one_json_object_with_time_level_and_event_first(lines: Lines) -> None:
    """Machines read a line without knowing the event."""
    logs.configure("json", "info")
    structlog.get_logger().info("turn_ended", session="agent:echo:1", ms=3)
    (line,) = lines()
    assert list(line) == ["timestamp", "level", "event", "session", "ms"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {"level": "info", "event": "turn_ended", "session": "agent:echo:1", "ms": 3}


def test_ids_bound_to_the_context_are_in_every_line(lines: Lines) -> None:
    """A connection and a call are bound once and said always, until they end."""
    logs.configure("json", "info")
    log = structlog.get_logger()
    with structlog.contextvars.bound_contextvars(connection="c1", call=7):
        log.info("call_taken")
    log.info("gateway_idle")
    inside, outside = lines()
    assert (inside["connection"], inside["call"]) == ("c1", 7)
    assert "connection" not in outside


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
    ],
)
def test_what_is_below_the_level_is_not_said(level: Any, heard: list[str], lines: Lines) -> None:
    """The level of the settings is the least that comes out."""
    logs.configure("json", level)
    log = structlog.get_logger()
    for method in (log.debug, log.info, log.warning, log.error):
        method("something_happened")
    assert [line["level"] for line in lines()] == heard


def test_an_exception_is_one_field_without_local_variables(lines: Lines) -> None:
    """The stack is there to be searched; what the variables held, prompts and tokens, is not."""
    logs.configure("json", "info")

    def fail() -> None:
        token = "s3cr3t"
        raise LookupError(len(token))

    try:
        fail()
    except LookupError:
        structlog.get_logger().exception("call_failed", error_id="e1")
    (line,) = lines()
    assert line["level"] == "error"
    assert line["exception"][0]["exc_type"] == "LookupError"
    assert line["exception"][0]["frames"][-1]["name"] == "fail"
    assert "s3cr3t" not in json.dumps(line)


def test_what_a_library_logs_comes_as_the_same_line(lines: Lines) -> None:
    """A failed handler of websockets reads like a line of the gateway, with the library's name."""
    logs.configure("json", "info")
    try:
        raise OSError("gone")
    except OSError:
        logging.getLogger("websockets.server").error("connection handler failed", exc_info=True)
    (line,) = lines()
    assert (line["level"], line["event"], line["logger"]) == ("error", "connection handler failed", "websockets.server")
    assert line["exception"][0]["exc_value"] == "gone"


def test_what_a_library_says_below_warning_is_dropped(lines: Lines) -> None:
    """Debugging a library is not the gateway's log, at whatever level that is."""
    logs.configure("json", "debug")
    library = logging.getLogger("a.library")
    library.setLevel(logging.DEBUG)
    library.info("handshake done")
    library.warning("took %d s", 2)
    assert [line["event"] for line in lines()] == ["took 2 s"]


def test_a_library_may_log_carelessly(lines: Lines) -> None:
    """A wrong format and an exc_info without an exception are still a line each."""
    logging.getLogger().handlers.clear()  # pytest's own would raise
    logs.configure("json", "info")
    too_few = ("%s and %s", "one")
    logging.getLogger("a.library").warning(*too_few)
    logging.getLogger("a.library").warning("nothing raised", exc_info=True)
    first, second = lines()
    assert first["event"] == "%s and %s"
    assert "exception" not in second


def test_configuring_twice_says_nothing_twice(lines: Lines) -> None:
    """A reload leaves one handler on the root logger."""
    logs.configure("json", "info")
    logs.configure("json", "info")
    logging.getLogger("a.library").warning("once")
    structlog.get_logger().info("said_once")
    assert [line["event"] for line in lines()] == ["once", "said_once"]


def test_a_value_that_json_has_no_word_for_costs_no_line(lines: Lines) -> None:
    """Whatever is handed over comes out in some readable form, as valid JSON."""
    logs.configure("json", "info")
    log = structlog.get_logger()
    log.info("odd_value", where=sys, key={("a", 1): 2}, share=float("nan"))
    log.info("odd_text", title="half an emoji: \ud83d")
    loop: list[Any] = []
    loop.append(loop)
    log.info("odd_shape", loop=loop)
    value, text, shape = lines()
    assert "module 'sys'" in value["where"]
    assert value["share"] is None
    assert text["title"] == r"half an emoji: \ud83d"
    assert shape["loop"] == "[[...]]"


@given(fields=st.dictionaries(st.text(min_size=1), st.recursive(st.none() | st.floats() | st.text(), st.lists)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_any_fields_make_exactly_one_line(fields: dict[str, Any], lines: Lines) -> None:
    """No field breaks a line in two or the JSON in it."""
    logs.configure("json", "info")
    log = structlog.get_logger().bind(**{f"field {key}": value for key, value in fields.items()})
    log.info("said")
    (line,) = lines()
    assert len(line) == 3 + len(fields)


def test_the_console_shows_a_line_for_people(capfd: pytest.CaptureFixture[str]) -> None:
    """No braces, no colours in a pipe, and a stack as Python prints it."""
    logs.configure("console", "info")
    try:
        raise OSError("gone")
    except OSError:
        structlog.get_logger().exception("store_failed", file="gateway.db")
    err = capfd.readouterr().err
    assert re.search(r"Z \[error +\] store_failed +file=gateway\.db\n", err)
    assert "Traceback (most recent call last)" in err
    assert "\x1b" not in err


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_reader_of_stderr_that_goes_away_is_not_noticed(format: str) -> None:
    """The process goes on and exits as it meant to, not with Python's 120 for a failed flush."""
    program = (
        "import structlog, sys, logging\n"
        "from gateway import logs\n"
        f"logs.configure('{format}', 'info')\n"
        "sys.stdin.readline()\n"
        "structlog.get_logger().info('first', text='x' * 100_000)\n"
        "logging.getLogger('library').error('second')\n"
        "print('still here')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        process.stderr.close()
        process.stderr = None
        out, _ = process.communicate("go\n", timeout=30)
    assert (out, process.returncode) == ("still here\n", 0)


def test_a_process_without_stderr_is_silent() -> None:
    """A file that took the place of a closed stderr gets no log lines."""
    program = (
        "import os, sys, tempfile, structlog\n"
        "from gateway import logs\n"
        "logs.configure('json', 'info')\n"
        "file = tempfile.TemporaryFile()\n"
        "structlog.get_logger().info('unheard')\n"
        "print(file.fileno(), file.seek(0, os.SEEK_END))\n"
    )
    closed = subprocess.run(
        f'exec "{sys.executable}" -c "$PROGRAM" 2>&-',
        shell=True,
        env={"PROGRAM": program, "PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=30,
    )
    assert closed.stdout == "2 0\n"
