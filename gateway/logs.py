"""What the gateway says on stderr: a line an event, as JSON or for people.

Rooms call `structlog.get_logger()` and bind the ids of a connection or a call
with `structlog.contextvars`. Libraries that use the standard `logging` come out
as the same lines, from warning up. Saying something never fails: a line that
cannot be written is lost, and the gateway goes on.
"""

import logging
import os
import sys
import threading
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
import structlog

_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}
_encoder: Final = msgspec.json.Encoder(enc_hook=str)


def configure(format: Literal["json", "console"], level: Literal["debug", "info", "warning"]) -> None:
    """Say everything from `level` up.

    Call it before the first line: a logger keeps what was in force when it spoke first.
    """
    renderers = _for_machines() if format == "json" else _for_people()
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, _stamp, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_Stderr,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Libraries)]:
        root.removeHandler(handler)
    root.addHandler(_Libraries(logging.WARNING))


def _for_machines() -> list[structlog.typing.Processor]:
    # Without locals: they hold prompts and tokens.
    frames = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
    return [structlog.processors.ExceptionRenderer(frames), _as_json]


def _for_people() -> list[structlog.typing.Processor]:
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=is_terminal, exception_formatter=plain)]


def _stamp(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"timestamp": now, "level": fields.pop("level"), "event": fields.pop("event", "")} | dict(fields)


def _as_json(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> bytes:
    try:
        return _encoder.encode(fields)
    except (TypeError, ValueError, RecursionError):
        return _encoder.encode({_printable(key): _printable(value) for key, value in fields.items()})


def _printable(value: object) -> str:
    return str(value).encode(errors="backslashreplace").decode()


class _Stderr:
    """Writes a line at once, past Python's buffer: at exit nothing is left that could fail on a broken pipe."""

    _lock = threading.Lock()

    def __init__(self, *_: Any) -> None:
        pass

    def info(self, line: bytes | str) -> None:
        rest = (line.encode(errors="backslashreplace") if isinstance(line, str) else line) + b"\n"
        try:
            with self._lock:
                while rest:
                    rest = rest[os.write(sys.stderr.fileno(), rest) :]
        except (OSError, ValueError, AttributeError):
            # Nobody reads stderr any more, or there is none.
            return

    debug = warning = error = critical = info


class _Libraries(logging.Handler):
    """Passes on what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        say = log.error if record.levelno >= logging.ERROR else log.warning
        # Outside an except block libraries pass (None, None, None).
        failure = record.exc_info if record.exc_info and record.exc_info[0] else None
        say(_message(record), logger=record.name, exc_info=failure)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return str(record.msg)
