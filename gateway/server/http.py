"""Everything on the port that is not the socket: health, the OpenRPC document, refusals.

websockets answers GET and HEAD, one per connection; a request with a body is
dropped before it gets here.
"""

from collections.abc import Awaitable, Callable, Collection
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from gateway.auth.tokens import Tokens

from .credentials import credential_of, shown
from .origins import is_own_host, is_own_origin

Page = Callable[[], Awaitable[tuple[HTTPStatus, str, bytes]]]
"""Makes a status, a media type and a body."""

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
SOCKET_PATH = "/rpc"


class Http:
    """Answers what comes to the port before it may become a socket."""

    def __init__(
        self, pages: dict[str, Page], tokens: Tokens, *, allowed_origins: Collection[str], public_hosts: Collection[str]
    ) -> None:
        self._tokens = tokens
        self._pages, self._allowed_origins = pages, allowed_origins
        self._public_hosts = frozenset(name.lower() for name in public_hosts)

    async def answer(self, request: Request) -> Response | None:
        """The response, or None where the WebSocket handshake should go on."""
        path = _path_of(request.path)
        response = self._refuse_caller(request.headers) or self._refuse_request(request.method, path)
        if response is None and path != SOCKET_PATH:
            response = respond(*await self._pages[path]())
        if response is not None and request.method == "HEAD":
            response.body = b""
        return response

    def _refuse_caller(self, headers: Headers) -> Response | None:
        hosts = headers.get_all("Host")
        if not is_own_host(hosts, self._public_hosts):
            return _refuse(HTTPStatus.FORBIDDEN, "This Host is not one of the gateway's; name it in public_hosts.")
        if not is_own_origin(headers.get_all("Origin"), hosts[0], self._allowed_origins):
            return _refuse(HTTPStatus.FORBIDDEN, "This Origin may not use the gateway; name it in allowed_origins.")
        token = shown(headers)
        if token is not None and token.way == "header" and credential_of(token, self._tokens) is None:
            return _refuse(HTTPStatus.UNAUTHORIZED, "These credentials are not valid.", ("WWW-Authenticate", "Bearer"))
        return None

    def _refuse_request(self, method: str, path: str) -> Response | None:
        if method not in ("GET", "HEAD"):
            sentence = "Use GET or HEAD; methods are called on the socket."
            return _refuse(HTTPStatus.METHOD_NOT_ALLOWED, sentence, ("Allow", "GET, HEAD"))
        if path != SOCKET_PATH and path not in self._pages:
            return _refuse(HTTPStatus.NOT_FOUND, "There is nothing here; the socket is at /rpc.")
        if path == SOCKET_PATH and method == "HEAD":
            return _refuse(HTTPStatus.UPGRADE_REQUIRED, "This is a WebSocket.", ("Upgrade", "websocket"))
        return None


def _path_of(target: str) -> str:
    """The path of a request target, decoded; empty where there is none."""
    try:
        return unquote(urlsplit(target).path)
    except ValueError:
        return ""


def respond(status: HTTPStatus, media_type: str, body: bytes) -> Response:
    """A complete response; the connection ends with it."""
    headers = Headers(
        {
            "Content-Type": media_type,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Connection": "close",
        }
    )
    return Response(status.value, status.phrase, headers, body)


def _refuse(status: HTTPStatus, sentence: str, *headers: tuple[str, str]) -> Response:
    response = respond(status, TEXT, f"{sentence}\n".encode())
    for name, value in headers:
        response.headers[name] = value
    return response
