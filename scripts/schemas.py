"""JSON Schema (draft 7, as OpenRPC has it) for all that travels.

msgspec writes the schemas of the types; here they are made to say what the wire
does: a result's member without a value is left out and never null, and every
event has its `seq` and `at`.
"""

from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, Final, get_type_hints

import msgspec
from msgspec import Meta, Struct

from rpc_schema.errors import RpcError
from rpc_schema.events import Event
from rpc_schema.registry import ERRORS, EVENTS, METHODS, NOTIFICATIONS
from rpc_schema.types import RequestMeta

Schema = dict[str, Any]

_REF: Final = "#/components/schemas/"
_EVENT: Final = {"$ref": f"{_REF}Event"}


class Schemas:
    """The components, and the way from a type to its one."""

    def __init__(self) -> None:
        data = {error: _data_of(error) for error in ERRORS.values()}
        types = _types_that_travel()
        refs, raw = msgspec.json.schema_components([*types, *data.values()], ref_template=f"{_REF}{{name}}")
        names = {name: _unique(name) for name in raw}
        self._refs: dict[Any, Schema] = dict(zip([*types, *data], (_tidied(ref, names) for ref in refs), strict=True))
        self.components: dict[str, Schema] = {names[name]: _tidied(schema, names) for name, schema in raw.items()}
        for name, schema in self.components.items():
            schema["title"] = name
        for event in EVENTS.values():
            _commit(self.fields(event))
        self.components["Event"] = {
            "title": "Event",
            "description": _first_line(Event),
            "anyOf": [self.of(event) for event in EVENTS.values()],
        }

    def of(self, type: Any) -> Schema:
        """The schema to write where the type is used."""
        return self._refs[type]

    def name(self, type: Any) -> str | None:
        """The component's name, if the type has a component."""
        ref: str | None = self._refs[type].get("$ref")
        return ref.removeprefix(_REF) if ref else None

    def fields(self, type: Any) -> Schema:
        """The component itself."""
        return self.components[self._refs[type]["$ref"].removeprefix(_REF)]


def _types_that_travel() -> list[Any]:
    methods = METHODS.values()
    types = [RequestMeta, *(method.params for method in methods), *(method.result for method in methods)]
    types += [method.bulk_result for method in methods if method.bulk_result]
    types += [notification.params for notification in NOTIFICATIONS.values()]
    return list(dict.fromkeys([*types, *EVENTS.values()]))


def _data_of(error: type[RpcError]) -> type[Struct]:
    """Give `error.data` as a type."""
    hints = get_type_hints(error)
    members = [
        ("code", Annotated[str, Meta(extra_json_schema={"const": error.code})]),
        ("retryable", Annotated[bool, Meta(extra_json_schema={"const": error.retryable})]),
        *(_member(field, hints[field.name]) for field in fields(error)),  # type: ignore[arg-type]  # all are dataclasses
    ]
    doc = {"__doc__": f"`error.data` of {error.code}."}
    return msgspec.defstruct(f"{error.__name__}Data", members, rename="camel", kw_only=True, namespace=doc)


def _member(field: Field[Any], hint: Any) -> tuple[str, Any] | tuple[str, Any, Any]:
    return (field.name, hint) if field.default is MISSING else (field.name, hint, field.default)


def _unique(name: str) -> str:
    """Put the family in front where two modules have a type of the same name, as in AgentListResult."""
    if "." not in name:
        return name
    *_, module, own = name.split(".")
    families = (
        method.name.partition(".")[0]
        for method in METHODS.values()
        for type in (method.params, method.result)
        if name == f"{type.__module__}.{type.__qualname__}"
    )
    return next(families, module).capitalize() + own


def _tidied(schema: Any, names: dict[str, str]) -> Any:
    if isinstance(schema, list):
        return [_tidied(item, names) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "discriminator" in schema:
        return dict(_EVENT)
    tidy = {key: _tidied(value, names) for key, value in schema.items()}
    if "default" in tidy and tidy["default"] is None:
        tidy = _without_null(tidy)
    if isinstance(tidy.get("$ref"), str):
        return _with_ref(tidy, names)
    return tidy


def _without_null(schema: Schema) -> Schema:
    """Take null off: a member whose default it is, is left out."""
    rest = {key: value for key, value in schema.items() if key not in {"default", "anyOf"}}
    options = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    if len(options) > 1:
        return rest | {"anyOf": options}
    return rest | options[0] if options else rest


def _with_ref(schema: Schema, names: dict[str, str]) -> Schema:
    """Keep what stands beside a `$ref`: draft 7 would not see it."""
    name = schema["$ref"].removeprefix(_REF)
    ref = {"$ref": _REF + names.get(name, name)}
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return beside | {"allOf": [ref]} if beside else ref


def _commit(schema: Schema) -> None:
    """Require `seq` and `at`: an event gets them before anybody sees it."""
    for name in ("seq", "at"):
        del schema["properties"][name]["default"]
    schema["required"] = ["type", "seq", "at", *(name for name in schema["required"] if name != "type")]


def _first_line(type: type) -> str:
    return (type.__doc__ or "").splitlines()[0]
