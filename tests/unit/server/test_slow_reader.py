"""A client that does not read: it slows nobody, costs a bounded amount, and is given up or catches up."""

import asyncio
import json
from typing import Any

import pytest
from websockets.frames import Opcode

from gateway.app import Gateway
from gateway.methods.system import openrpc
from gateway.server.outbox import LOW_BYTES, SILENCE_S, STALL_S, Outbox
from gateway.server.socket import STALLED_GRACE_S
from gateway.sessions.transcript import PAGE_BYTES
from rpc_schema import close_codes
from tests.raw import PATIENCE_S, RawClient, event_of, raw_client
from tests.unit.server.bare import SMALL_WINDOW, Bare, bare, until_alone
from tests.unit.server.conftest import OUTBOX_BYTES, Skip

LONG = " ".join(["word" * 2000] * 10)
TURN_BYTES = 3 * len(LONG)
"""What a follower is sent of one turn that echoes LONG: the message, its deltas, the answer."""


async def follow(client: Bare, **params: Any) -> Any:
    """Subscribe to the session and read the answer; from then on nothing is read."""
    await client.upgrade()
    client.say("session.subscribe", key="k", **params)
    return (await client.hear())["result"]


async def talk(client: RawClient, turns: int) -> None:
    """Hold some long turns in the session."""
    for _ in range(turns):
        sent = await client.call("session.send", key="k", content=LONG, create={"agent": "echo"}, wait=True)
        assert sent["finishReason"] == "stop"


async def pass_by(client: RawClient, skip: Skip, seconds: float) -> None:
    """Let time pass in steps, between which a client that is alive can show it."""
    for _ in range(round(seconds / STALL_S) + 1):
        await skip(STALL_S)
        await client.call("gateway.hello")


async def heard_until_the_end(client: Bare) -> list[tuple[Opcode, bytes]]:
    """All frames up to the Close, or to where the connection breaks off."""
    frames: list[tuple[Opcode, bytes]] = []
    try:
        while not frames or frames[-1][0] is not Opcode.CLOSE:
            frames.append(await client.frame())
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    return frames


async def test_it_slows_nobody(gateway: Gateway, skip: Skip) -> None:
    """Others hear all of it meanwhile; it is given up after STALL_S over its bound, and cut off."""
    async with raw_client(f"ws://{gateway.authority}/rpc") as lively, bare(gateway.port, window=SMALL_WINDOW) as deaf:
        await talk(lively, 1)
        await follow(deaf)
        await lively.call("session.subscribe", key="k")
        await talk(lively, 10)
        contents = [event["content"] for event in lively.events() if event["type"] == "message.assistant"]
        assert contents == [LONG] * 10
        assert "".join(delta["text"] for delta in lively.deltas()) == LONG * 10
        await pass_by(lively, skip, STALL_S + STALLED_GRACE_S)
        await until_alone(lively)
        assert sum(len(payload) for _, payload in await heard_until_the_end(deaf)) < 10 * TURN_BYTES


async def test_it_reads_on_after_it_was_given_up(gateway: Gateway, skip: Skip) -> None:
    """What it had not taken is gone, and the last it hears is why: too slow, come back and resume."""
    async with raw_client(f"ws://{gateway.authority}/rpc") as lively, bare(gateway.port, window=SMALL_WINDOW) as deaf:
        await talk(lively, 1)
        await follow(deaf)
        await talk(lively, 10)
        await skip(STALL_S + 0.1)
        *frames, (opcode, payload) = await heard_until_the_end(deaf)
        assert (opcode, int.from_bytes(payload[:2], "big")) == (Opcode.CLOSE, close_codes.TOO_SLOW)
        events = [event for _, frame in frames if (event := event_of(json.loads(frame)))]
        assert [event["seq"] for event in events] == list(range(8, 8 + len(events)))


async def test_it_reads_on_in_time(gateway: Gateway, skip: Skip) -> None:
    """It has everything, in order, and is served as before."""
    async with raw_client(f"ws://{gateway.authority}/rpc") as lively, bare(gateway.port, window=SMALL_WINDOW) as slow:
        await talk(lively, 1)
        head = (await follow(slow))["head"]
        await talk(lively, 4)
        await skip(STALL_S - 1)
        events: list[Any] = []
        texts: list[str] = []
        while len(events) < 24:
            message = await slow.hear()
            if message["method"] == "session.delta":
                texts.append(message["params"]["delta"]["text"])
            else:
                assert message["params"]["prev"] == (events[-1]["seq"] if events else head)
                events.append(message["params"]["event"])
        assert "".join(texts) == LONG * 4
        assert [event["seq"] for event in events] == list(range(head + 1, head + 25))
        slow.say("gateway.hello", id="still there?")
        assert (await slow.hear())["id"] == "still there?"


async def test_it_has_little_to_read_and_reads_nothing(gateway: Gateway, skip: Skip) -> None:
    """Under its bound it has longer, but not for ever: pings cannot be sent to it either."""
    async with raw_client(f"ws://{gateway.authority}/rpc") as lively, bare(gateway.port, window=SMALL_WINDOW) as deaf:
        await talk(lively, 1)
        await follow(deaf)
        await talk(lively, 1)
        await pass_by(lively, skip, SILENCE_S - STALL_S)
        assert (await lively.call("gateway.health"))["connections"] == 2
        await pass_by(lively, skip, STALL_S + STALLED_GRACE_S)
        await until_alone(lively)


@pytest.fixture
def most_kept(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The most bytes that ever waited in one outbox, as the only item."""
    most, put = [0], Outbox.put

    def measured(outbox: Outbox, frame: bytes) -> None:
        put(outbox, frame)
        most[0] = max(most[0], outbox._bytes)

    monkeypatch.setattr(Outbox, "put", measured)
    return most


async def test_it_asks_for_a_long_history(gateway: Gateway, most_kept: list[int]) -> None:
    """A replay goes as fast as it is read: never more than a page waits, others are served, and it arrives whole."""
    async with raw_client(f"ws://{gateway.authority}/rpc") as lively, bare(gateway.port, window=SMALL_WINDOW) as slow:
        await talk(lively, 12)
        head = (await follow(slow, since={"seq": 0}))["head"]
        async with asyncio.timeout(PATIENCE_S):
            while most_kept[0] < LOW_BYTES:
                await lively.call("gateway.health")
        seqs = [(await slow.hear())["params"]["event"]["seq"] for _ in range(head)]
        assert seqs == list(range(1, head + 1))
        assert most_kept[0] <= LOW_BYTES + PAGE_BYTES < 12 * TURN_BYTES * 2 // 3


async def test_it_asks_for_much_at_once(gateway: Gateway, most_kept: list[int]) -> None:
    """A client that only asks is not listened to while it is behind: little waits, and all answers come."""
    async with raw_client(f"ws://{gateway.authority}/rpc") as lively, bare(gateway.port, window=SMALL_WINDOW) as greedy:
        await greedy.upgrade()
        for number in range(100):
            greedy.say("rpc.discover", id=number)
        async with asyncio.timeout(PATIENCE_S):
            while most_kept[0] < LOW_BYTES:
                await lively.call("gateway.health")
        answers = [await greedy.hear() for _ in range(100)]
        assert [answer["id"] for answer in answers] == list(range(100))
        assert most_kept[0] <= LOW_BYTES + len(openrpc()) + 100


async def test_the_bound_of_this_suite() -> None:
    """One long turn is under it, two are over it."""
    assert TURN_BYTES < OUTBOX_BYTES < 2 * TURN_BYTES
    assert PATIENCE_S > STALL_S - 1
