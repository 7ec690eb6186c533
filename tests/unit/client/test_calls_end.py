"""Calls that get no answer, or one that nobody can read."""

import asyncio

import pytest

from gateway.client import ConnectionLost, UnexpectedMessage, connect
from rpc_schema import system
from rpc_schema.errors import InvalidRequest
from tests.unit.client.scripted import Line, scripted


async def test_calls_end_with_the_connection() -> None:
    """Those that wait and those that come later get the close code and its meaning."""

    async def script(line: Line) -> None:
        await line.greet()
        await line.hear("a")
        await line.hear("b")
        await line.socket.close(4403, "…")

    async with scripted(script) as url, connect(url) as gw:
        results = await asyncio.gather(gw.call("a"), gw.call("b"), return_exceptions=True)
        for result in results:
            assert isinstance(result, ConnectionLost)
            assert result.code == 4403
            assert not result.is_temporary
        with pytest.raises(ConnectionLost, match="the token was revoked"):
            await gw.call("c")


async def test_a_dropped_socket_is_worth_another_try() -> None:
    """No close frame: the network, not a decision."""

    async def script(line: Line) -> None:
        await line.greet()
        await line.hear("a")
        line.socket.transport.abort()

    async with scripted(script) as url, connect(url) as gw:
        with pytest.raises(ConnectionLost) as caught:
            await gw.call("a")
        assert caught.value.code is None
        assert caught.value.is_temporary


async def test_a_gateway_that_goes_away_says_when_to_come_back() -> None:
    """`gateway.shutdown` is passed on with the end of the connection."""

    async def script(line: Line) -> None:
        await line.greet()
        await line.hear("a")
        await line.tell("gateway.shutdown", reason="restart", retryAfterMs=1500)
        await line.socket.close(1001)

    async with scripted(script) as url, connect(url) as gw:
        with pytest.raises(ConnectionLost) as caught:
            await gw.call("a")
        assert (caught.value.code, caught.value.retry_after_s) == (1001, 1.5)


async def test_an_answer_that_does_not_fit_says_so() -> None:
    """A gateway of another age is told from a bug of the caller."""

    async def script(line: Line) -> None:
        await line.greet()
        await line.answer(await line.hear("gateway.health"), {"status": "splendid"})
        await line.gone()

    async with scripted(script) as url, connect(url) as gw:
        with pytest.raises(UnexpectedMessage, match=r"gateway\.health"):
            await gw.call(system.HEALTH)


async def test_a_message_that_is_none_ends_the_connection() -> None:
    """Rather than to guess on."""

    async def script(line: Line) -> None:
        await line.greet()
        await line.hear("a")
        await line.socket.send("[]")
        await line.gone()

    async with scripted(script) as url, connect(url) as gw:
        with pytest.raises(UnexpectedMessage):
            await gw.call("a")


async def test_an_error_without_an_id_ends_every_call_that_waits() -> None:
    """Nobody can say which it was, and none may hang."""

    async def script(line: Line) -> None:
        await line.greet()
        await line.hear("deep")
        await line.say({"id": None, "error": {"code": -32600, "message": "…", "data": {"code": "invalid_request"}}})
        await line.answer(await line.hear("next"), 1)
        await line.gone()

    async with scripted(script) as url, connect(url) as gw:
        with pytest.raises(InvalidRequest):
            await gw.call("deep")
        assert await gw.call("next") == 1
