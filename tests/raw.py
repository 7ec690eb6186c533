"""A client that knows JSON and frames and nothing else: what a stranger would write."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

PATIENCE_S = 5.0
Json = Any


class RawClient:
    """One connection; keeps everything it hears in `heard`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.heard: list[Json] = []
        self._last_id = 0

    async def say(self, message: Json) -> None:
        """Send a message; text goes as it is."""
        await self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def ask(self, method: str, **params: Any) -> int:
        """Send a request and return its id."""
        self._last_id += 1
        await self.say({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        return self._last_id

    async def hear(self) -> Json:
        """The next message."""
        async with asyncio.timeout(PATIENCE_S):
            message = json.loads(await self.socket.recv())
        self.heard.append(message)
        return message

    async def hear_until(self, is_it: Callable[[Json], bool]) -> Json:
        """The first message of which this is true."""
        while not is_it(message := await self.hear()):
            pass
        return message

    async def answer(self, id: int) -> Json:
        """The answer to a request, whatever comes before it."""
        return await self.hear_until(lambda message: isinstance(message, dict) and message.get("id") == id)

    async def call(self, method: str, **params: Any) -> Json:
        """The result of a call; an error fails the test."""
        answer = await self.answer(await self.ask(method, **params))
        assert "result" in answer, answer
        return answer["result"]

    async def fail(self, method: str, **params: Any) -> Json:
        """The error of a call; a result fails the test."""
        answer = await self.answer(await self.ask(method, **params))
        assert "error" in answer, answer
        return answer["error"]

    async def event(self, type: str) -> Json:
        """The next event of this type on any subscription."""
        message = await self.hear_until(lambda m: event_of(m).get("type") == type)
        return event_of(message)

    def events(self) -> list[Json]:
        """All events heard so far."""
        return [event for message in self.heard if (event := event_of(message))]

    def deltas(self, kind: str = "text") -> list[Json]:
        """All deltas heard so far."""
        found = [m["params"]["delta"] for m in self.heard if m.get("method") == "session.delta"]
        return [delta for delta in found if delta["kind"] == kind]

    async def silence(self) -> None:
        """Make sure that nothing more is on its way: the next thing heard is the answer to a new request."""
        id = await self.ask("gateway.hello")
        message = await self.hear()
        assert message.get("id") == id, message


def event_of(message: Json) -> Json:
    """The event in a session.event notification, else {}."""
    is_event = isinstance(message, dict) and message.get("method") == "session.event"
    return message["params"]["event"] if is_event else {}


@asynccontextmanager
async def raw_client(url: str, **options: Any) -> AsyncIterator[RawClient]:
    """Connect, and close however the test ends."""
    async with connect(url, max_size=None, compression=None, **options) as socket:
        yield RawClient(socket)
