"""WebSocket close codes (RFC 6455 §7.4; 4000-4999 are private use).

A client that sees a code of `RECONNECT` comes back and resumes; any other
code needs a person or another credential first.
"""

from typing import Final

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
MESSAGE_TOO_BIG: Final = 1009
PROTOCOL_ABUSE: Final = 4400
UNAUTHENTICATED: Final = 4401
REVOKED: Final = 4403
CREDENTIALS_EXPIRED: Final = 4408
TOO_SLOW: Final = 4413
TOO_MANY_CONNECTIONS: Final = 4429

RECONNECT: Final = frozenset({GOING_AWAY, TOO_SLOW})

MEANING: Final[dict[int, str]] = {
    NORMAL: "closed by request",
    GOING_AWAY: "the gateway is shutting down: reconnect",
    MESSAGE_TOO_BIG: "a message was over the limit of gateway.hello",
    PROTOCOL_ABUSE: "protocol abuse",
    UNAUTHENTICATED: "no valid credentials",
    REVOKED: "the token was revoked",
    CREDENTIALS_EXPIRED: "the credentials expired",
    TOO_SLOW: "the client read too slowly: reconnect and resume",
    TOO_MANY_CONNECTIONS: "too many connections for this user",
}
