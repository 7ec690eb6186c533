"""The gateway itself: greeting, health, its own description, taking a request back."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from . import errors
from .descriptors import Method
from .envelope import Id
from .types import Instant, NoParams, Params, Part, Wire

PROTOCOL = "1.1"


class Client(Part, kw_only=True):
    """Who is calling, for the log."""

    name: Annotated[str, Meta(max_length=128)]
    version: Annotated[str, Meta(max_length=128)] = ""


class HelloParams(Params, kw_only=True):
    """Optional when credentials came with the upgrade."""

    client: Client | UnsetType = UNSET
    token: (
        Annotated[
            str, Meta(description="As the first message; later as in auth.refresh, but what is refused closes 4401.")
        ]
        | UnsetType
    ) = UNSET


class Server(Wire, kw_only=True):
    """The program and this run of it."""

    name: str
    version: str
    instance: str


class Principal(Wire, kw_only=True):
    """Who the gateway takes the caller for."""

    user: str
    tenant: str
    roles: list[str]
    scopes: list[str]


class Limits(Wire, kw_only=True):
    """What this gateway takes; all are settings."""

    message_bytes: Annotated[int, Meta(description="Of one message or batch to the gateway.")]
    response_bytes: Annotated[int, Meta(description="Of one message from the gateway.")]
    batch_items: int
    requests_in_flight: int
    subscriptions: int
    nesting_depth: int
    content_characters: int
    metadata_bytes: int
    queued_turns: int
    output_bytes: Annotated[int, Meta(description="Of one turn; past it the answer is cut, finishReason length.")]
    outbox_bytes: int


class HelloResult(Wire, kw_only=True):
    """Who is speaking, and what it takes."""

    server: Server
    protocol: str
    connection: str
    principal: Principal | None = None
    limits: Limits
    now: Instant


class SessionCounts(Wire, kw_only=True):
    """Sessions by state."""

    live: int
    idle: int
    paused: int
    ended: int


class HealthResult(Wire, kw_only=True):
    """How the gateway is."""

    status: Literal["ok", "starting", "draining"]
    uptime_ms: int
    sessions: SessionCounts
    expiring_soon: int
    turns_running: int
    connections: int
    peak_connections: int


class ConnectionInfo(Wire, kw_only=True):
    """One open connection whose user is known."""

    id: Annotated[str, Meta(description="As in its gateway.hello.")]
    user: str
    tenant: str
    token: Annotated[str | None, Meta(description="The id of the token that it goes by.")] = None
    since: Instant
    client: Annotated[str | None, Meta(description="Name and version, as it introduced itself.")] = None
    remote: Annotated[str | None, Meta(description="Where it comes from: address and port.")] = None


class ConnectionsResult(Wire, kw_only=True):
    """Open connections, oldest first; those of the own tenant for an admin of one."""

    connections: list[ConnectionInfo]


class CancelParams(Params, kw_only=True):
    """The id of a request of this connection that is still in flight."""

    id: Id


class CancelResult(Wire, kw_only=True):
    """`cancelled` is false when no such request was in flight."""

    cancelled: bool


HELLO = Method(
    name="gateway.hello",
    params=HelloParams,
    result=HelloResult,
    summary="Introduce yourself; learn the limits. The one call that is served before the caller is known.",
)
HEALTH = Method(
    name="gateway.health",
    params=NoParams,
    result=HealthResult,
    summary="How the gateway is.",
    errors=(errors.StoreUnavailable,),
)
CONNECTIONS = Method(
    name="gateway.connections",
    params=NoParams,
    result=ConnectionsResult,
    summary="Who is connected; for admins.",
    errors=(errors.Forbidden,),
)
DISCOVER = Method(
    name="rpc.discover", params=NoParams, result=dict[str, Any], summary="This protocol as an OpenRPC document."
)
CANCEL = Method(
    name="$/cancelRequest",
    params=CancelParams,
    result=CancelResult,
    summary="Take a request back; sent as a notification. It is always answered, with its result or `cancelled`.",
    past_limits=True,
)
METHODS = (HELLO, HEALTH, CONNECTIONS, DISCOVER, CANCEL)
