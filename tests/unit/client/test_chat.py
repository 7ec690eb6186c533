"""A message and its answer."""

import asyncio
from typing import Any

import pytest

from gateway.client import ConnectionLost, SubscriptionClosed, connect
from rpc_schema.errors import SessionNotFound
from rpc_schema.events import MessageSystem, TurnCompleted, TurnFailed
from rpc_schema.notifications import Delta
from tests.unit.client.scripted import SESSION_STATUS, Heard, Line, scripted

SENT = {
    "turn": "t1",
    "seq": 2,
    "state": "running",
    "subscription": {"id": "s1", "epoch": "e1", "head": 1},
    "sessionStatus": SESSION_STATUS,
}


async def sent(line: Line, **members: Any) -> Heard:
    heard = await line.hear("session.send")
    await line.answer(heard, SENT | members)
    return heard


async def test_a_message_to_an_agent_is_answered_piece_by_piece() -> None:
    """Text, reasoning and events of its turn, the session's own events, then the end."""

    async def script(line: Line) -> None:
        await line.greet()
        heard = await sent(line)
        assert heard.params["create"]["agent"] == "echo"
        assert heard.params["content"] == "Hello"
        assert heard.params["subscribe"] is True
        await line.event(2, "message.user", turn="t1", content="Hello")
        await line.event(3, "turn.started", turn="t1", model="m")
        await line.delta(0, "hmm", kind="reasoning")
        await line.delta(0, "Hel")
        await line.delta(3, "lo")
        await line.event(4, "message.system", content="by the way")
        await line.event(5, "message.assistant", turn="t1", content="Hello", finishReason="stop", partial=False)
        await line.event(6, "turn.completed", turn="t1")
        await line.left()

    async with scripted(script) as url, connect(url) as gw:
        chat = gw.chat("echo", "Hello")
        assert chat.key.startswith("chat:")
        updates = [update async for update in chat]
        assert chat.sent is not None
        assert chat.sent.turn == "t1"
        assert "".join(u.text for u in updates if isinstance(u, Delta) and u.kind == "text") == "Hello"
        assert any(isinstance(update, MessageSystem) for update in updates)
        assert isinstance(updates[-1], TurnCompleted)


async def test_a_message_to_a_session_that_must_exist() -> None:
    """Without an agent nothing is made; the refusal is raised."""

    async def script(line: Line) -> None:
        await line.greet()
        heard = await line.hear("session.send")
        assert heard.params["key"] == "mine"
        assert "create" not in heard.params
        await line.refuse(heard, 404, "session_not_found")
        await line.gone()

    async with scripted(script) as url, connect(url) as gw:
        with pytest.raises(SessionNotFound):
            async for _ in gw.chat(None, "Hello", key="mine"):
                pass
        with pytest.raises(ValueError, match="which agent"):
            gw.chat(None, "Hello")


async def test_a_failed_turn_is_an_update() -> None:
    """Something to show, with its code, not an exception."""

    async def script(line: Line) -> None:
        await line.greet()
        await sent(line)
        await line.event(2, "turn.failed", turn="t1", code="agent_timeout", message="It took too long.")
        await line.left()

    async with scripted(script) as url, connect(url) as gw:
        (update,) = [update async for update in gw.chat("echo", "Hello")]
        assert isinstance(update, TurnFailed)


async def test_other_turns_of_the_session_are_not_shown() -> None:
    """A queued message waits for its own turn to end, not for the one before it."""

    async def script(line: Line) -> None:
        await line.greet()
        await sent(line, turn="t2", state="queued", position=1)
        await line.delta(0, "other", turn="t1")
        await line.event(2, "turn.completed", turn="t1")
        await line.delta(0, "mine", turn="t2")
        await line.event(3, "turn.completed", turn="t2")
        await line.left()

    async with scripted(script) as url, connect(url) as gw:
        delta, end = [update async for update in gw.chat("echo", "Hello")]
        assert isinstance(delta, Delta)
        assert (delta.turn, end.turn) == ("t2", "t2")


async def test_stopping_names_the_turn() -> None:
    """Never a later one."""

    async def script(line: Line) -> None:
        await line.greet()
        await sent(line)
        await line.delta(0, "Hel")
        stop = await line.hear("session.stop")
        assert stop.params == {"key": "k", "turn": "t1"}
        await line.answer(stop, {"stopped": True, "turn": "t1"})
        await line.event(2, "turn.stopped", turn="t1", by="local", reason="stopped")
        await line.left()

    async with scripted(script) as url, connect(url) as gw:
        chat = gw.chat("echo", "Hello", key="k")
        assert not await chat.stop()
        async for update in chat:
            if isinstance(update, Delta):
                assert await chat.stop()


async def test_a_chat_whose_session_is_deleted() -> None:
    """It cannot end well, so it says why it ended."""

    async def script(line: Line) -> None:
        await line.greet()
        await sent(line)
        await line.closed("deleted")
        await line.left()

    async with scripted(script) as url, connect(url) as gw:
        with pytest.raises(SubscriptionClosed, match="deleted"):
            async for _ in gw.chat("echo", "Hello"):
                pass


async def test_a_chat_whose_connection_drops() -> None:
    """The turn runs on; whoever listens knows that this is not its end."""

    async def script(line: Line) -> None:
        await line.greet()
        await sent(line)
        await line.delta(0, "Hel")
        await line.socket.close(1001)

    async with scripted(script) as url, connect(url) as gw:
        updates = []
        with pytest.raises(ConnectionLost):
            async for update in gw.chat("echo", "Hello"):
                updates.append(update)
        assert len(updates) == 1


async def test_leaving_early_leaves_the_turn_alone() -> None:
    """It unsubscribes, and does not stop."""
    left = asyncio.Event()

    async def script(line: Line) -> None:
        await line.greet()
        await sent(line)
        await line.delta(0, "Hel")
        await line.answer(await line.hear("session.unsubscribe"), {"closed": True})
        left.set()
        await line.gone()

    async with scripted(script) as url, connect(url) as gw:
        async for _ in gw.chat("echo", "Hello"):
            break
        await left.wait()
