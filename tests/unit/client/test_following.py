"""Following over any number of connections."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from gateway.client import ConnectionLost, Following, GatewayUnreachable, LogReplaced, Since, connect, follow
from gateway.client.reconnecting import Backoff
from rpc_schema.errors import SessionNotFound
from rpc_schema.events import MessageAssistant, MessageSystem, TurnCompleted, TurnStarted
from rpc_schema.notifications import ClosedParams, Delta
from tests.unit.client.scripted import Line, scripted

SAID: dict[str, Any] = {"finishReason": "stop", "partial": False}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Come back without waiting."""
    monkeypatch.setattr("gateway.client.reconnecting.Backoff", lambda: Backoff(first_s=0, most_s=0))


async def gather(following: Following) -> list[object]:
    return [update async for update in following]


def text(updates: list[object]) -> str:
    return "".join(update.text for update in updates if isinstance(update, Delta) and update.kind == "text")


def test_waits_double_up_to_ten_seconds_with_full_jitter() -> None:
    """So that a thousand clients do not come back at once; a good connection forgives."""
    backoff = Backoff(draw=lambda: 0.5)
    assert [backoff.next_s() for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    backoff.held_for(1)
    assert backoff.next_s() == 5.0
    backoff.held_for(11)
    assert backoff.next_s() == 0.1


async def test_a_drop_in_the_middle_of_a_turn_loses_and_repeats_nothing() -> None:
    """Resumed by epoch and seq; the answer's text is cut to what is new."""

    async def first(line: Line) -> None:
        await line.greet()
        await line.subscribed()
        await line.event(2, "turn.started", turn="t1", model="m")
        await line.delta(0, "hel")
        await line.socket.close(1001)

    async def second(line: Line) -> None:
        await line.greet()
        running = {"id": "t1", "state": "running", "text": "hello wo", "reasoning": "", "offset": 8}
        heard = await line.subscribed(head=2, turn=running)
        assert heard.params["since"] == {"seq": 2, "epoch": "e1"}
        await line.delta(6, "wor")
        line.socket.transport.abort()

    async def third(line: Line) -> None:
        await line.greet()
        heard = await line.subscribed(head=4, replay={"from": 3, "to": 4, "complete": True})
        assert heard.params["since"] == {"seq": 2, "epoch": "e1"}
        await line.event(3, "message.assistant", turn="t1", content="hello world", **SAID)
        await line.event(4, "turn.completed", turn="t1")
        await line.closed("deleted")
        await line.left()

    async with scripted(first, second, third) as url:
        following = follow("k", url=url)
        updates = await gather(following)
    assert text(updates) == "hello world"
    events = [update for update in updates if not isinstance(update, Delta)]
    assert [type(event) for event in events] == [TurnStarted, MessageAssistant, TurnCompleted, ClosedParams]
    assert following.since == Since(seq=4, epoch="e1")


async def test_a_turn_under_way_is_placed_by_its_history() -> None:
    """Started in mid-turn, in its second message, and dropped: the history says where that one began."""

    async def first(line: Line) -> None:
        await line.greet()
        await line.subscribed(
            head=5, turn={"id": "t1", "state": "running", "text": "one tw", "reasoning": "", "offset": 6}
        )
        history = await line.hear("session.history")
        assert history.params["before"] == 6
        events = [
            {"seq": 2, "at": "…", "type": "message.assistant", "turn": "t0", "content": "before", **SAID},
            {"seq": 5, "at": "…", "type": "message.assistant", "turn": "t1", "content": "one ", **SAID},
        ]
        await line.answer(history, {"events": events, "hasMore": False, "head": 5, "epoch": "e1"})
        await line.delta(6, "o")
        await line.socket.close(1001)

    async def second(line: Line) -> None:
        await line.greet()
        await line.subscribed(head=6, replay={"from": 6, "to": 6, "complete": True})
        await line.event(6, "message.assistant", turn="t1", content="two!", **SAID)
        await line.closed("deleted")
        await line.left()

    async with scripted(first, second) as url:
        assert text(await gather(follow("k", url=url))) == "one two!"


async def test_another_log_is_announced() -> None:
    """A restored backup: drop what you have, what follows comes after its head."""

    async def script(line: Line) -> None:
        await line.greet()
        await line.subscribed(head=7, epoch="e2", replay={"from": 8, "to": 7, "complete": False})
        await line.closed("deleted")
        await line.left()

    async with scripted(script) as url:
        replaced, _ = await gather(follow("k", url=url, since=Since(seq=20, epoch="e0")))
    assert replaced == LogReplaced(epoch="e2", head=7)


async def test_a_subscription_that_the_gateway_gives_up_is_resumed() -> None:
    """`lagged` is no reason to stop following."""

    async def first(line: Line) -> None:
        await line.greet()
        await line.subscribed()
        await line.event(2, "message.system", content="x")
        await line.closed("lagged", resumable=True)
        await line.left()

    async def second(line: Line) -> None:
        await line.greet()
        heard = await line.subscribed(head=3, replay={"from": 3, "to": 3, "complete": True})
        assert heard.params["since"]["seq"] == 2
        await line.event(3, "message.system", content="y")
        await line.closed("deleted")
        await line.left()

    async with scripted(first, second) as url:
        *events, _ = await gather(follow("k", url=url, deltas=False))
    assert [event.content for event in events if isinstance(event, MessageSystem)] == ["x", "y"]


async def test_a_hole_in_the_text_is_mended() -> None:
    """A piece that does not join on makes it come back for the text so far."""

    async def first(line: Line) -> None:
        await line.greet()
        await line.subscribed()
        await line.event(2, "turn.started", turn="t1", model="m")
        await line.delta(3, "lo")
        await line.left()

    async def second(line: Line) -> None:
        await line.greet()
        running = {"id": "t1", "state": "running", "text": "hello", "reasoning": "", "offset": 5}
        await line.subscribed(head=2, turn=running)
        await line.closed("deleted")
        await line.left()

    async with scripted(first, second) as url:
        assert text(await gather(follow("k", url=url))) == "hello"


async def test_a_gateway_that_is_busy_is_asked_again() -> None:
    """A retryable error is not the end."""

    async def first(line: Line) -> None:
        await line.greet()
        heard = await line.hear("session.subscribe")
        await line.refuse(heard, 503, "store_unavailable")
        await line.gone()

    async def second(line: Line) -> None:
        await line.greet()
        await line.subscribed()
        await line.closed("deleted")
        await line.left()

    async with scripted(first, second) as url:
        assert len(await gather(follow("k", url=url))) == 1


async def test_what_another_try_cannot_help_is_raised() -> None:
    """An unknown session, a revoked token."""

    async def unknown(line: Line) -> None:
        await line.greet()
        await line.refuse(await line.hear("session.subscribe"), 404, "session_not_found")
        await line.gone()

    async def revoked(line: Line) -> None:
        await line.greet()
        await line.subscribed()
        await line.socket.close(4403)

    async with scripted(unknown, revoked) as url:
        with pytest.raises(SessionNotFound):
            await gather(follow("k", url=url))
        with pytest.raises(ConnectionLost):
            await gather(follow("k", url=url))


async def test_the_first_connection_must_succeed() -> None:
    """A wrong address is an error at once, not silence for ever."""
    with pytest.raises(GatewayUnreachable):
        await gather(follow("k", url="ws://127.0.0.1:1/rpc"))


async def test_iterating_again_goes_on() -> None:
    """After the last event that was given, not the last that had come."""

    async def first(line: Line) -> None:
        await line.greet()
        await line.subscribed()
        for seq in range(2, 10):
            await line.event(seq, "message.system", content="x")
        await line.left()

    async def second(line: Line) -> None:
        await line.greet()
        heard = await line.subscribed(head=9, replay={"from": 4, "to": 9, "complete": True})
        assert heard.params["since"] == {"seq": 3, "epoch": "e1"}
        await line.closed("deleted")
        await line.left()

    async with scripted(first, second) as url:
        following = follow("k", url=url)
        async with aclosing(aiter(following)) as updates:
            await anext(updates)
            await anext(updates)
        assert following.since == Since(seq=3, epoch="e1")
        assert len(await gather(following)) == 1


async def test_leaving_closes_the_connection() -> None:
    """Also from the middle of a turn."""
    gone = asyncio.Event()

    async def script(line: Line) -> None:
        await line.greet()
        await line.subscribed()
        await line.event(2, "message.system", content="x")
        await line.left()
        gone.set()

    async with scripted(script) as url:
        async with aclosing(aiter(follow("k", url=url))) as updates:
            await anext(updates)
        await gone.wait()


async def test_a_client_follows_over_connections_of_its_own() -> None:
    """With the address and the token of its own connection."""

    async def caller(line: Line) -> None:
        await line.greet()
        await line.gone()

    async def follower(line: Line) -> None:
        assert line.socket.request is not None
        assert line.socket.request.headers["Authorization"] == "Bearer t"
        await line.greet()
        await line.subscribed()
        await line.closed("deleted")
        await line.left()

    async with scripted(caller, follower) as url, connect(url, token="t") as gw:
        assert len(await gather(gw.follow("k"))) == 1
