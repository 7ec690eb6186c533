"""The port: accepts sockets, lets in who may come in, and lets everybody go again."""

import asyncio
import logging
import secrets
from collections.abc import Iterable, Sequence
from typing import NoReturn

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from gateway.auth.principal import Credential
from gateway.hub.hub import notification
from gateway.rpc.dispatcher import Dispatcher
from gateway.services import Call, Services
from rpc_schema import close_codes
from rpc_schema.notifications import SHUTDOWN, ShutdownParams

from .connection import STRANGER_BYTES, Connection, limit_messages
from .credentials import credential_of, shown
from .http import Http
from .outbox import text_frame
from .socket import CLOSE_GRACE_S, WRITE_BUFFER_BYTES, Socket
from .stays import Stays

PING_S = 20.0
BACKLOG = 1024
log = structlog.get_logger(__name__)


class Listener:
    """All connections of this process. Follows what happens to tokens."""

    def __init__(self, services: Services, dispatcher: Dispatcher[Call], http: Http) -> None:
        self._services, self._dispatcher, self._http = services, dispatcher, http
        self._connections: dict[Connection, Socket] = {}
        self._stays = Stays(services.clock)
        self._server: Server
        self._staying: asyncio.Task[NoReturn]
        self.peak = 0

    @property
    def count(self) -> int:
        """Open connections."""
        return len(self._connections)

    @property
    def connections(self) -> Iterable[Connection]:
        """The open ones, oldest first."""
        return tuple(self._connections)

    def revoked(self, token: str) -> None:
        """Close what this token opened."""
        for connection in self.connections:
            if connection.credential is not None and connection.credential.token == token:
                connection.expel(close_codes.REVOKED, "the token was revoked")

    def begun(self, spare: str | None) -> None:
        """Authentication is on: close those who came before it, but for the one that brought it about."""
        for connection in self.connections:
            if connection.credential is not None and connection.credential.is_implicit and connection.id != spare:
                connection.expel(close_codes.UNAUTHENTICATED, "authentication is on from now")

    def review(self) -> None:
        """Rights may have changed: close the subscriptions to what may no longer be read."""
        for connection in self.connections:
            connection.review()

    async def open(self, host: str, port: int) -> int:
        """Listen; returns the port, which is another than asked for when that was 0.

        Raises:
            OSError: the address cannot be had.
        """
        self._staying = self._stays.run()
        self._server = await serve(
            self._serve,
            host,
            port,
            create_connection=Socket,
            process_request=self._process_request,
            select_subprotocol=_select_subprotocol,
            compression=None,
            max_size=STRANGER_BYTES,
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
        self._staying.cancel()
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
        response = await self._http.answer(request)
        if response is None:
            assert isinstance(socket, Socket)
            self._limit(socket, credential_of(shown(request.headers), self._services.tokens))
        return response

    def _limit(self, socket: Socket, credential: Credential | None) -> None:
        """Let those who are known send as much as the limits say."""
        limit_messages(socket, STRANGER_BYTES if credential is None else self._services.limits.message_bytes)

    async def _serve(self, socket: ServerConnection) -> None:
        assert isinstance(socket, Socket)
        assert socket.request is not None
        token = shown(socket.request.headers)
        credential = credential_of(token, self._services.tokens)
        self._limit(socket, credential)  # it may have been revoked on the way
        if token is not None and credential is None:
            socket.start_closing(close_codes.UNAUTHENTICATED, "unauthenticated")
            await socket.wait_closed()
            return
        connection = Connection(secrets.token_urlsafe(9), socket, credential, self._services, self._dispatcher)
        self._connections[connection] = socket
        self._stays.begin(connection)
        self.peak = max(self.peak, self.count)
        with structlog.contextvars.bound_contextvars(connection=connection.id):
            log.info("connection_opened", **_who(credential))
            try:
                await connection.serve()
            finally:
                del self._connections[connection]
                log.info("connection_closed", code=socket.close_code)


def _who(credential: Credential | None) -> dict[str, str | None]:
    """Whom the log names: a user, and the id of a token, never the token."""
    if credential is None:
        return {"user": None}
    return {"user": credential.principal.user, "token": credential.token}


def _select_subprotocol(socket: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Only `jsonrpc` is echoed, never a token; a client that offers none gets none."""
    return Subprotocol("jsonrpc") if "jsonrpc" in offered else None
