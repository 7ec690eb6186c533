"""What every kind of agent guarantees, held against each of them."""

import asyncio
import contextlib
import typing
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from msgspec import Struct

from gateway.agents.base import Agent, AgentFailure, FailureCode, Finish
from gateway.agents.kinds import build
from gateway.settings import AgentSettings
from tests.chat_completions import DONE, Exchange, Script, call_piece, chunk, never_answer, stream, usage
from tests.openai_agent import serving
from tests.recording import RecordingOutput, turn_of

STAGES = {  # where a turn is cancelled, and the call that shows it is there
    "before the first token": "generation",
    "in text": "text",
    "in reasoning": "reasoning",
    "in a tool call": "tool_input",
    "in silence": "text",
}


class Subject(Struct):
    """One agent to be tried."""

    agent: Agent
    said: Callable[[str], str]  # the message that leads to a stage, or to `everything` or `failure`
    upstream_was_asked: Callable[[], Awaitable[None]]
    upstream_is_free: Callable[[], Awaitable[None]]
    upstream_is_closed: Callable[[], Awaitable[None]]


ECHO = {
    "everything": '/think let me see\nhello world\n/tool lookup {"q": 1}',
    "failure": "so far\n/fail no luck",
    "before the first token": "/sleep 60000\nnever",
    "in text": "hello\n/sleep 60000",
    "in reasoning": "/think hm\n/sleep 60000",
    "in a tool call": "/tool lookup " + "[1, 2, 3] " * 100_000,
    "in silence": "/think hm\nhello\n/sleep 60000\nnever",
}


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[Subject]:
    async def nothing() -> None:
        """There is no upstream."""

    async with asyncio.timeout(10):
        agent = build(AgentSettings(id="a", kind="echo", options={"delay_ms": 0}))
        yield Subject(agent, lambda stage: ECHO.get(stage, stage), nothing, nothing, nothing)
        await agent.close()


OPENAI: dict[str, Script] = {
    "everything": stream(
        chunk(reasoning="let me "),
        chunk(reasoning="see"),
        chunk(content="hello "),
        chunk(content="world"),
        call_piece('{"q"', index=0, id="call_1", name="lookup"),
        call_piece(": 1}", index=0),
        chunk("tool_calls", usage=usage(3, 9)),
        DONE,
    ),
    "failure": stream(chunk(content="so far"), {"error": {"message": "no luck"}}),
    "before the first token": never_answer,
    "in text": stream(chunk(content="hello"), then="hang"),
    "in reasoning": stream(chunk(reasoning="hm"), then="hang"),
    "in a tool call": stream(call_piece("[1, 2", index=0, id="c", name="lookup"), then="hang"),
    "in silence": stream(chunk(reasoning="hm"), chunk(content="hello"), then="hang"),
}


@contextlib.asynccontextmanager
async def openai() -> AsyncIterator[Subject]:
    async def script(exchange: Exchange) -> None:
        words = (chunk(content=f"{word} ") for word in exchange.said.split())
        await OPENAI.get(exchange.said, stream(*words, chunk("stop", usage=usage(1, 1)), DONE))(exchange)

    async with serving(script) as (server, agent):

        async def was_asked() -> None:
            while not server.exchanges:
                await asyncio.sleep(0)

        async def is_free() -> None:
            for exchange in server.exchanges:
                await exchange.over.wait()

        async def is_closed() -> None:
            while not all(connection.is_closing() for connection in server.connections):
                await asyncio.sleep(0)

        yield Subject(agent, lambda stage: stage, was_asked, is_free, is_closed)


KINDS = {"echo": echo, "openai": openai}

pytestmark = pytest.mark.parametrize("kind", KINDS)


async def take(subject: Subject, content: str, **fields: Any) -> tuple[RecordingOutput, Finish]:
    out = RecordingOutput()
    return out, await subject.agent.run(turn_of(subject.said(content), **fields), out)


def outline(out: RecordingOutput) -> list[str]:
    """The names of the calls, each once where it repeats; usage may stand anywhere."""
    names = [entry[0] for entry in out.entries if entry[0] not in ("usage", "tool_result")]
    return [name for name, before in zip(names, ["", *names], strict=False) if name != before]


async def test_every_kind_is_here(kind: str) -> None:
    """What the settings allow is what this suite tries."""
    assert kind in typing.get_args(typing.get_type_hints(AgentSettings)["kind"])
    assert set(KINDS) == set(typing.get_args(typing.get_type_hints(AgentSettings)["kind"]))


async def test_labels(kind: str) -> None:
    """An agent says who it is, and what is in its way: nothing."""
    async with KINDS[kind]() as subject:
        assert (subject.agent.id, subject.agent.kind, subject.agent.provider) == ("a", kind, kind)
        assert subject.agent.model
        assert subject.agent.unavailable() is None


async def test_order(kind: str) -> None:
    """The generation first, then everything as the model gave it; usage is told."""
    async with KINDS[kind]() as subject:
        out, finish = await take(subject, "everything")
        assert finish in typing.get_args(Finish)
        assert outline(out) == ["generation", "reasoning", "text", "tool_input", "tool_call"]
        assert out.of("generation") == [(kind, subject.agent.model)]
        assert out.joined("reasoning") == "let me see"
        assert out.joined("text") == "hello world"
        assert out.of("tool_call") == [("call_1", "lookup", {"q": 1})]
        assert [shown[0] for shown in out.of("tool_input")] == ["call_1"] * 2
        assert out.joined("tool_input") == '{"q": 1}'
        assert min(out.last_usage[:2]) > 0


async def test_model_of_the_turn(kind: str) -> None:
    """A turn's own model counts."""
    async with KINDS[kind]() as subject:
        out, _ = await take(subject, "everything", model="another")
        assert out.of("generation") == [(kind, "another")]


async def test_one_end(kind: str) -> None:
    """A failure is an AgentFailure fit for users; what was said before stays, and nothing comes after an end."""
    async with KINDS[kind]() as subject:
        out = RecordingOutput()
        with pytest.raises(AgentFailure) as caught:
            await subject.agent.run(turn_of(subject.said("failure")), out)
        assert caught.value.code in typing.get_args(FailureCode)
        assert "no luck" in caught.value.message
        assert out.joined("text") == "so far"
        good, _ = await take(subject, "everything")
        told = [*out.entries], [*good.entries]
        await subject.upstream_is_free()
        assert (out.entries, good.entries) == told


@pytest.mark.parametrize("stage", STAGES)
async def test_cancelled(kind: str, stage: str) -> None:
    """Wherever it happens, the turn is over at once, upstream is let go, and the agent serves the next."""
    async with KINDS[kind]() as subject:
        out = RecordingOutput()
        task = asyncio.create_task(subject.agent.run(turn_of(subject.said(stage)), out))
        await out.until(STAGES[stage])
        await subject.upstream_was_asked()
        task.cancel()
        async with asyncio.timeout(1):
            with pytest.raises(asyncio.CancelledError):
                await task
            told = [*out.entries]
            await subject.upstream_is_free()
        assert out.entries == told
        assert out.of("tool_call") == []
        next_out, _ = await take(subject, "everything")
        assert next_out.joined("text") == "hello world"


async def test_cancelled_at_any_await(kind: str) -> None:
    """However far a turn has come, cancelling ends it and leaves nothing behind."""
    async with KINDS[kind]() as subject:
        is_done = False
        steps = 0
        while not is_done:
            task = asyncio.create_task(take(subject, "everything"))
            for _ in range(steps):
                await asyncio.sleep(0)
            is_done = task.done()
            task.cancel()
            await asyncio.wait([task])
            assert is_done or task.cancelled() or task.exception() is None
            steps += 1
        await subject.upstream_is_free()


async def test_same_turn_twice(kind: str) -> None:
    """Nothing is kept between turns."""
    async with KINDS[kind]() as subject:
        first, _ = await take(subject, "everything")
        second, _ = await take(subject, "everything")
        assert first.entries == second.entries


async def test_many_turns_at_once(kind: str) -> None:
    """One agent serves many sessions; each gets its own answer, also when others are cancelled."""
    async with KINDS[kind]() as subject:
        outs = {f"turn {n} of many": RecordingOutput() for n in range(150)}
        tasks = [asyncio.create_task(subject.agent.run(turn_of(content), out)) for content, out in outs.items()]
        await outs["turn 0 of many"].until("generation")
        for task in tasks[1::3]:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        for n, (end, (content, out)) in enumerate(zip(ends, outs.items(), strict=True)):
            if n % 3 == 1:
                assert isinstance(end, asyncio.CancelledError)
            else:
                assert (end, out.joined("text").strip()) == ("stop", content)


async def test_closed(kind: str) -> None:
    """No connection outlives close, which may come before the first turn, after the last, or twice."""
    async with KINDS[kind]() as subject:
        await subject.agent.close()
        await take(subject, "everything")
        await subject.agent.close()
        async with asyncio.timeout(1):
            await subject.upstream_is_closed()
        await subject.agent.close()
