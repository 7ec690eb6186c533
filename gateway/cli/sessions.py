"""`gateway sessions`: list, search, show, export, import."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import click

from . import export, import_
from .options import Caller, calls_gateway
from .output import as_json, clean, is_terminal, one_line, print_fields, print_json, print_table, styled

_HEADER = ["KEY", "STATE", "AGENT", "MESSAGES", "ACTIVE", "TITLE"]
_MATCH_HEADER = ["KEY", "SEQ", "TYPE", "AT", "TEXT"]
_PAGE = 200
_SHOWN = {
    "key": "key",
    "title": "title",
    "state": "state",
    "agent": "agent",
    "model": "model",
    "user": "user",
    "channel": "channel",
    "messages": "messageCount",
    "input tokens": "inputTokens",
    "output tokens": "outputTokens",
    "cost in USD": "costUsd",
    "created": "createdAt",
    "last activity": "lastActivityAt",
    "ended": "endedAt",
    "end reason": "endReason",
    "expires": "expiresAt",
    "archived": "archivedAt",
}


@click.group()
def command() -> None:
    """List, search, show, export and import sessions."""


@command.command("list")
@click.option(
    "-o", "--output", type=click.Choice(["table", "json", "jsonl"]), default="table", help="For people or scripts."
)
@click.option(
    "--view",
    type=click.Choice(["active", "archived", "scheduled", "all"]),
    default="active",
    show_default=True,
    help="Which shelf.",
)
@click.option("--agent", multiple=True, help="Only of this agent; may be repeated.")
@click.option(
    "--state",
    multiple=True,
    type=click.Choice(["live", "idle", "paused", "ended"]),
    help="Only in this state; may be repeated.",
)
@click.option("--search", help="Part of key, title, agent or channel.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--all", "is_all", is_flag=True, help="All of them, whatever --limit says.")
@calls_gateway
def list_(
    caller: Caller,
    *,
    output: str,
    view: str,
    agent: tuple[str, ...],
    state: tuple[str, ...],
    search: str | None,
    limit: int,
    is_all: bool,
) -> None:
    """List sessions, pinned ones first, then the latest."""
    filters = {name: list(values) for name, values in (("agent", agent), ("state", state)) if values}
    params = {"view": view} | ({"filter": filters} if filters else {}) | ({"search": search} if search else {})
    asyncio.run(_list(caller, output, params, None if is_all else limit))


@command.command()
@click.argument("words", nargs=-1, required=True)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="For people or scripts.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="At most so many.")
@calls_gateway
def search(caller: Caller, words: tuple[str, ...], output: str, limit: int) -> None:
    """Find messages and tool calls that hold all WORDS, the newest first."""
    found = asyncio.run(_call(caller, "session.search", {"query": " ".join(words), "limit": limit}))
    matches = found["matches"]
    if output == "json":
        print_json(matches)
        return
    print_table(_MATCH_HEADER, [[m["key"], str(m["seq"]), m["type"], m["at"], m["snippet"]] for m in matches])
    if not matches:
        caller.talk("Nothing found.")
    if found.get("incomplete"):
        caller.talk("Older messages are still being indexed.")


@command.command()
@click.argument("key")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="For people or scripts.")
@click.option("--messages", type=click.IntRange(0, 200), default=6, show_default=True, help="How many of the newest.")
@calls_gateway
def show(caller: Caller, key: str, output: str, messages: int) -> None:
    """Show a session and its newest messages."""
    status = asyncio.run(_call(caller, "session.status", {"key": key, "messages": messages}))
    if output == "json":
        print_json(status)
        return
    session = status["session"]
    print_fields([(name, str(session[member])) for name, member in _SHOWN.items() if session.get(member) is not None])
    for message in status["messages"]:
        who = message.get("author") or message["type"].partition(".")[2]
        click.echo(f"\n{styled(one_line(who), bold=True)}\n{clean(message['content'])}")


command.add_command(export.command)
command.add_command(import_.command)


async def _call(caller: Caller, method: str, params: dict[str, Any]) -> dict[str, Any]:
    async with caller.connect() as gateway:
        result: dict[str, Any] = await gateway.call(method, params)
        return result


async def _list(caller: Caller, output: str, params: dict[str, Any], most: int | None) -> None:
    sessions, total = [], ""
    async with aclosing(_pages(caller, params, most)) as pages:
        async for page in pages:
            total = f"{'more than ' if page.get('totalIsLowerBound') else ''}{page['total']}"
            sessions += page["sessions"]
            for session in page["sessions"] if output == "jsonl" else ():
                click.echo(as_json(session))
    if output == "json":
        print_json(sessions)
    elif output == "table":
        now = datetime.now(UTC)
        print_table(_HEADER, [_row(session, now) for session in sessions])
    if not sessions:
        caller.talk("No sessions.")
    elif str(len(sessions)) != total:
        caller.talk(f"{len(sessions)} of {total} sessions; --all lists them all.")


async def _pages(caller: Caller, params: dict[str, Any], most: int | None) -> AsyncGenerator[dict[str, Any]]:
    """Page by page, `most` sessions in all."""
    async with caller.connect() as gateway:
        left, cursor = most, None
        while left is None or left > 0:
            limit = _PAGE if left is None else min(_PAGE, left)
            page = await gateway.call(
                "session.list", params | {"limit": limit} | ({"cursor": cursor} if cursor else {})
            )
            yield page
            cursor = page.get("nextCursor")
            if cursor is None:
                return
            left = None if left is None else left - len(page["sessions"])


def _row(session: Mapping[str, Any], now: datetime) -> list[str]:
    active = session["lastActivityAt"]
    return [
        session["key"],
        session["state"],
        session["agentName"],
        str(session["messageCount"]),
        _age(now, active) if is_terminal() else active,
        ("* " if session["pinned"] else "") + (session.get("title") or ""),
    ]


def _age(now: datetime, instant: str) -> str:
    """How long ago, in the largest unit."""
    seconds = max(0, int((now - datetime.fromisoformat(instant)).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
