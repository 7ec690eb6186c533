"""The port: accepts sockets, lets in who may come in, and lets everybody go again."""

import asyncio
import logging
import secrets
from collections.abc import Sequence

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from gateway.auth.principal import LOCAL_ADMIN
from gateway.hub.hub import notification
from gateway.rpc.dispatcher import Dispatcher
from gateway.services import Call, Services
from rpc_schema import close_codes
from rpc_schema.errors import RequestTooBig
from rpc_schema.notifications import SHUTDOWN, ShutdownParams

from .connection import Connection
from .http import Http
from .outbox import text_frame
from .socket import CLOSE_GRACE_S, WRITE_BUFFER_BYTES, Socket

PING_S = 20.0
BACKLOG = 1024
_BEARER = "bearer."
log = structlog.get_logger(__name__)


class Listener:
    """All connections of this process."""

    def __init__(self, services: Services, dispatcher: Dispatcher[Call], http: Http) -> None:
        self._services, self._dispatcher, self._http = services, dispatcher, http
        self._connections: dict[Connection, Socket] = {}
        self._server: Server
        self.peak = 0

    @property
    def count(self) -> int:
        """Open connections."""
        return len(self._connections)

    async def open(self, host: str, port: int) -> int:
        """Listen; returns the port, which is another than asked for when that was 0.

        Raises:
            OSError: the address cannot be had.
        """
        limits = self._services.limits
        too_big = self._dispatcher.refuse(None, RequestTooBig(limit=limits.message_bytes)) or b""

        class LimitedSocket(Socket):
            oversized_answer = too_big

        self._server = await serve(
            self._serve,
            host,
            port,
            create_connection=LimitedSocket,
            process_request=self._process_request,
            select_subprotocol=_select_subprotocol,
            compression=None,
            max_size=limits.message_bytes,
            ping_interval=PING_S,
            ping_timeout=PING_S,
            close_timeout=CLOSE_GRACE_S,
            write_limit=WRITE_BUFFER_BYTES,
            server_header=None,
            backlog=BACKLOG,
            logger=logging.getLogger("gateway.websockets"),
        )
        return int(self._server.sockets[0].getsockname()[1])

    def announce_shutdown(self, reason: str, retry_after_ms: int) -> None:
        """Tell everybody that the end is near."""
        farewell = ShutdownParams(reason=reason, retry_after_ms=retry_after_ms)
        frame = text_frame(notification(SHUTDOWN.name, farewell))
        for connection in self._connections:
            connection.outbox.put(frame)

    async def close(self) -> None:
        """Take nobody new and let everybody go: 1001, within CLOSE_GRACE_S of silence."""
        self._server.close(close_connections=False)
        for connection, socket in list(self._connections.items()):
            connection.end_subscriptions()
            connection.outbox.flush()
            connection.outbox.close()
            socket.start_closing(close_codes.GOING_AWAY, "shutting down")
        try:
            async with asyncio.timeout(2 * CLOSE_GRACE_S):
                await self._server.wait_closed()
        except TimeoutError:
            for socket in list(self._connections.values()):
                socket.abort()

    async def _process_request(self, socket: ServerConnection, request: Request) -> Response | None:
        return await self._http.answer(request)

    async def _serve(self, socket: ServerConnection) -> None:
        assert isinstance(socket, Socket)
        if _has_token(socket):
            socket.start_closing(close_codes.UNAUTHENTICATED, "unauthenticated")
            await socket.wait_closed()
            return
        connection = Connection(secrets.token_urlsafe(9), socket, LOCAL_ADMIN, self._services, self._dispatcher)
        self._connections[connection] = socket
        self.peak = max(self.peak, self.count)
        with structlog.contextvars.bound_contextvars(connection=connection.id):
            log.info("connection_opened", user=connection.principal.user)
            try:
                await connection.serve()
            finally:
                del self._connections[connection]
                log.info("connection_closed", code=socket.close_code)


def _has_token(socket: ServerConnection) -> bool:
    """Whether the client offered a token as a subprotocol; there is none that could be valid yet."""
    offered = socket.request.headers.get_all("Sec-WebSocket-Protocol") if socket.request is not None else []
    return any(word.strip().startswith(_BEARER) for header in offered for word in header.split(","))


def _select_subprotocol(socket: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Only `jsonrpc` is echoed, never a token; a client that offers none gets none."""
    return Subprotocol("jsonrpc") if "jsonrpc" in offered else None
