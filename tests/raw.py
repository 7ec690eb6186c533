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

    async def seen(self, type: str, **fields: Any) -> Json:
        """The first event of this type with these fields, heard already or yet to come."""
        while not (found := self.events(type=type, **fields)):
            await self.hear_until(lambda message: event_of(message).get("type") == type)
        return found[0]

    async def delta(self, kind: str = "text") -> Json:
        """The next delta of this kind on any subscription."""
        message = await self.hear_until(lambda m: delta_of(m).get("kind") == kind)
        return delta_of(message)

    def events(self, *, subscription: str | None = None, **fields: Any) -> list[Json]:
        """All events heard so far, or those on one subscription, or those with these fields."""
        found = [event for message in self._on(subscription) if (event := event_of(message))]
        return [event for event in found if has(event, fields)]

    def deltas(self, kind: str = "text", *, subscription: str | None = None, **fields: Any) -> list[Json]:
        """All deltas of a kind heard so far, or those on one subscription, or those with these fields."""
        found = [delta for message in self._on(subscription) if (delta := delta_of(message))]
        return [delta for delta in found if has(delta, {"kind": kind} | fields)]

    async def up_to(self, subscription: str, seq: int) -> list[Json]:
        """The events on a subscription once the one with this seq is there."""
        while not (events := self.events(subscription=subscription)) or events[-1]["seq"] < seq:
            await self.hear()
        return events

    def check_chain(self, subscription: str, prev: int) -> None:
        """Each event on the subscription follows the one sent before it without a gap; the first comes after `prev`."""
        for params in (message["params"] for message in self._on(subscription) if event_of(message)):
            event = params["event"]
            assert params["prev"] == prev, params
            assert event["seq"] == prev + 1 or (event["type"] == "reset" and event["seq"] > prev), params
            prev = event["seq"]

    def _on(self, subscription: str | None) -> list[Json]:
        """The notifications on one subscription; without one everything heard."""
        if subscription is None:
            return self.heard
        return [m for m in self.heard if "params" in m and m["params"].get("subscription") == subscription]

    async def silence(self) -> None:
        """Make sure that nothing more is on its way: the next thing heard is the answer to a new request."""
        id = await self.ask("gateway.hello")
        message = await self.hear()
        assert message.get("id") == id, message


def event_of(message: Json) -> Json:
    """The event in a session.event notification, else {}."""
    is_event = isinstance(message, dict) and message.get("method") == "session.event"
    return message["params"]["event"] if is_event else {}


def delta_of(message: Json) -> Json:
    """The delta in a session.delta notification, else {}."""
    is_delta = isinstance(message, dict) and message.get("method") == "session.delta"
    return message["params"]["delta"] if is_delta else {}


def has(found: Json, fields: dict[str, Any]) -> bool:
    """Whether an event or a delta has these fields."""
    return all(found.get(name) == value for name, value in fields.items())


def text_of(deltas: list[Json], before: str = "") -> str:
    """What was said after the deltas, which must follow `before` and one another without a gap or a repeat."""
    for delta in deltas:
        assert delta["offset"] == len(before), delta
        before += delta["text"]
    return before


def said(events: list[Json]) -> str:
    """The contents of the agent's messages, joined."""
    return "".join(event["content"] for event in events if event["type"] == "message.assistant")


@asynccontextmanager
async def raw_client(url: str, **options: Any) -> AsyncIterator[RawClient]:
    """Connect, and close however the test ends."""
    async with connect(url, max_size=None, compression=None, **options) as socket:
        yield RawClient(socket)
