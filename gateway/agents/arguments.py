"""The arguments of a tool call, read from what a model or a person typed."""

from typing import Any

import msgspec

MAX_DEPTH = 64


def read_arguments(text: str) -> Any:
    """Read JSON; nothing but whitespace is an empty object.

    Raises:
        ValueError: not JSON, or nested deeper than anything downstream takes.
    """
    if not text.strip():
        return {}
    try:
        value = msgspec.json.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise ValueError("nested too deep")
    return value


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        inside = [item for item in level if isinstance(item, dict | list)]
        depth += bool(inside)
        level = [child for item in inside for child in (item.values() if isinstance(item, dict) else item)]
    return depth
