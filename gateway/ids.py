"""Opaque ids: sortable by the time they were made, unguessable, safe in URLs.

The form is a ULID (github.com/ulid/spec) in lower case: 48 bits of milliseconds, 80 random bits.
"""

import secrets

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(now_ms: int) -> str:
    """26 characters; those of one millisecond are in no order."""
    value = now_ms << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))
