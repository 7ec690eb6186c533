"""What a failure says, and what the command exits with."""

import click
import pytest

from gateway.cli.errors import Failure, failure_of
from gateway.client import ClientError, ConnectionLost, GatewayRefused, GatewayUnreachable, Since, SubscriptionLagged
from rpc_schema import errors


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.SessionNotFound(), 3),
        (errors.AgentNotFound(agent="x"), 3),
        (errors.SessionDeleted(), 3),
        (errors.Unauthenticated(), 4),
        (errors.Forbidden(required="admin"), 4),
        (errors.SessionExpired(expires_at="…", reason="expired"), 1),
        (errors.InvalidParams(path="$", reason="…"), 1),
        (errors.MethodNotFound(method="x"), 1),
        (GatewayUnreachable("ws://…", "…"), 5),
        (ConnectionLost(1001, ""), 5),
        (ConnectionLost(4403, ""), 4),
        (SubscriptionLagged(Since(seq=1)), 1),
        (GatewayRefused("ws://…", "…"), 4),
        (click.UsageError("…"), 2),
        (Failure("…"), 1),
    ],
)
def test_exit_codes(error: errors.RpcError | ClientError | click.ClickException | Failure, exit_code: int) -> None:
    """0 done, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 unreachable."""
    failure = failure_of(error)
    assert failure is not None
    assert failure.exit_code == exit_code


def test_the_code_and_the_number_of_an_answer_are_said() -> None:
    """Something to look up, and a sentence."""
    failure = failure_of(errors.SessionNotFound())
    assert failure is not None
    assert failure.text == f"error session_not_found (404): {errors.SessionNotFound().message}"


def test_several_problems_are_a_line_each() -> None:
    """A file of settings can be wrong in several places."""
    assert Failure("a is wrong\nb is wrong").text == "error: a is wrong\nerror: b is wrong"


def test_what_a_stranger_says_does_not_drive_the_terminal() -> None:
    """An agent's id comes from a caller, a reason from a server."""
    failure = failure_of(errors.AgentNotFound(agent="\x1b]0;owned\x07\x9b31m"))
    assert failure is not None
    assert not set(failure.text) & set("\x1b\x07\x9b")


def test_a_bug_keeps_its_traceback() -> None:
    """It is no message for a user."""
    assert failure_of(KeyError("x")) is None
