"""Markdown pieces of the reference: headings' anchors, tables, schemas in words."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

Schema = dict[str, Any]


def link(heading: str, text: str = "") -> str:
    """Point to a heading of the same page, by the anchor that GitHub gives it."""
    anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    return f"[{text or heading}](#{anchor})"


def object_link(name: str) -> str:
    """Point to an object; its heading says so, because methods have names that would be the same anchor."""
    return link(f"Object {name}", name)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def code(value: Any) -> str:
    """Show a value as JSON, a word without its quotes."""
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value, ensure_ascii=False)}`"


def members(schema: Schema, *, without: Iterable[str] = ()) -> str:
    """Give the table of an object's members, or nothing if there are none."""
    hidden = {"_meta", *without}
    rows = [
        (code(name), words(member), _need(name, schema), member.get("description", ""))
        for name, member in schema["properties"].items()
        if name not in hidden
    ]
    return table(("member", "type", "needed", "meaning"), rows) if rows else ""


def words(schema: Schema) -> str:
    """Say what a schema allows."""
    if "$ref" in schema:
        name = ref_name(schema)
        return "[event](#events)" if name == "Event" else object_link(name)
    if "allOf" in schema:
        return words(schema["allOf"][0])
    if "anyOf" in schema:
        return _one_of(schema["anyOf"])
    if "enum" in schema:
        return _either([code(value) for value in schema["enum"]])
    return _plain(schema)


def ref_name(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def refs(schema: Any) -> Iterator[str]:
    """Name every component that a schema mentions."""
    if isinstance(schema, list):
        for item in schema:
            yield from refs(item)
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield ref_name(schema)
        for item in schema.values():
            yield from refs(item)


def _need(name: str, schema: Schema) -> str:
    if name in schema["required"]:
        return "required"
    default = schema["properties"][name].get("default")
    return "optional" if default is None else f"default {code(default)}"


def _one_of(options: list[Schema]) -> str:
    if all("enum" in option for option in options):
        return words({"enum": sorted({value for option in options for value in option["enum"]})})
    return " or ".join(words(option) for option in options)


def _either(choices: list[str]) -> str:
    return ", ".join(choices[:-1]) + " or " + choices[-1] if len(choices) > 1 else choices[0]


def _plain(schema: Schema) -> str:
    match schema:
        case {"type": "array", "items": items}:
            return f"list of {words(items)}" + _bounds(schema, "minItems", "maxItems", " items")
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"object of {words(values)}" + _bounds(schema, "minProperties", "maxProperties", " members")
        case {"type": "string", "format": "date-time"}:
            return "string, RFC 3339"
        case {"type": "string"}:
            return "string" + _bounds(schema, "minLength", "maxLength", " characters")
        case {"type": str(name)}:
            return name + _bounds(schema, "minimum", "maximum")
        case _:
            return "any"


def _bounds(schema: Schema, least: str, most: str, unit: str = "") -> str:
    match schema.get(least), schema.get(most):
        case None, None:
            return ""
        case 1, None if unit:
            return " (not empty)"
        case low, None:
            return f" (at least {low}{unit})"
        case None, high:
            return f" (at most {high}{unit})"
        case low, high:
            return f" ({low} to {high}{unit})"
