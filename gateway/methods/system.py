"""The gateway itself: greeting, health, its own description, taking a request back."""

from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
import structlog
from msgspec import UNSET

from gateway import __version__
from gateway.clock import instant
from gateway.rpc.handlers import bind
from gateway.services import Call
from gateway.storage.base import StoreFault
from rpc_schema import close_codes
from rpc_schema import system as wire
from rpc_schema.errors import StoreUnavailable
from rpc_schema.types import NoParams

from .credentials import show, take

log = structlog.get_logger(__name__)


async def hello(call: Call, params: wire.HelloParams) -> wire.HelloResult:
    """Greet. A token that opens nothing is refused, and so is the connection."""
    if params.token is not UNSET:
        take(call, params.token, close_codes.UNAUTHENTICATED)
    if params.client is not UNSET:
        call.peer.client = f"{params.client.name} {params.client.version}".strip()
        log.info("client_greeted", client=params.client.name, version=params.client.version)
    services, credential = call.services, call.peer.credential
    return wire.HelloResult(
        server=wire.Server(name="session-gateway", version=__version__, instance=services.instance.id),
        protocol=wire.PROTOCOL,
        connection=call.peer.id,
        principal=show(credential) if credential is not None else None,
        limits=services.limits,
        now=instant(services.clock.now_ms()),
    )


async def health(call: Call, params: NoParams) -> wire.HealthResult:
    """Count, from memory but for what time alone brings about."""
    services = call.services
    try:
        expiring_soon = await services.expiring(services.clock.now_ms())
    except StoreFault as error:
        raise StoreUnavailable from error
    return wire.HealthResult(
        status=services.instance.status,
        uptime_ms=round((services.clock.monotonic() - services.instance.started) * 1000),
        sessions=wire.SessionCounts(**services.instance.sessions()),
        expiring_soon=expiring_soon,
        turns_running=services.turns.running,
        connections=services.instance.connections,
        peak_connections=services.instance.peak_connections,
    )


async def connections(call: Call, params: NoParams) -> wire.ConnectionsResult:
    """Who is connected, as far as the caller's rights reach."""
    known = [(peer, peer.credential) for peer in call.services.instance.peers() if peer.credential is not None]
    return wire.ConnectionsResult(
        connections=[
            wire.ConnectionInfo(
                id=peer.id,
                user=credential.principal.user,
                tenant=credential.principal.tenant,
                token=credential.token,
                since=instant(peer.since),
                client=peer.client,
                remote=peer.remote,
            )
            for peer, credential in known
            if call.principal.is_everywhere or credential.principal.tenant == call.principal.tenant
        ]
    )


async def discover(call: Call, params: NoParams) -> msgspec.Raw:
    """The committed document: what a client reads here is what the tests hold the wire to."""
    return msgspec.Raw(openrpc())


async def cancel(call: Call, params: wire.CancelParams) -> wire.CancelResult:
    """Take back a request of the same connection."""
    return wire.CancelResult(cancelled=call.peer.cancel(params.id))


@cache
def openrpc() -> bytes:
    """The OpenRPC document of this protocol as JSON."""
    document: Any = msgspec.json.decode(files("rpc_schema").joinpath("openrpc.json").read_bytes())
    return msgspec.json.encode(document)


HANDLERS = (
    bind(wire.HELLO, hello, is_immediate=True),
    bind(wire.HEALTH, health),
    bind(wire.CONNECTIONS, connections, is_immediate=True),
    bind(wire.DISCOVER, discover, is_immediate=True),
    bind(wire.CANCEL, cancel, is_immediate=True),
)
