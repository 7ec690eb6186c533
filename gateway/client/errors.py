"""What can go wrong between a client and its gateway.

What the gateway answers is an `RpcError`; here is what it could not answer:
nobody listens, the connection dropped, the consumer fell behind. `is_temporary`
says whether coming back later can help, and nothing else decides who retries.
"""

import os
import ssl
from typing import Final

from rpc_schema import close_codes
from rpc_schema.notifications import ClosedParams
from rpc_schema.subscriptions import Since

_WORTH_RECONNECTING: Final = close_codes.RECONNECT | {1005, 1006, 1011, 1012, 1013, 1014}
_TEMPORARY_STATUS: Final = frozenset({429, 502, 503, 504})


class ClientError(Exception):
    """Anything that kept an answer from coming."""

    is_temporary = False
    retry_after_s: float | None = None


class GatewayUnreachable(ClientError):
    """Nothing that answers is a gateway."""

    def __init__(self, url: str, reason: str, *, is_temporary: bool = True) -> None:
        advice = "; start one with `gateway serve`" if is_temporary else ""
        super().__init__(f"No gateway answers at {url}: {reason}{advice}.")
        self.url, self.reason, self.is_temporary = url, reason, is_temporary


class GatewayRefused(ClientError):
    """The gateway is there and takes no connection from here."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"The gateway at {url} refused the connection: {reason}.")
        self.url, self.reason = url, reason


class ConnectionLost(ClientError):
    """The connection ended while something was expected of it; a turn that was running runs on.

    `code` is the gateway's close code, None when it said none.
    """

    def __init__(self, code: int | None, reason: str, *, retry_after_s: float | None = None) -> None:
        self.code, self.reason, self.retry_after_s = code, reason, retry_after_s
        self.is_temporary = code is None or code in _WORTH_RECONNECTING
        said = reason if code is None else f"{code}: {close_codes.MEANING.get(code, reason)}"
        advice = "; connect again and resume" if self.is_temporary else ""
        super().__init__(f"The connection to the gateway is gone ({said}){advice}.")


class SubscriptionLagged(ClientError):
    """The consumer of a subscription fell too far behind; everything until `since` was given to it."""

    is_temporary = True

    def __init__(self, since: Since) -> None:
        super().__init__(f"This subscription was read too slowly; subscribe again since seq {since.seq}.")
        self.since = since


class WatchLagged(ClientError):
    """The consumer of a watch fell too far behind; everything that was kept was given to it."""

    is_temporary = True

    def __init__(self) -> None:
        super().__init__("This list was read too slowly; watch it anew.")


class SubscriptionClosed(ClientError):
    """The gateway ended the subscription while it was still needed."""

    def __init__(self, params: ClosedParams) -> None:
        super().__init__(f"The gateway ended the subscription: {params.reason}.")
        self.params, self.is_temporary = params, params.resumable


class UnexpectedMessage(ClientError):
    """The gateway said what this client cannot read; one of the two is too old."""

    def __init__(self, what: str, problem: Exception) -> None:
        super().__init__(f"Cannot read {what} ({problem}); update the older one of client and gateway.")


def unreachable(url: str, error: OSError) -> GatewayUnreachable:
    """Say in words why no connection came about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return GatewayUnreachable(url, f"its certificate is not trusted ({error.verify_message})", is_temporary=False)
    if isinstance(error, TimeoutError):
        return GatewayUnreachable(url, "no answer in time")
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return GatewayUnreachable(url, "nothing listens there")
    number = error.errno or 0
    return GatewayUnreachable(url, os.strerror(number) if number > 0 else error.strerror or str(error))


def refused(url: str, status: int) -> ClientError:
    """Say in words what an HTTP status instead of a WebSocket means."""
    if status == 403:
        return GatewayRefused(url, "it does not go by this host name; add it to its public_hosts")
    if status == 404:
        return GatewayUnreachable(url, "nothing is at this path; a gateway's path is /rpc", is_temporary=False)
    return GatewayUnreachable(url, f"HTTP {status}", is_temporary=status in _TEMPORARY_STATUS)
