"""Following a session through cuts, deaths and restarts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from gateway.client import FollowUpdate, Since, connect, follow
from rpc_schema.conversation import SEND, SendParams
from rpc_schema.errors import SessionDeleted
from rpc_schema.events import Event, MessageAssistant, TurnCompleted, TurnFailed
from rpc_schema.lifecycle import CREATE, DELETE, CreateParams, ManyParams, NewSession
from rpc_schema.notifications import ClosedParams, Delta
from tests.e2e.processes import RunningGateway, running_gateway

ECHO = NewSession(agent="echo")


class Wire:
    """A TCP relay that can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self.count = 0

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, back}
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        self._writers -= {writer, back}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def cuttable(gateway: RunningGateway) -> AsyncIterator[tuple[str, Wire]]:
    wire = Wire(gateway.port)
    async with await asyncio.start_server(wire.relay, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/rpc", wire
        wire.cut()


def text(updates: list[FollowUpdate]) -> str:
    return "".join(update.text for update in updates if isinstance(update, Delta) and update.kind == "text")


async def test_a_following_sees_every_piece_once_over_cuts_in_mid_turn(gateway: RunningGateway) -> None:
    """Three cuts while 60 words come: nothing lost, nothing twice, events in order."""
    updates: list[FollowUpdate] = []
    cut_at = [10, 25, 40]
    async with cuttable(gateway) as (url, wire), connect(gateway.url) as gw:
        session = (await gw.call(CREATE, CreateParams(agent="echo", key="cut"))).session
        await gw.call(SEND, SendParams(key="cut", content="/words 60"))
        following = follow("cut", url=url, since=Since(seq=session.head))
        async with aclosing(aiter(following)) as coming:
            async for update in coming:
                updates.append(update)
                if cut_at and len(text(updates).split()) >= cut_at[0]:
                    cut_at.pop(0)
                    wire.cut()
                if isinstance(update, TurnCompleted):
                    break
        assert wire.count == 4
    assert text(updates).split() == [f"w{n}" for n in range(1, 61)]
    seqs = [update.seq for update in updates if isinstance(update, Event)]
    assert seqs == list(range(session.head + 1, session.head + 1 + len(seqs)))
    (message,) = [update for update in updates if isinstance(update, MessageAssistant)]
    assert message.content == text(updates)


async def test_a_following_survives_the_gateways_death(tmp_path: Path) -> None:
    """Killed in mid-turn and started again: the turn has failed, and its text is the kept message's."""
    updates: list[FollowUpdate] = []
    with running_gateway(tmp_path) as gateway:
        async with connect(gateway.url) as gw:
            await gw.call(SEND, SendParams(key="k", content="/words 5000", create=ECHO))
        async with aclosing(aiter(follow("k", url=gateway.url, since=Since(seq=0)))) as coming:
            async for update in coming:
                updates.append(update)
                if len(text(updates).split()) >= 10:
                    break
            gateway.kill()
            with running_gateway(tmp_path, port=gateway.port) as again:
                async for update in coming:
                    updates.append(update)
                    if isinstance(update, TurnFailed):
                        break
                await asyncio.to_thread(again.stop)
    assert isinstance(updates[-1], TurnFailed)
    assert updates[-1].code == "gateway_restarted"
    (message,) = [update for update in updates if isinstance(update, MessageAssistant)]
    kept, seen = sorted([message.content, text(updates)], key=len)
    assert seen.startswith(kept)
    assert [event.seq for event in updates if isinstance(event, Event)] == list(range(1, updates[-1].seq + 1))


async def test_a_drained_gateway_is_followed_into_its_next_life(tmp_path: Path) -> None:
    """SIGTERM closes with 1001; the following comes back and goes on where it was."""
    with running_gateway(tmp_path) as gateway:
        async with connect(gateway.url) as gw:
            await gw.call(SEND, SendParams(key="k", content="before", create=ECHO, wait=True))
        async with aclosing(aiter(follow("k", url=gateway.url, since=Since(seq=0), deltas=False))) as coming:
            updates = [await anext(coming)]
            assert await asyncio.to_thread(gateway.stop) == 0
            with running_gateway(tmp_path, port=gateway.port) as again:
                async with connect(again.url) as gw:
                    await gw.call(SEND, SendParams(key="k", content="after"))
                async for update in coming:
                    updates.append(update)
                    if isinstance(update, MessageAssistant) and update.content == "after":
                        break
                await asyncio.to_thread(again.stop)
    seqs = [update.seq for update in updates if isinstance(update, Event)]
    assert seqs == list(range(1, len(seqs) + 1))


async def test_a_deleted_session_ends_its_following(gateway: RunningGateway) -> None:
    """The last update says why; following it again is an error."""
    async with connect(gateway.url) as gw:
        await gw.call(SEND, SendParams(key="gone", content="hello", create=ECHO, wait=True))
        updates = []
        async for update in gw.follow("gone", since=Since(seq=0)):
            updates.append(update)
            if isinstance(update, TurnCompleted):
                await gw.call(DELETE, ManyParams(key="gone"))
        assert isinstance(updates[-1], ClosedParams)
        assert updates[-1].reason == "deleted"
        with pytest.raises(SessionDeleted):
            await anext(aiter(gw.follow("gone")))
