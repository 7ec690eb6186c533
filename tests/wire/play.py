"""Plays a golden script against a gateway of its own, on a real socket, and writes down what was said."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct
from websockets.exceptions import ConnectionClosed

from gateway.app import Gateway, running
from gateway.config import load
from tests.fakes import FakeClock
from tests.raw import PATIENCE_S, RawClient, raw_client
from tests.wire import script as steps
from tests.wire.pattern import Mismatch, Names, match, match_unordered
from tests.wire.script import Script, Step

AGENT = '[[agents]]\nid = "{}"\nkind = "echo"\noptions = {{ delay_ms = 0 }}\n'
PROBE = "is there anything else?"


class Frame(Struct, frozen=True):
    """One text frame; a new connection is a frame of its own, without text."""

    by: Literal["client", "gateway", "connection"]
    text: str = ""


class Recording(Struct):
    """All frames of a script in their order, and why it failed, if it did."""

    frames: list[Frame]
    failure: str | None = None


async def play(script: Script, folder: Path) -> Recording:
    """Run the script to its end or to the first line that is not kept; then nothing may be left over."""
    recording = Recording([])
    config = folder / "gateway.toml"
    config.write_text("".join(AGENT.format(id) for id in ("echo", *script.agents)))
    flags = {"server.port": 0, "server.data_dir": str(folder / "data")} | script.settings
    async with _Player(recording) as player:
        await player.start(load(config, {}, flags).settings)
        line = 0
        try:
            for line, step in script.steps:  # noqa: B007 - it is needed where one fails
                await player.perform(step)
            await player.leave()
        except (Mismatch, ConnectionClosed, TimeoutError) as error:
            recording.failure = f"line {line}: {str(error) or 'nothing was heard'}"
    return recording


class _Player:
    """A gateway, one client of it, and the names that the script has given."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._names: Names = {}
        self._clock = FakeClock()
        self._of_gateway, self._of_client = AsyncExitStack(), AsyncExitStack()
        self._gateway: Gateway
        self._client: RawClient
        self._is_open = False

    async def __aenter__(self) -> "_Player":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._of_client.aclose()
        await self._of_gateway.aclose()

    async def start(self, settings: Any) -> None:
        """Bring the gateway up and connect."""
        self._gateway = await self._of_gateway.enter_async_context(running(settings, self._clock))
        await self._connect()

    async def perform(self, step: Step) -> None:
        """Do one step, or fail."""
        match step:
            case steps.Say():
                await self._say(step.frame(self._names))
            case steps.SayBytes(payload, is_text):
                await self._client.socket.send(payload, text=is_text)
            case steps.Hear((pattern,)):
                self._names = match(pattern, await self._hear(), self._names)
            case steps.Hear(patterns):
                heard = [await self._hear() for _ in patterns]
                self._names = match_unordered(patterns, heard, self._names)
            case steps.Silence():
                await self._silence()
            case steps.Closed(code):
                await self._see_closed(code)
            case steps.Later(minutes):
                self._clock.advance(minutes=minutes)
            case steps.Do("reconnect"):
                await self._of_client.aclose()
                await self._connect()
            case steps.Do("drain"):
                await self._gateway.drain(0)
            case steps.Do():
                await self._of_gateway.aclose()

    async def leave(self) -> None:
        """Make sure that the script said all that there is to hear."""
        if self._is_open:
            await self._silence()

    async def _connect(self) -> None:
        self._client = await self._of_client.enter_async_context(raw_client(f"ws://{self._gateway.authority}/rpc"))
        self._recording.frames.append(Frame("connection"))
        self._is_open = True

    async def _say(self, text: str) -> None:
        self._recording.frames.append(Frame("client", text))
        await self._client.socket.send(text)

    async def _hear(self) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            text = await self._client.socket.recv()
        assert isinstance(text, str), "the gateway sends text frames only"
        self._recording.frames.append(Frame("gateway", text))
        return strict(text)

    async def _silence(self) -> None:
        await self._say(json.dumps({"jsonrpc": "2.0", "id": PROBE, "method": "gateway.health"}))
        heard = await self._hear()
        if not isinstance(heard, dict) or heard.get("id") != PROBE:
            raise Mismatch("$", "silence", heard)

    async def _see_closed(self, code: int) -> None:
        self._is_open = False
        try:
            heard = await self._hear()
        except ConnectionClosed as closed:
            heard = closed.rcvd.code if closed.rcvd is not None else "nothing"
        if heard != code:
            raise Mismatch("$", f"close {code}", heard)


def strict(text: str) -> Any:
    """JSON as the standard has it: no NaN, no member twice."""

    def refuse(word: str) -> Any:
        raise Mismatch("$", "JSON", word)

    def once(members: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in members]
        if len(set(names)) != len(names):
            raise Mismatch("$", "each member once", names)
        return dict(members)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=once)
