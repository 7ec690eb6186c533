"""Sockets to a Chat Completions server: kept, shared, refused, silent, deaf."""

import asyncio
from typing import Any, cast

import pytest

from gateway.agents.base import AgentFailure
from tests.chat_completions import DONE, Exchange, chunk, in_turn, never_answer, sse, stream
from tests.openai_agent import HELLO, answer_to, failure_of, serving
from tests.recording import RecordingOutput, turn_of


async def test_one_connection_for_many_turns() -> None:
    """A stream read to its end leaves its connection for the next turn."""
    async with serving(stream(*HELLO, DONE)) as (server, agent):
        for _ in range(3):
            await agent.run(turn_of("hi"), RecordingOutput())
    assert len(server.connections) == 1


async def test_as_many_requests_as_turns() -> None:
    """No pool makes a turn wait for another, and each that is cancelled hangs up."""
    async with serving(never_answer) as (server, agent):
        tasks = [asyncio.create_task(agent.run(turn_of("hi"), RecordingOutput())) for _ in range(120)]
        while len(server.exchanges) < len(tasks):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for exchange in server.exchanges:
            await exchange.disconnected.wait()


async def test_kept_connection_that_was_closed() -> None:
    """The request goes out once more on a new connection; on a new one it is not repeated."""

    async def hang_up(exchange: Exchange) -> None:
        exchange.cut()
        await exchange.hang()

    async with serving(in_turn(stream(*HELLO, DONE), hang_up, stream(*HELLO, DONE), hang_up, hang_up)) as (
        server,
        agent,
    ):
        for _ in range(2):
            out = RecordingOutput()
            assert await agent.run(turn_of("hi"), out) == "stop"
            assert out.joined("text") == "hello world"
        assert len(server.exchanges) == 3
        with pytest.raises(AgentFailure) as caught:
            await agent.run(turn_of("hi"), RecordingOutput())
        assert len(server.exchanges) == 5
    assert caught.value.code == "agent_unavailable"


async def test_no_http() -> None:
    """Something else on the port."""

    async def script(exchange: Exchange) -> None:
        exchange.send_raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        await exchange.hang()

    failure, _ = await failure_of(script)
    assert failure.code == "agent_failed"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "http://nothing.invalid/v1"], ids=["refused", "unknown host"])
async def test_unreachable(url: str) -> None:
    """Nobody there."""
    failure, _ = await failure_of(never_answer, base_url=url)
    assert (failure.code, failure.message) == ("agent_unavailable", "The model's server cannot be reached.")


async def test_tls_with_a_server_that_has_none() -> None:
    """A wrong scheme in base_url."""
    async with serving(never_answer) as (server, _):
        failure, _ = await failure_of(never_answer, base_url=server.base_url.replace("http:", "https:"))
    assert failure.code == "agent_unavailable"


async def test_silence() -> None:
    """Before the head of the response, before the first token and after some: silence has an end."""
    for script, text in (
        (never_answer, ""),
        (stream(then="hang"), ""),
        (stream(chunk(content="so far"), then="hang"), "so far"),
    ):
        failure, out = await failure_of(script, options={"silence_s": 0.05})
        assert (failure.code, failure.message) == (
            "agent_timeout",
            "The model's server said nothing for 0.05 seconds.",
        )
        assert out.joined("text") == text


async def test_comments_are_no_silence() -> None:
    """A server that is busy may say so for as long as it likes."""

    async def script(exchange: Exchange) -> None:
        await exchange.start()
        for _ in range(10):
            await exchange.send(b": busy\n\n")
            await asyncio.sleep(0.02)
        await exchange.send(sse(*HELLO, DONE))

    out, _ = await answer_to(script, options={"silence_s": 0.15})
    assert out.joined("text") == "hello world"


async def test_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that swallows every packet."""
    monkeypatch.setattr("gateway.agents.openai.CONNECT_S", 0.05)

    async def never_connect(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never_connect)
    failure, _ = await failure_of(never_answer)
    assert (failure.code, failure.message) == (
        "agent_timeout",
        "The model's server took no connection within 0.05 seconds.",
    )


async def test_server_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that cannot be sent is silence too, and its socket is closed with what is still unsent."""
    loop = asyncio.get_running_loop()
    connect = loop.create_connection
    sockets = []
    heard: list[asyncio.Transport] = []

    async def noted(*args: Any, **kwargs: Any) -> Any:
        sockets.append(kwargs["sock"])
        return await connect(*args, **kwargs)

    class Deaf(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            heard.append(cast(asyncio.Transport, transport))
            heard[0].pause_reading()

    monkeypatch.setattr(loop, "create_connection", noted)
    server = await loop.create_server(Deaf, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    fields = {"base_url": url, "options": {"silence_s": 0.4}, "system": "x" * 10_000_000}
    async with server:
        failure, _ = await failure_of(never_answer, **fields)
        heard[0].abort()
    assert failure.code == "agent_timeout"
    assert [sock.fileno() for sock in sockets] == [-1]
