"""What a browser or a supervisor finds on the port beside the socket."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from gateway.services import Instance

from .http import JSON, TEXT, Page


def pages(
    instance: Instance,
    authority: Callable[[], str],
    is_writable: Callable[[], Awaitable[bool]],
    openrpc: Callable[[], bytes],
) -> dict[str, Page]:
    """By path; `is_writable` is asked of the store each time."""

    async def home() -> tuple[HTTPStatus, str, bytes]:
        text = f"The session gateway. Clients connect to ws://{authority()}/rpc; /openrpc.json says how.\n"
        return HTTPStatus.OK, TEXT, text.encode()

    async def health() -> tuple[HTTPStatus, str, bytes]:
        return HTTPStatus.OK, TEXT, b"ok\n"

    async def ready() -> tuple[HTTPStatus, str, bytes]:
        if instance.status != "ok":
            return HTTPStatus.SERVICE_UNAVAILABLE, TEXT, f"{instance.status}\n".encode()
        if not await is_writable():
            return HTTPStatus.SERVICE_UNAVAILABLE, TEXT, b"the store takes no writes: check the disk\n"
        return HTTPStatus.OK, TEXT, b"ready\n"

    async def document() -> tuple[HTTPStatus, str, bytes]:
        return HTTPStatus.OK, JSON, openrpc()

    return {"/": home, "/healthz": health, "/readyz": ready, "/openrpc.json": document}
