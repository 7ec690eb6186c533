"""Calls that many stories make, on the session KEY unless they name another."""

from typing import Any

from tests.raw import Json, RawClient

KEY = "agent:echo:web:life"


async def create(client: RawClient, key: str = KEY, **params: Any) -> Json:
    """Make a session and return it."""
    return (await client.call("session.create", key=key, agent="echo", **params))["session"]


async def status(client: RawClient, key: str = KEY) -> Json:
    """Everything about a session."""
    return await client.call("session.status", key=key)


async def update(client: RawClient, **params: Any) -> Json:
    """Change a session and return it."""
    return (await client.call("session.update", key=KEY, **params))["session"]


async def say(client: RawClient, content: str = "hello", key: str = KEY) -> Json:
    """Send and wait for the answer."""
    return await client.call("session.send", key=key, content=content, wait=True)


async def log_of(client: RawClient, key: str = KEY) -> list[Json]:
    """The newest 500 events."""
    return (await client.call("session.history", key=key, limit=500))["events"]


async def code_of(client: RawClient, method: str, **params: Any) -> tuple[int, str]:
    """The number and the word of an error."""
    error = await client.fail(method, **params)
    return error["code"], error["data"]["code"]


async def words(client: RawClient, kind: str = "text", **fields: Any) -> None:
    """Wait until a running turn has said something, heard already or yet to come."""
    while not client.deltas(kind, **fields):
        await client.hear()
