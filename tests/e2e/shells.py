"""The command line in a pipe and on a terminal."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Self

from tests.e2e.processes import ROOT, environment

WAIT_S = 60


class Shell:
    """Runs `gateway …` against one gateway."""

    def __init__(self, url: str) -> None:
        self.environ = environment(GATEWAY_URL=url)

    def __call__(self, *args: str, input: str = "", exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway", *args]
        done = subprocess.run(
            command,
            input=input,
            capture_output=True,
            text=True,
            env=self.environ,
            cwd=ROOT,
            timeout=WAIT_S,
            check=False,
        )
        assert done.returncode == exit_code, (done.args, done.stdout[-500:], done.stderr)
        return done

    def json(self, *args: str) -> Any:
        return json.loads(self(*args).stdout)

    def say(self, key: str, content: str) -> None:
        message = {"key": key, "content": content, "create": {"agent": "echo"}, "wait": True}
        self("call", "session.send", "-", input=json.dumps(message))


class Terminal:
    """`gateway …` as a person has it, on a terminal of its own."""

    def __init__(self, shell: Shell, *args: str) -> None:
        self._unread = b""
        self._ours, self._theirs = pty.openpty()
        # A session leader without a terminal gets the first that it opens, and Ctrl-C with it.
        script = f'exec "$@" <{os.ttyname(self._theirs)} >{os.ttyname(self._theirs)} 2>&1'
        command = ["sh", "-c", script, "sh", sys.executable, "-m", "gateway", *args]
        environ = shell.environ | {"TERM": "xterm", "NO_COLOR": ""}
        self.process = subprocess.Popen(command, env=environ, cwd=ROOT, start_new_session=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(WAIT_S)
        os.close(self._ours)
        os.close(self._theirs)

    def until(self, wanted: str) -> str:
        """Read up to and including this."""
        deadline = time.monotonic() + WAIT_S
        while wanted.encode() not in self._unread:
            assert time.monotonic() < deadline, f"no {wanted!r} in {self._unread!r}"
            if select.select([self._ours], [], [], 0.5)[0]:
                self._unread += os.read(self._ours, 65536)
            else:
                assert self.process.poll() is None, f"it ended without {wanted!r}: {self._unread!r}"
        before, found, self._unread = self._unread.partition(wanted.encode())
        return (before + found).decode()

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def press_until_end(self, key: str) -> int:
        """A key again and again, as people do: Python's input() misses a Ctrl-C that comes just before it listens."""
        deadline = time.monotonic() + WAIT_S
        while True:
            self.type(key)
            try:
                return self.process.wait(0.5)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < deadline

    def end(self) -> int:
        return self.process.wait(WAIT_S)


def until(holds: Callable[[], bool]) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
