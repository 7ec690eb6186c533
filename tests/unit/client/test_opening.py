"""Connecting: addresses, credentials, and why it did not work."""

import asyncio
import socket
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from gateway.client import ConnectionLost, GatewayRefused, GatewayUnreachable, Unauthenticated, connect
from gateway.client.opening import address
from tests.unit.client.scripted import Line, scripted


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("ws://127.0.0.1:8765/rpc", "ws://127.0.0.1:8765/rpc"),
        ("http://127.0.0.1:8765/", "ws://127.0.0.1:8765/rpc"),
        ("https://gw.example.org", "wss://gw.example.org/rpc"),
        ("wss://example.org/gateway/rpc?x=1", "wss://example.org/gateway/rpc?x=1"),
    ],
)
def test_addresses_are_completed(given: str, meant: str) -> None:
    """What a person copies from a browser works."""
    assert address(given) == meant


@pytest.mark.parametrize("url", ["", "127.0.0.1:8765", "ftp://example.org/", "ws://", "ws://[::1"])
async def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    """With an example of one."""
    with pytest.raises(ValueError, match=r".+"):
        async with connect(url):
            pass


async def test_the_token_goes_as_bearer() -> None:
    """In the upgrade's Authorization, never in the URL."""

    async def script(line: Line) -> None:
        assert line.socket.request is not None
        assert line.socket.request.headers["Authorization"] == "Bearer s3cret"
        assert "s3cret" not in line.socket.request.path
        await line.greet()
        await line.gone()

    async with scripted(script) as url, connect(url, token="s3cret"):
        pass


@pytest.mark.parametrize("token", ["two words", "line\r\nX-Evil: 1", "käse"])
async def test_a_token_that_cannot_be_one_is_not_sent(token: str) -> None:
    """A stray newline would otherwise become a header of its own."""
    with pytest.raises(ValueError, match="a token is printable ASCII"):
        async with connect(token=token):
            pass


async def test_nothing_listens() -> None:
    """The sentence says where, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(GatewayUnreachable, match=f"127.0.0.1:{port}/rpc: nothing listens there; start one with"):
        async with connect(f"ws://127.0.0.1:{port}"):
            pass


async def test_an_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that does not resolve may do so later."""
    monkeypatch.setattr("urllib.request.getproxies", dict)
    with pytest.raises(GatewayUnreachable) as caught:
        async with connect("ws://no-such-host.invalid/rpc"):
            pass
    assert caught.value.is_temporary


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1", "gopher://127.0.0.1:1"])
async def test_a_proxy_that_does_not_work(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """A proxy of the environment is used for what is not on this machine, and named when it fails."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "ws_proxy", "wss_proxy"):
        monkeypatch.setenv(name, proxy)
    with pytest.raises(GatewayUnreachable):
        async with connect("ws://gateway.example.org/rpc"):
            pass


async def test_something_else_listens() -> None:
    """What does not speak HTTP is no gateway, and waiting does not help."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org ESMTP\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(GatewayUnreachable, match="what answers is no gateway") as caught:
            async with connect(f"ws://127.0.0.1:{port}"):
                pass
    assert not caught.value.is_temporary


@pytest.mark.parametrize(
    ("status", "error", "is_temporary"),
    [
        (HTTPStatus.FORBIDDEN, GatewayRefused, False),
        (HTTPStatus.NOT_FOUND, GatewayUnreachable, False),
        (HTTPStatus.SERVICE_UNAVAILABLE, GatewayUnreachable, True),
    ],
)
async def test_an_http_answer(status: HTTPStatus, error: type[GatewayRefused], is_temporary: bool) -> None:
    """Each status has its sentence; only a busy gateway is worth waiting for."""

    def process(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(status, "no\n")

    async def never(connection: ServerConnection) -> None:
        raise AssertionError

    async with serve(never, "127.0.0.1", 0, process_request=process) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(error) as caught:
            async with connect(f"ws://127.0.0.1:{port}"):
                pass
    assert caught.value.is_temporary is is_temporary


async def test_a_wrong_token_is_the_same_error_by_all_three_ways() -> None:
    """HTTP 401, an answer 401, and close 4401."""

    def process(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(HTTPStatus.UNAUTHORIZED, "no\n")

    async def never(connection: ServerConnection) -> None:
        raise AssertionError

    async def answers(line: Line) -> None:
        await line.refuse(await line.hear("gateway.hello"), 401, "unauthenticated")
        await line.socket.close(4401)

    async def closes(line: Line) -> None:
        await line.socket.close(4401)

    async with serve(never, "127.0.0.1", 0, process_request=process) as server:
        with pytest.raises(Unauthenticated):
            async with connect(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", token="wrong"):
                pass
    async with scripted(answers, closes) as url:
        for _ in range(2):
            with pytest.raises(Unauthenticated):
                async with connect(url, token="wrong"):
                    pass


async def test_too_many_connections() -> None:
    """A close code that another try cannot help is a refusal."""

    async def script(line: Line) -> None:
        await line.socket.close(4429)

    async with scripted(script) as url:
        with pytest.raises(GatewayRefused, match="too many connections"):
            async with connect(url):
                pass


async def test_a_gateway_that_goes_away_during_the_greeting() -> None:
    """Worth another try."""

    async def script(line: Line) -> None:
        await line.socket.close(1001)

    async with scripted(script) as url:
        with pytest.raises(ConnectionLost) as caught:
            async with connect(url):
                pass
    assert caught.value.is_temporary


async def test_a_gateway_that_never_greets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening ends in bounded time."""
    monkeypatch.setattr("gateway.client.connection.OPEN_S", 0.01)

    async def script(line: Line) -> None:
        await line.hear("gateway.hello")
        await line.gone()

    async with scripted(script) as url:
        with pytest.raises(GatewayUnreachable, match="no answer in time"):
            async with connect(url):
                pass


async def test_leaving_a_gateway_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing ends in bounded time, and what waits ends with it."""
    monkeypatch.setattr("gateway.client.connection.CLOSE_S", 0.05)
    is_over = asyncio.Event()

    async def script(line: Line) -> None:
        await line.greet()
        line.socket.transport.pause_reading()
        await is_over.wait()
        line.socket.transport.abort()

    async with scripted(script) as url:
        async with connect(url) as gw:
            calls = [asyncio.create_task(gw.call("big", {"x": "x" * 1_000_000})) for _ in range(20)]
            await asyncio.sleep(0)
        results = await asyncio.gather(*calls, return_exceptions=True)
        is_over.set()
    assert all(isinstance(result, ConnectionLost) for result in results)
