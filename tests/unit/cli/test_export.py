"""An export is whole or not there."""

import hashlib
import os
import stat
import threading
from pathlib import Path

import pytest

from gateway.cli.errors import Failure
from gateway.cli.export import Seal, _opened

LINES = [b'{"type":"session","version":1,"key":"k"}\n', b'{"type":"message.user","seq":1,"content":"hi"}\n']


def sealed(lines: list[bytes], *, events: int = 1, sha256: str | None = None, end: bytes = b"\n") -> Seal:
    seal = Seal()
    digest = sha256 or hashlib.sha256(b"".join(lines)).hexdigest()
    for line in [*lines, f'{{"type":"end","events":{events},"sha256":"{digest}"}}'.encode() + end]:
        seal.add(line)
    return seal


def test_a_whole_export_is_verified() -> None:
    """The checksum covers everything before the end line."""
    assert sealed(LINES).verified() == 1


@pytest.mark.parametrize(
    "seal",
    [sealed(LINES[:1]), sealed(LINES, events=2), sealed(LINES, sha256="0" * 64)],
    ids=["an event is missing", "another count", "another checksum"],
)
def test_a_changed_export_is_noticed(seal: Seal) -> None:
    """Whatever changed."""
    with pytest.raises(Failure, match="checksum is wrong"):
        seal.verified()


def test_a_cut_export_is_noticed() -> None:
    """Without the end line, in the middle of it, or before its LF."""
    cut = Seal()
    for line in LINES:
        cut.add(line)
    for seal in (cut, sealed(LINES, end=b""), Seal()):
        with pytest.raises(Failure, match="not whole"):
            seal.verified()


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    """It replaces what was there, and only its owner may read it."""
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    with _opened(str(path)) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_export_changes_nothing(tmp_path: Path) -> None:
    """What was there stays, and nothing is left lying about."""
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    with pytest.raises(Failure), _opened(str(path)) as file:
        file.write(b"new")
        raise Failure("…")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """/dev/stdout, a named pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    with _opened(str(pipe)) as file:
        file.write(b"data")
    reader.join(10)
    assert read == [b"data"]
    assert pipe.is_fifo()
