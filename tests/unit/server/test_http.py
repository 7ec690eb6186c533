"""The port beside the socket: what is answered to whom, byte by byte over TCP."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.app import Gateway
from rpc_schema.registry import METHODS
from tests.unit.server.bare import HANDSHAKE, Answer, bare


async def ask(gateway: Gateway, target: str, *headers: str, **how: Any) -> Answer:
    async with bare(gateway.port) as client:
        return await client.get(target, *headers, **how)


@pytest.mark.parametrize(("target", "body"), [("/healthz", b"ok\n"), ("/readyz", b"ready\n")])
async def test_it_is_well(gateway: Gateway, target: str, body: bytes) -> None:
    """Alive and ready, for whoever watches."""
    answer = await ask(gateway, target)
    assert (answer.status, answer.body) == (200, body)


async def test_it_drains(gateway: Gateway) -> None:
    """Alive still, but to be given nothing new."""
    await gateway.drain(0)
    assert (await ask(gateway, "/healthz")).status == 200
    answer = await ask(gateway, "/readyz")
    assert (answer.status, answer.body) == (503, b"draining\n")


async def test_the_document(gateway: Gateway) -> None:
    """The committed OpenRPC document, as JSON."""
    answer = await ask(gateway, "/openrpc.json")
    committed = Path(__file__).parents[3] / "rpc_schema" / "openrpc.json"
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.body) == json.loads(committed.read_text(encoding="utf-8"))
    assert {method["name"] for method in json.loads(answer.body)["methods"]} == METHODS.keys()


async def test_the_start_page(gateway: Gateway) -> None:
    """A person who opens the address in a browser learns where to go."""
    answer = await ask(gateway, "/")
    assert answer.status == 200
    assert f"ws://{gateway.authority}/rpc".encode() in answer.body


@pytest.mark.parametrize("target", ["/", "/healthz", "/readyz", "/openrpc.json", "/nothing"])
async def test_head(gateway: Gateway, target: str) -> None:
    """The headers of GET, and no body."""
    got, headed = await ask(gateway, target), await ask(gateway, target, method="HEAD")
    assert (headed.status, headed.headers, headed.body) == (got.status, got.headers, b"")
    assert int(headed.headers["content-length"]) == len(got.body) > 0


@pytest.mark.parametrize("target", ["/healthz", "/nothing"])
async def test_headers(gateway: Gateway, target: str) -> None:
    """Nothing is kept, guessed or given away, and the connection ends."""
    headers = (await ask(gateway, target)).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["connection"] == "close"
    assert "server" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get"])
@pytest.mark.parametrize("target", ["/healthz", "/rpc", "/nothing", "*"])
async def test_another_http_method(gateway: Gateway, method: str, target: str) -> None:
    """Only GET and HEAD; nothing on this port takes uploads."""
    answer = await ask(gateway, target, "Content-Length: 0", method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "target",
    [
        *("/healthz?", "/healthz?token=1&x=%ff", "/healthz#top", "/%68ealth%7A", "http://localhost/healthz"),
        *("/healthz?a=/../x", "http://evil.example/healthz"),
    ],
)
async def test_another_spelling_of_a_path(gateway: Gateway, target: str) -> None:
    """The path counts, decoded: not the query, nor a host in an absolute target, for which the header is held to."""
    assert (await ask(gateway, target)).body == b"ok\n"


@pytest.mark.parametrize(
    "target",
    [
        *("/nothing", "/HEALTHZ", "/healthz/", "/healthz%2F", "/healthz%20", "/healthz%00", "/healthz;x", "/./healthz"),
        *("//healthz", "//", "/rpc/", "/rpc/..", "/../rpc", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd"),
        *("healthz", "*", "/%", "/%zz", "/%ff", "/%ED%A0%80", "//[", "http://[", "http://[::1", "//[x]/healthz"),
    ],
)
async def test_a_path_that_is_not_there(gateway: Gateway, target: str) -> None:
    """Never a 500, nor anything of the file system."""
    answer = await ask(gateway, target)
    assert (answer.status, answer.body) == (404, b"There is nothing here; the socket is at /rpc.\n")


@pytest.mark.parametrize("host", ["", "evil.example", "localhost.evil.example", "user@localhost", "0.0.0.0"])
@pytest.mark.parametrize("target", ["/healthz", "/openrpc.json", "/rpc", "/nothing", "//["])
async def test_a_host_of_somebody_else(gateway: Gateway, target: str, host: str) -> None:
    """A name that was rebound to this machine gets nothing, wherever it asks, and learns nothing."""
    answer = await ask(gateway, target, host=host)
    assert answer.status == 403
    assert b"public_hosts" in answer.body


async def test_a_doubled_host(gateway: Gateway) -> None:
    """Two hosts are no host."""
    assert (await ask(gateway, "/healthz", f"Host: localhost:{gateway.port}")).status == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:{port}", "http://localhost"])
@pytest.mark.parametrize("target", ["/healthz", "/rpc"])
async def test_an_origin_that_may_not(gateway: Gateway, target: str, origin: str) -> None:
    """Another site's page gets nothing, and no socket: the refusal comes before the upgrade."""
    answer = await ask(gateway, target, *HANDSHAKE, f"Origin: {origin.format(port=gateway.port)}")
    assert answer.status == 403
    assert b"allowed_origins" in answer.body


async def test_its_own_origin(gateway: Gateway) -> None:
    """The gateway's own page may, by the name it was opened under."""
    own = f"Origin: http://localhost:{gateway.port}"
    assert (await ask(gateway, "/healthz", own)).status == 200
    async with bare(gateway.port) as client:
        await client.upgrade(own)


async def test_a_doubled_origin(gateway: Gateway) -> None:
    """Even twice its own: no browser says that."""
    own = f"Origin: http://localhost:{gateway.port}"
    assert (await ask(gateway, "/rpc", *HANDSHAKE, own, own)).status == 403


@pytest.mark.parametrize("value", ["Bearer gw_wrong", "Bearer ", "Basic YTpi", "nonsense"])
@pytest.mark.parametrize("target", ["/healthz", "/rpc"])
async def test_credentials_that_open_nothing(gateway: Gateway, target: str, value: str) -> None:
    """No token was ever made: whoever shows one is told that it is wrong, and gets no socket."""
    answer = await ask(gateway, target, *HANDSHAKE, f"Authorization: {value}")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert b"gw_wrong" not in answer.body


async def test_credentials_from_a_strange_origin(gateway: Gateway) -> None:
    """A page that may not come learns nothing about tokens."""
    assert (await ask(gateway, "/rpc", "Origin: http://evil.example", "Authorization: Bearer x")).status == 403


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", ["/rpc", "/rpc?x=1", "/%72pc"])
async def test_the_socket_without_an_upgrade(gateway: Gateway, target: str, method: str) -> None:
    """Whoever opens it in a browser is told what it is."""
    answer = await ask(gateway, target, method=method)
    assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")
    assert bool(answer.body) == (method == "GET")


@pytest.mark.parametrize("left_out", range(2, 4))
async def test_half_a_handshake(gateway: Gateway, left_out: int) -> None:
    """A key and a version are needed (RFC 6455 §4.2.1)."""
    headers = [header for place, header in enumerate(HANDSHAKE) if place != left_out]
    assert (await ask(gateway, "/rpc", *headers)).status == 400


async def test_an_upgrade_elsewhere(gateway: Gateway) -> None:
    """A page is a page, whatever the client would like it to be."""
    assert (await ask(gateway, "/healthz", *HANDSHAKE)).body == b"ok\n"
