"""Where a request may come from and what it may call the gateway. Pure.

Browsers send any page's requests to any address, so both are checked exactly:
`Origin` against the page's own (RFC 6454), `Host` against DNS rebinding.
"""

import re
from collections.abc import Collection, Sequence
from ipaddress import ip_address

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?")
_ORIGIN = re.compile(rf"(?P<scheme>https?)://(?P<host>{_HOST.pattern})")
_DEFAULT_PORT = {"http": "80", "https": "443"}


def is_own_host(hosts: Sequence[str], public_hosts: Collection[str]) -> bool:
    """Whether the `Host` headers are one, and name this machine's loopback or a public name."""
    if len(hosts) != 1 or (match := _HOST.fullmatch(hosts[0])) is None:
        return False
    name = match["name"].strip("[]").lower().rstrip(".")
    return name in public_hosts or is_loopback(name)


def is_loopback(name: str) -> bool:
    """Whether a host name or address can only be this machine."""
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def is_own_origin(origins: Sequence[str], host: str, allowed: Collection[str]) -> bool:
    """Whether the `Origin` headers are none, or one that is the gateway's own or on the list."""
    if not origins:
        return True
    if len(origins) != 1:
        return False
    if origins[0] in allowed:
        return True
    match = _ORIGIN.fullmatch(origins[0])
    if match is None:
        return False
    scheme = match["scheme"]
    return _with_port(match["host"], scheme) == _with_port(host, scheme)


def _with_port(host: str, scheme: str) -> str:
    match = _HOST.fullmatch(host)
    if match is None:
        return ""
    return f"{match['name'].lower()}:{match['port'] or _DEFAULT_PORT[scheme]}"
