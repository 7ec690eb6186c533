"""Who may come from where: every trick that a page or a name server could try."""

import pytest

from gateway.server.origins import is_loopback, is_own_host, is_own_origin

PUBLIC = frozenset({"gateway.example", "10.0.0.7", "2001:db8::7"})
ALLOWED = ["https://app.example", "http://app.example:8080"]


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8765", "LOCALHOST:8765", "LocalHost", "localhost."),
        *("127.0.0.1", "127.0.0.1:8765", "127.0.0.2:1", "127.255.255.254", "127.0.0.1."),
        *("[::1]", "[::1]:8765", "[0:0:0:0:0:0:0:1]:8765"),
        *("gateway.example", "gateway.example:443", "GATEWAY.example", "gateway.example."),
        *("10.0.0.7:8765", "[2001:db8::7]", "[2001:DB8::7]:8765"),
    ],
)
def test_a_host_of_the_gateway(host: str) -> None:
    """Loopback in all its spellings, and the public names; the port says nothing about who is meant."""
    assert is_own_host([host], PUBLIC)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "",
            " ",
            ":8765",
            "localhost:",
            "localhost:x",
            "localhost:123456",
            "localhost:80:80",
            " localhost",
            "localhost ",
        ),
        *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:127.0.0.1"),
        *("notlocalhost", "local-host", "localhost.localdomain", "gateway.example.evil.example", "a.gateway.example"),
        *("user@localhost", "evil.example@localhost", "localhost@evil.example", "user:pass@localhost:8765"),
        *("localhost/", "localhost#", "localhost?x", "http://localhost", "localhost,evil.example", "localhost\n"),
        *("127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.256", "0.0.0.0", "128.0.0.1", "10.0.0.8"),
        *("::1", "[::1", "::1]", "[::]", "[::2]", "[::1%25eth0]", "[localhost]", "[::1]evil.example", "[2001:db8::8]"),
        *("löcalhost", "ⓛocalhost", "localhost\u3002", "localhost\x00"),
    ],
)
def test_a_host_of_somebody_else(host: str) -> None:
    """A name that an attacker's server could point here, or that two readers could take for two names."""
    assert not is_own_host([host], PUBLIC)


@pytest.mark.parametrize("hosts", [[], ["localhost", "localhost"], ["localhost", "evil.example"]])
def test_not_one_host(hosts: list[str]) -> None:
    """None, or several, of which somebody on the way may have meant another."""
    assert not is_own_host(hosts, PUBLIC)


def test_no_public_hosts() -> None:
    """Without any only loopback is the gateway's."""
    assert is_own_host(["localhost"], ())
    assert not is_own_host(["gateway.example"], ())


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback(name: str) -> None:
    """Names and addresses that can only be this machine."""
    assert is_loopback(name)


@pytest.mark.parametrize("name", ["", "0.0.0.0", "::", "192.168.0.1", "localhost6", "LOCALHOST", "example"])
def test_not_loopback(name: str) -> None:
    """Everything else, the wildcard addresses among it."""
    assert not is_loopback(name)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:8765", "localhost:8765"),
        ("http://LOCALHOST:8765", "localhost:8765"),
        ("http://localhost:8765", "LocalHost:8765"),
        ("http://127.0.0.1:8765", "127.0.0.1:8765"),
        ("http://[::1]:8765", "[::1]:8765"),
        ("http://[2001:DB8::7]", "[2001:db8::7]"),
        ("http://localhost", "localhost"),
        ("http://localhost", "localhost:80"),
        ("http://localhost:80", "localhost"),
        ("https://gateway.example", "gateway.example"),
        ("https://gateway.example", "gateway.example:443"),
        ("https://gateway.example:8443", "gateway.example:8443"),
        ("http://localhost.:8765", "localhost.:8765"),
        ("https://app.example", "localhost:8765"),
        ("http://app.example:8080", "gateway.example"),
    ],
)
def test_an_origin_that_may_come(origin: str, host: str) -> None:
    """The gateway's own page by host and port, behind TLS or not; or one on the list."""
    assert is_own_origin([origin], host, ALLOWED)


@pytest.mark.parametrize(
    "origin",
    [
        *("", "null", "NULL", "*", "localhost:8765", "//localhost:8765", "about:blank", "about:srcdoc"),
        *("http://evil.example", "http://evil.example:8765", "http://localhost.evil.example:8765"),
        *("http://localhost:8766", "http://localhost", "https://localhost", "http://localhost:08765"),
        *("http://127.0.0.1:8765", "http://[::1]:8765", "http://127.0.0.2:8765", "http://localhost.:8765"),
        *("http://localhost:8765/", "http://localhost:8765/x", "http://localhost:8765?x", "http://localhost:8765#x"),
        *("http://user@localhost:8765", "http://localhost:8765@evil.example", "http://evil.example#localhost:8765"),
        *("http://evil.example\\localhost:8765", "http://localhost:8765.evil.example", "http:localhost:8765"),
        *(" http://localhost:8765", "http://localhost:8765 ", "http://localhost:8765\n", "http://localhost:8765,x"),
        *("http://localhost:8765 http://evil.example", "ws://localhost:8765", "file://localhost:8765", "file://"),
        *("HTTP://localhost:8765", "ftp://localhost:8765", "javascript://localhost:8765", "chrome-extension://abcdef"),
        *("https://app.example:443", "http://app.example", "https://app.example/", "https://APP.example"),
        *(
            "https://app.example.evil.example",
            "https://evil-app.example",
            "https://x.app.example",
            "http://app.example:80800",
        ),
    ],
)
def test_an_origin_that_may_not(origin: str) -> None:
    """Another host, port or loopback name, a trick with the text, or nearly one of the list."""
    assert not is_own_origin([origin], "localhost:8765", ALLOWED)


def test_no_origin() -> None:
    """Whoever is no browser says none."""
    assert is_own_origin([], "localhost:8765", ())


@pytest.mark.parametrize(
    "origins",
    [["http://localhost:8765"] * 2, ["http://localhost:8765", "http://evil.example"], ["https://app.example", "null"]],
)
def test_several_origins(origins: list[str]) -> None:
    """No browser sends two; one of them is meant for another reader."""
    assert not is_own_origin(origins, "localhost:8765", ALLOWED)
