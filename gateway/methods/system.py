"""The gateway itself: greeting, health, its own description, taking a request back."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
import structlog
from msgspec import UNSET

from gateway import __version__
from gateway.auth.principal import Credential
from gateway.clock import instant
from gateway.rpc.handlers import bind
from gateway.services import Call, Peer
from gateway.sessions.census import STATES
from gateway.storage.base import StoreFault, Tally
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
    """Count what the caller may see: for whoever may see everything from memory, but for what time brings about."""
    services, instance = call.services, call.services.instance
    now_ms, seen, peers = services.clock.now_ms(), call.visibility, list(_known_to(call))
    sees_all = call.credential.is_implicit or (seen.tenant is None and seen.user is None)
    try:
        if sees_all:
            counted = Tally(instance.sessions(), await services.expiring(now_ms), services.turns.running)
        else:
            owned = services.roster.owned_by(seen.user) if seen.user is not None else ()
            counted = await services.tally(seen.tenant, seen.user, owned, now_ms)
    except StoreFault as error:
        raise StoreUnavailable from error
    return wire.HealthResult(
        status=instance.status,
        uptime_ms=round((services.clock.monotonic() - instance.started) * 1000),
        sessions=wire.SessionCounts(**dict.fromkeys(STATES, 0) | counted.states),
        expiring_soon=counted.expiring,
        turns_running=counted.busy,
        connections=instance.connections if sees_all else len(peers),
        peak_connections=instance.peak_connections if sees_all else len(peers),
    )


def _known_to(call: Call) -> Iterator[tuple[Peer, Credential]]:
    """The connections that the caller may know of: an admin's tenant's, anybody's own."""
    seen = call.visibility
    for peer in call.services.instance.peers():
        if (credential := peer.credential) is None:
            continue
        principal = credential.principal
        if seen.tenant in (None, principal.home) and seen.user in (None, principal.user):
            yield peer, credential


async def connections(call: Call, params: NoParams) -> wire.ConnectionsResult:
    """Who is connected, as far as the caller's rights reach."""
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
            for peer, credential in _known_to(call)
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
