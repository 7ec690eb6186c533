"""What a client shows beside its upgrade, and what it opens.

The first way that is used counts: `Authorization`, then a subprotocol. The third,
gateway.hello, comes later. What is not one bearer token is a wrong one.
"""

import re
from typing import Literal

from msgspec import Struct
from websockets.datastructures import Headers

from gateway.auth.principal import Credential
from gateway.auth.tokens import Tokens

_BEARER = re.compile(r"bearer +(?P<token>[A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)  # RFC 6750 §2.1
_WORD = "bearer."


class Shown(Struct, frozen=True):
    """A token and the way it came; None is something that can be no token."""

    way: Literal["header", "subprotocol"]
    token: str | None


def shown(headers: Headers) -> Shown | None:
    """What these headers show; None when they show nothing."""
    if said := headers.get_all("Authorization"):
        match = _BEARER.fullmatch(said[0]) if len(said) == 1 else None
        return Shown("header", match["token"] if match is not None else None)
    offered = [word.strip() for said in headers.get_all("Sec-WebSocket-Protocol") for word in said.split(",")]
    tokens = [word.removeprefix(_WORD) for word in offered if word.startswith(_WORD)]
    if not tokens:
        return None
    return Shown("subprotocol", tokens[0] if len(tokens) == 1 and tokens[0] else None)


def credential_of(token: Shown | None, tokens: Tokens) -> Credential | None:
    """What a client goes by that shows this; None: nothing, or nothing yet."""
    if token is None:
        return tokens.for_strangers()
    return tokens.recognise(token.token) if token.token is not None else None
