"""What a failure says, and what the command exits with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from gateway.client import ClientError

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
NOT_ALLOWED: Final = 4
UNREACHABLE: Final = 5
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells say it

_EXIT_BY_NUMBER: Final = {401: NOT_ALLOWED, 403: NOT_ALLOWED, 404: NOT_FOUND}
_EXIT_BY_CODE: Final = {"session_deleted": NOT_FOUND}


class Failure(Exception):
    """A command that could not do what it was asked to: a sentence, or a line a problem."""

    def __init__(self, message: str, exit_code: int = FAILED, *, code: str = "") -> None:
        super().__init__(message)
        self.exit_code, self._code = exit_code, code

    @property
    def text(self) -> str:
        """`error: what is wrong and what to do`; with the code of what a gateway answered."""
        from .output import one_line

        label = f"error {self._code}" if self._code else "error"
        return "\n".join(f"{label}: {one_line(line)}" for line in str(self).splitlines())


def failure_of(error: Exception) -> Failure | None:
    """What to say about an error; None when it is a bug, which keeps its traceback."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, click.ClickException):
        return Failure(error.format_message() + _advice(error), error.exit_code)
    from gateway.client import ClientError
    from rpc_schema.errors import RpcError

    if isinstance(error, RpcError):
        exit_code = _EXIT_BY_CODE.get(error.code) or _EXIT_BY_NUMBER.get(error.number, FAILED)
        return Failure(error.message, exit_code, code=f"{error.code} ({error.number})")
    return Failure(str(error), _exit_code(error)) if isinstance(error, ClientError) else None


def _exit_code(error: ClientError) -> int:
    from gateway.client import ConnectionLost, GatewayRefused, GatewayUnreachable

    match error:
        case GatewayRefused() | ConnectionLost(code=4401 | 4403 | 4408):
            return NOT_ALLOWED
        case GatewayUnreachable() | ConnectionLost():
            return UNREACHABLE
    return FAILED


def _advice(error: click.ClickException) -> str:
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return ""
    return f" See '{error.ctx.command_path} --help'."
