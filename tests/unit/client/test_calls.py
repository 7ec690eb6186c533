"""Calls over one connection: answers, errors, time, taking back."""

import asyncio
from typing import Any

import pytest

from gateway.client import connect
from rpc_schema import agents, lifecycle, system
from rpc_schema.errors import AgentNotFound, Overloaded, RequestTooBig, SessionNotFound, UnknownError
from tests.unit.client.scripted import HEALTH, SESSION, Line, scripted


async def test_a_descriptor_gives_its_result_typed() -> None:
    """Structs in, structs out."""

    async def script(line: Line) -> None:
        hello = await line.greet()
        assert hello.params["client"]["name"] == "tests"
        await line.answer(await line.hear("gateway.health"), HEALTH)
        create = await line.hear("session.create")
        assert create.params["agent"] == "echo"
        await line.answer(create, {"session": SESSION})
        await line.gone()

    async with scripted(script) as url, connect(url, client="tests") as gw:
        assert gw.hello.server.name == "scripted"
        health = await gw.call(system.HEALTH)
        assert health.peak_connections == 1
        created = await gw.call(lifecycle.CREATE, lifecycle.CreateParams(agent="echo"))
        assert created.session.key == "k"


async def test_a_name_gives_plain_json() -> None:
    """Any method of any gateway can be called, also one that this client does not know."""

    async def script(line: Line) -> None:
        await line.greet()
        heard = await line.hear("new.method")
        assert heard.params == {"a": [1, None]}
        await line.answer(heard, {"b": None})
        await line.say({"id": (await line.hear("new.other")).id, "result": None})
        await line.gone()

    async with scripted(script) as url, connect(url) as gw:
        assert await gw.call("new.method", {"a": [1, None]}) == {"b": None}
        assert await gw.call("new.other") is None


async def test_answers_find_their_calls_in_any_order() -> None:
    """Many tasks share one connection."""

    async def script(line: Line) -> None:
        await line.greet()
        heard = [await line.hear("echo") for _ in range(20)]
        for call in reversed(heard):
            await line.answer(call, call.params)
        await line.gone()

    async with scripted(script) as url, connect(url) as gw:
        answers = await asyncio.gather(*(gw.call("echo", {"n": n}) for n in range(20)))
        assert answers == [{"n": n} for n in range(20)]


async def test_an_error_is_raised_as_the_class_of_its_code() -> None:
    """With the typed members of its data and the gateway's sentence; an unknown code keeps its number, too."""

    async def script(line: Line) -> None:
        await line.greet()
        await line.refuse(await line.hear("agent.get"), 404, "agent_not_found", agent="nobody")
        await line.refuse(await line.hear("session.status"), 404, "session_not_found")
        await line.refuse(await line.hear("x"), 418, "teapot", retryable=True)
        await line.gone()

    async with scripted(script) as url, connect(url) as gw:
        with pytest.raises(AgentNotFound, match="…") as not_found:
            await gw.call(agents.GET, agents.GetParams(agent="nobody"))
        assert not_found.value.agent == "nobody"
        with pytest.raises(SessionNotFound):
            await gw.call("session.status", {"key": "k"})
        with pytest.raises(UnknownError) as caught:
            await gw.call("x")
        assert (caught.value.number, caught.value.code, caught.value.retryable) == (418, "teapot", True)


async def test_cancelling_a_call_takes_it_back_and_keeps_the_connection() -> None:
    """`$/cancelRequest` names the request; its late answer disturbs nobody."""
    asked, taken_back = asyncio.Event(), asyncio.Event()

    async def script(line: Line) -> None:
        await line.greet()
        slow = await line.hear("slow")
        asked.set()
        cancel = await line.hear("$/cancelRequest")
        assert (cancel.id, cancel.params) == (None, {"id": slow.id})
        taken_back.set()
        await line.refuse(slow, -32800, "cancelled")
        await line.answer(await line.hear("next"), 1)
        await line.gone()

    async with scripted(script) as url, connect(url) as gw:
        call = asyncio.create_task(gw.call("slow"))
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await taken_back.wait()
        assert await gw.call("next") == 1


async def test_a_call_past_its_timeout_is_taken_back() -> None:
    """TimeoutError, and the connection lives on."""
    taken_back = asyncio.Event()

    async def script(line: Line) -> None:
        await line.greet()
        slow = await line.hear("slow")
        await line.hear("$/cancelRequest")
        taken_back.set()
        await line.answer(slow, "late")
        await line.answer(await line.hear("next"), 1)
        await line.gone()

    async with scripted(script) as url, connect(url) as gw:
        with pytest.raises(TimeoutError):
            await gw.call("slow", timeout=0.01)
        await taken_back.wait()
        assert await gw.call("next", timeout=10) == 1


@pytest.mark.parametrize("made", [{"subscription": "s7"}, {"subscription": {"id": "s7", "epoch": "e", "head": 1}}])
async def test_a_subscription_that_a_cancelled_call_made_after_all_is_left(made: dict[str, Any]) -> None:
    """Nobody holds it, so the client unsubscribes by itself."""
    asked, left = asyncio.Event(), asyncio.Event()

    async def script(line: Line) -> None:
        await line.greet()
        heard = await line.hear("session.subscribe")
        asked.set()
        await line.hear("$/cancelRequest")
        await line.answer(heard, made)
        leave = await line.hear("session.unsubscribe")
        assert leave.params["subscription"] == "s7"
        await line.answer(leave, {"closed": True})
        left.set()
        await line.gone()

    async with scripted(script) as url, connect(url) as gw:
        call = asyncio.create_task(gw.call("session.subscribe", {"key": "k"}))
        await asked.wait()
        call.cancel()
        await left.wait()


async def test_a_message_over_the_limit_is_not_sent() -> None:
    """It would cost the connection; the limit is known from gateway.hello."""

    async def script(line: Line) -> None:
        await line.greet()
        await line.answer(await line.hear("next"), 1)
        await line.gone()

    async with scripted(script) as url, connect(url) as gw:
        with pytest.raises(RequestTooBig):
            await gw.call("big", {"x": "x" * 1048576})
        assert await gw.call("next") == 1


async def test_a_call_without_a_place_is_asked_again() -> None:
    """`overloaded` means that it never began."""

    async def script(line: Line) -> None:
        await line.greet()
        for _ in range(3):
            await line.refuse(await line.hear("x"), -32001, "overloaded", retryAfterMs=1)
        await line.answer(await line.hear("x"), "at last")
        await line.refuse(await line.hear("y"), -32001, "overloaded", retryAfterMs=60_000)
        await line.gone()

    async with scripted(script) as url, connect(url) as gw:
        assert await gw.call("x") == "at last"
        with pytest.raises(Overloaded):
            await gw.call("y")


async def test_a_bulk_call_gives_a_result_for_each_key() -> None:
    """`keys` instead of `key` is answered by BulkResult."""
    items = [{"key": "a", "ok": True, "result": {"deleted": True}}, {"key": "b", "ok": False, "error": {}}]

    async def script(line: Line) -> None:
        await line.greet()
        heard = await line.hear("session.delete")
        assert heard.params == {"keys": ["a", "b"]}
        await line.answer(heard, {"results": items, "succeeded": 1, "failed": 1})
        await line.gone()

    async with scripted(script) as url, connect(url) as gw:
        done = await gw.call_many(lifecycle.DELETE, lifecycle.ManyParams(keys=["a", "b"]))
        assert [item.ok for item in done.results] == [True, False]
