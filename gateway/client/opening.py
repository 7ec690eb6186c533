"""Opening the socket: the address, the credentials, and every failure in words.

The only place that knows what the socket library raises while connecting.
"""

from typing import Final
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI, ProxyError
from websockets.typing import Subprotocol

from rpc_schema.errors import Unauthenticated

from .errors import GatewayUnreachable, refused, unreachable

DEFAULT_URL: Final = "ws://127.0.0.1:8765/rpc"
OPEN_S: Final = 10.0
CLOSE_S: Final = 5.0
_MESSAGE_BYTES: Final = 64 * 1024 * 1024 + 64 * 1024  # the largest max_response_bytes, and room for its frame
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def address(url: str) -> str:
    """Complete a gateway's address: http(s) becomes ws(s), a missing path /rpc.

    Raises:
        ValueError: this is no address.
    """
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in {"ws", "wss"} or not parts.hostname:
        raise ValueError(f"{url!r} is not a gateway's address; one looks like {DEFAULT_URL}")
    path = parts.path if parts.path.strip("/") else "/rpc"
    return urlunsplit((scheme, parts.netloc, path, parts.query, ""))


async def open_socket(url: str, token: str | None) -> ClientConnection:
    """Connect and shake hands.

    A proxy of the environment is used, except for loopback.

    Raises:
        GatewayUnreachable: nothing that answers is a gateway.
        GatewayRefused: it takes no connection from here.
        Unauthenticated: it does not take the token.
        ValueError: the address or the token is none.
    """
    try:
        return await connect_socket(
            url,
            additional_headers=credentials(token),
            subprotocols=[Subprotocol("jsonrpc")],
            compression=None,
            proxy=None if urlsplit(url).hostname in _LOOPBACK else True,
            open_timeout=OPEN_S,
            close_timeout=CLOSE_S,
            max_size=_MESSAGE_BYTES,
        )
    except InvalidStatus as error:
        if error.response.status_code == 401:
            raise Unauthenticated from error
        raise refused(url, error.response.status_code) from error
    except InvalidURI as error:
        raise ValueError(f"{url!r} is not a gateway's address; one looks like {DEFAULT_URL}") from error
    except (InvalidProxy, ProxyError, ImportError) as error:
        raise GatewayUnreachable(url, f"the proxy of the environment does not work ({error})") from error
    except InvalidHandshake as error:
        raise GatewayUnreachable(url, f"what answers is no gateway ({error})", is_temporary=False) from error
    except OSError as error:
        raise unreachable(url, error) from error


def credentials(token: str | None) -> dict[str, str]:
    """The headers that say who is calling.

    Raises:
        ValueError: no token looks like this.
    """
    if token is None:
        return {}
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("a token is printable ASCII without spaces; this one is not")
    return {"Authorization": f"Bearer {token}"}
