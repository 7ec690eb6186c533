"""`gateway chat`: a conversation in the terminal, or one message from a pipe.

Every message has a connection of its own, so that a prompt may stand open for
hours and nothing needs to be kept alive.
"""

import asyncio
import shlex
import sys
from contextlib import suppress
from uuid import uuid4

import click

from gateway.client import ClientError, ConnectionLost, GatewayClient
from rpc_schema.agents import GET, LIST, GetParams
from rpc_schema.directory import STATUS, StatusParams
from rpc_schema.errors import RpcError
from rpc_schema.events import TurnCompleted, TurnFailed, TurnStopped

from .answer import Interrupt, Screen, TurnEnd, answer
from .errors import FAILED, INTERRUPTED, USAGE, Failure, failure_of
from .options import Caller, calls_gateway
from .output import is_terminal

_LEAVE = {"/quit", "/exit"}
_NO_USE_TO_GO_ON = {401, 403, 404, 410}


@click.command()
@click.argument("key", required=False)
@click.option("--agent", help="Whom to talk to in a new session; needed when there are several.")
@calls_gateway
def command(caller: Caller, *, key: str | None, agent: str | None) -> None:
    """Talk with an agent, in a new session or in the session KEY.

    A line is a message. Ctrl-C stops an answer and keeps what there is of it; at
    the prompt Ctrl-C, Ctrl-D and /quit leave. From a pipe all of stdin is one
    message, and stdout gets the answer's text.
    """
    is_for_people = is_terminal(sys.stdin) and is_terminal()
    content = "" if is_for_people else _piped()
    key, agent = asyncio.run(_begin(caller, key, agent))
    caller.talk(f"Session {key}; come back with: gateway chat {shlex.quote(key)}")
    if is_for_people:
        _converse(caller, agent, key)
    elif failure := _failure(asyncio.run(answer(caller, agent, key, content, Screen(is_for_people=False)))):
        raise failure


def _piped() -> str:
    try:
        content = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise Failure(f"stdin is not UTF-8 at byte {error.start}.", USAGE) from error
    if not content.strip():
        raise Failure("There is nothing to say: stdin is empty.", USAGE)
    return content.rstrip("\n")


async def _begin(caller: Caller, key: str | None, agent: str | None) -> tuple[str, str | None]:
    """The session's key, and the agent it is made with if it is new."""
    async with caller.connect() as gateway:
        if agent is not None:
            await gateway.call(GET, GetParams(agent=agent))
        elif key is not None:
            await gateway.call(STATUS, StatusParams(key=key, messages=0))
        else:
            agent = await _only_agent(gateway)
    return key or f"chat:{uuid4().hex}", agent


async def _only_agent(gateway: GatewayClient) -> str:
    """The agent that somebody set up; echo is always there and counts only when it is alone."""
    agents = [agent.id for agent in (await gateway.call(LIST)).agents]
    others = [agent for agent in agents if agent != "echo"] or agents
    if len(others) != 1:
        raise Failure(f"Say whom to talk to: --agent {' | '.join(agents)}.", USAGE)
    return others[0]


def _converse(caller: Caller, agent: str | None, key: str) -> None:
    """Prompt, answer, prompt."""
    with suppress(ImportError):
        import readline  # noqa: F401  # gives input() its editing and history, where there is one
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal is a TextIOWrapper
    while (line := _line()) not in _LEAVE:
        if line:
            _exchange(caller, agent, key, line)


def _line() -> str:
    try:
        return input("> ").strip()
    except (EOFError, KeyboardInterrupt):
        click.echo(err=True)
        return "/quit"


def _exchange(caller: Caller, agent: str | None, key: str, content: str) -> None:
    """One message and its answer; a problem that may pass is told, and the prompt comes back."""
    try:
        end = asyncio.run(answer(caller, agent, key, content, Screen(is_for_people=True)))
    except KeyboardInterrupt:
        return
    except (ClientError, RpcError) as error:
        if isinstance(error, RpcError) and error.number in _NO_USE_TO_GO_ON:
            raise
        failure = failure_of(error)
        assert failure is not None
        click.echo(f"\n{failure.text}", err=True)
        if isinstance(error, ConnectionLost):
            caller.talk(f"If the answer had begun, it goes on; see: gateway sessions show {shlex.quote(key)}")
        return
    if end == "stopped":
        caller.talk("(stopped)")
    elif (failure := _failure(end)) is not None:
        click.echo(failure.text, err=True)


def _failure(end: TurnEnd | Interrupt) -> Failure | None:
    match end:
        case TurnCompleted():
            return None
        case TurnStopped():
            return Failure(f"The answer was stopped by {end.by} ({end.reason}).", FAILED)
        case TurnFailed():
            return Failure(end.message, FAILED, code=end.code)
        case "stopped":
            return Failure("The answer was stopped.", INTERRUPTED)
        case "left":
            return Failure("Left before the answer was there; it may go on.", INTERRUPTED)
