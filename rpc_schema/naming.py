"""How a name of the code is said on the wire."""


def camel(name: str) -> str:
    """`expires_at` as `expiresAt`."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
