"""A gateway of its own for a test: a process started as a user starts it, on a free port."""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

READY_S = 30.0
STOP_S = 30.0
ROOT = Path(__file__).parents[2]


@dataclass
class RunningGateway:
    """Where it listens, and the process."""

    url: str
    http: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return int(self.http.rstrip("/").rpartition(":")[2])

    def stop(self) -> int:
        """SIGTERM and its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait(STOP_S)


def environment(**variables: str) -> dict[str, str]:
    """This one without what is said to gateways in it, so that a test gets what it says."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "SESSION_"))}
    return inherited | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"} | variables


@contextmanager
def running_gateway(tmp_path: Path, *flags: str, port: int = 0, **variables: str) -> Iterator[RunningGateway]:
    """A gateway with its data in `tmp_path`; ended, if it still runs, when the test is over.

    Its log is `tmp_path/gateway.log`. Turns get half a second to finish.
    """
    environ = environment(GATEWAY_SHUTDOWN_GRACE_S="0.5") | variables
    command = [sys.executable, "-m", "gateway", "serve", "--port", str(port), "--data-dir", str(tmp_path / "data")]
    with (tmp_path / "gateway.log").open("a") as log:
        process = subprocess.Popen(
            [*command, *flags],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=tmp_path,
            env=environ,
        )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            line = _first_line(process)
            assert line.startswith("gateway ready "), (line, (tmp_path / "gateway.log").read_text()[-2000:])
            _, _, url, http = line.split()
            yield RunningGateway(url, http, process)
        finally:
            _end(process)


def _first_line(process: subprocess.Popen[str]) -> str:
    """The ready line; empty when the process ended or did not say one in time."""
    said: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        said.put(process.stdout.readline())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        return said.get(timeout=READY_S)
    except queue.Empty:
        process.kill()
        return ""
    finally:
        reader.join(STOP_S)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)
