"""What may be a session key. Pure."""

import unicodedata

from rpc_schema.errors import InvalidKey

MAX_BYTES = 256
_ZERO_WIDTH_JOINER = "\u200d"  # holds emoji together
_REFUSED = {"Cc": "a control character", "Cf": "an invisible character", "Cs": "half a surrogate pair"}


def check(key: str) -> str:
    """The key, if it is 1 to 256 bytes of printable text without spaces.

    Raises:
        InvalidKey: it is not; the reason says where.
    """
    if key.isascii() and key.isprintable() and " " not in key and 1 <= len(key) <= MAX_BYTES:
        return key
    if not key:
        raise InvalidKey(reason="it is empty")
    for position, character in enumerate(key):
        category = unicodedata.category(character)
        if category.startswith("Z"):
            raise InvalidKey(reason=f"character {position + 1} is a space")
        if category in _REFUSED and character != _ZERO_WIDTH_JOINER:
            raise InvalidKey(reason=f"character {position + 1} is {_REFUSED[category]}")
    if (length := len(key.encode())) > MAX_BYTES:
        raise InvalidKey(reason=f"it has {length} bytes")
    return key
