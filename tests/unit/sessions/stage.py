"""One running turn, and everybody around it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from gateway.hub.hub import Hub, Subscription, Topic
from gateway.sessions.running import Chunk, TurnRun, rest_of
from gateway.storage.base import StoreFault
from rpc_schema import events as ev
from rpc_schema.types import FinishReason
from tests.fakes import FakeClock

TOPIC = ("default", "k")
PLENTY = 2**20
Ending = tuple[FinishReason, ev.AnyEvent]


class Stage:
    """A turn with a follower of its deltas, a log and a store of chunks."""

    def __init__(self, output_bytes: int = PLENTY) -> None:
        self.clock = FakeClock()
        self.deltas: list[dict[str, Any]] = []
        self.log: list[ev.AnyEvent] = []
        self.chunks: list[Chunk] = []
        self.is_store_broken = False
        self.refused = 0
        self.before_recorded: Callable[[], Awaitable[None]] | None = None
        hub = Hub(lambda frame: frame)
        hub.attach(Subscription("s1", TOPIC, "e", self, deltas=True, prev=0, ended=lambda: None))
        self.run = TurnRun(
            TOPIC,
            1,
            "t1",
            hub=hub,
            clock=self.clock,
            record=self.record,
            save=self.save,
            price=lambda usage: usage.output_tokens / 4,
            output_bytes=output_bytes,
        )

    def notify(self, topic: Topic, frame: bytes) -> None:
        self.deltas.append(msgspec.json.decode(frame)["params"]["delta"])

    async def drained(self) -> None:
        """Never behind."""

    async def record(self, run: TurnRun, build: Callable[[], list[ev.AnyEvent]]) -> None:
        """As `Turns` does it: nothing once sealed; a message takes the chunks away."""
        if run.ending is None:
            self.write(events := build())
            if self.before_recorded is not None:
                await self.before_recorded()
            run.recorded(events)

    def write(self, events: list[ev.AnyEvent]) -> None:
        self.log += events
        if any(isinstance(event, ev.MessageAssistant) for event in events):
            self.chunks.clear()

    def save(self, session: int, chunk: bytes) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.is_store_broken:
            self.refused += 1
            future.set_exception(StoreFault("full"))
        else:
            self.chunks.append(msgspec.json.decode(chunk, type=Chunk))
            future.set_result(None)
        return future

    def end(self, ending: Ending) -> list[ev.AnyEvent]:
        """Seal it and write the rest."""
        self.run.seal(*ending)
        self.write(rest := self.run.closing())
        return rest

    def said(self, kind: str = "text") -> str:
        """The live pieces, joined."""
        return "".join(delta["text"] for delta in self.deltas if delta["kind"] == kind)

    def logged(self) -> str:
        """The messages of the log, joined."""
        return "".join(event.content for event in self.log if isinstance(event, ev.MessageAssistant))

    def recovered(self) -> str:
        """What a restart would find."""
        return self.logged() + rest_of(self.chunks, "t1", len(self.logged()))

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for it."""
        async with asyncio.timeout(5):
            while not is_so():
                await asyncio.sleep(0)

    async def saved(self) -> None:
        """Wait until what was said is kept."""
        await self.until(lambda: len(self.recovered()) >= len(self.said()))
