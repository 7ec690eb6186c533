"""openrpc.json is what OpenRPC and JSON Schema say it is, and what the types do."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft7Validator
from referencing import Registry
from referencing.jsonschema import DRAFT7

from rpc_schema.registry import ERRORS, EVENTS, METHODS, NOTIFICATIONS

HERE = Path(__file__).parent
DOCUMENT: dict[str, Any] = json.loads((HERE.parents[1] / "rpc_schema" / "openrpc.json").read_text(encoding="utf-8"))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
METHOD_BY_NAME = {method["name"]: method for method in DOCUMENT["methods"]}


def validator(schema: dict[str, Any]) -> Draft7Validator:
    """Check with `schema`, whose refs point into the document."""
    return Draft7Validator(schema | {"components": DOCUMENT["components"]})


def inside(value: Any) -> Iterator[dict[str, Any]]:
    """Give every object in the document."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from inside(item)


def resolved(ref: str) -> Any:
    value: Any = DOCUMENT
    for part in ref.removeprefix("#/").split("/"):
        value = value[part]
    return value


def example(schema: dict[str, Any], *, whole: bool) -> Any:
    """Make a value that the schema allows, with all members or with the required ones only."""
    match schema:
        case {"$ref": ref} | {"allOf": [{"$ref": ref}]}:
            return example(resolved(ref), whole=whole)
        case {"const": value} | {"examples": [value, *_]} | {"enum": [value, *_]}:
            return value
        case {"anyOf": [first, *_]}:
            return example(first, whole=whole)
        case {"type": "object", "properties": members}:
            wanted = members if whole else schema["required"]
            return {name: example(members[name], whole=whole) for name in wanted}
        case {"type": "object"}:
            return (
                {"a": example(schema["additionalProperties"], whole=whole)} if "additionalProperties" in schema else {}
            )
        case {"type": "array", "items": items}:
            return [example(items, whole=whole)]
        case {"type": "string"}:
            return "2026-11-20T09:30:00.123Z" if schema.get("format") == "date-time" else "x"
        case {"type": "boolean"}:
            return True
        case {"type": "integer" | "number"}:
            return schema.get("minimum", 1)
        case _:
            return {"any": "thing"}


@pytest.fixture(scope="module")
def meta_schema() -> Draft7Validator:
    """The official meta-schema, which npm has and no test installs."""
    folder = Path(os.environ.get("OPENRPC_NODE_MODULES", HERE / "node_modules"))
    open_rpc, json_schema = (
        folder / "@open-rpc/meta-schema/index.js",
        folder / "@json-schema-tools/meta-schema/schema.json",
    )
    if not (open_rpc.exists() and json_schema.exists()):
        pytest.skip("the OpenRPC meta-schema is not there; run: npm install --prefix tests/docs")
    literal = open_rpc.read_text(encoding="utf-8").partition("exports.openrpcDocument = {")[2]
    schema, _ = json.JSONDecoder().raw_decode("{" + literal)
    of_schemas = DRAFT7.create_resource(json.loads(json_schema.read_text(encoding="utf-8")))
    # It is named with and without a slash at the end.
    places = [("https://meta.json-schema.tools", of_schemas), ("https://meta.json-schema.tools/", of_schemas)]
    registry: Registry[Any] = Registry().with_resources(places)
    return Draft7Validator(schema, registry=registry)


def test_the_document_is_openrpc(meta_schema: Draft7Validator) -> None:
    """By the meta-schema that its authors publish."""
    assert [error.message for error in meta_schema.iter_errors(DOCUMENT)] == []


def test_the_meta_schema_would_find_a_mistake(meta_schema: Draft7Validator) -> None:
    """It is really read: a wrong version, a param without schema and a wrong schema do not pass."""
    wrong_schema = DOCUMENT | {"components": {"schemas": {"Session": {"type": "text"}}}}
    no_schema = DOCUMENT | {"methods": [{"name": "a", "params": [{"name": "b"}]}]}
    for wrong in (DOCUMENT | {"openrpc": "9.9.9"}, no_schema, wrong_schema):
        assert not meta_schema.is_valid(wrong)


def test_every_ref_arrives() -> None:
    """None points outside the document."""
    refs = [value["$ref"] for value in inside(DOCUMENT) if isinstance(value.get("$ref"), str)]
    assert refs
    assert all(resolved(ref) for ref in refs)


def test_nothing_stands_beside_a_ref() -> None:
    """Draft 7 does not see it."""
    assert all(len(value) == 1 for value in inside(DOCUMENT) if isinstance(value.get("$ref"), str))


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_component_is_json_schema(name: str) -> None:
    """Draft 7, with a title that is its name and a description."""
    Draft7Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["title"] == name
    assert SCHEMAS[name]["description"]


def test_every_params_and_result_is_json_schema() -> None:
    """Also where it is no component."""
    for method in DOCUMENT["methods"]:
        Draft7Validator.check_schema(method["result"]["schema"])
        for param in method["params"]:
            Draft7Validator.check_schema(param.get("schema", {}))


def test_the_document_has_what_the_registry_has() -> None:
    """In the same order."""
    assert list(METHOD_BY_NAME) == list(METHODS)
    assert [notification["name"] for notification in DOCUMENT["x-notifications"]] == list(NOTIFICATIONS)
    assert [event["type"] for event in DOCUMENT["x-events"]] == list(EVENTS)
    assert [error["code"] for error in DOCUMENT["x-errors"]] == list(ERRORS)


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_params_are_its_struct(name: str) -> None:
    """By name, the required ones first, `_meta` last."""
    method, struct = METHOD_BY_NAME[name], METHODS[name].params
    *params, meta = method["params"]
    assert method["paramStructure"] == "by-name"
    assert meta == {"$ref": "#/components/contentDescriptors/_meta"}
    assert {param["name"] for param in params} | {"_meta"} == set(struct.__struct_encode_fields__)
    required = {field.encode_name for field in msgspec.structs.fields(struct) if field.required}
    assert {param["name"] for param in params if param["required"]} == required
    assert sorted(params, key=lambda param: not param["required"]) == params


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("whole", [True, False], ids=["every member", "required members"])
def test_what_the_document_allows_as_params_the_gateway_takes(name: str, whole: bool) -> None:
    """An example made from the schema is decoded; with an unknown member neither of the two takes it."""
    schema, struct = METHOD_BY_NAME[name]["x-params"], METHODS[name].params
    params = example(schema, whole=whole)
    assert validator(schema).is_valid(params)
    msgspec.json.decode(json.dumps(params), type=struct)
    params["unknown"] = 1
    assert not validator(schema).is_valid(params)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(params), type=struct)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("whole", [True, False], ids=["every member", "required members"])
def test_what_the_gateway_answers_the_document_allows(name: str, whole: bool) -> None:
    """A result comes out of the encoder as the schema says, without nulls for what has no value."""
    schema = METHOD_BY_NAME[name]["result"]["schema"]
    for option, type in zip(
        schema.get("anyOf", [schema]), (METHODS[name].result, METHODS[name].bulk_result), strict=False
    ):
        result = msgspec.json.decode(json.dumps(example(option, whole=whole)), type=type)
        sent = json.loads(msgspec.json.encode(result))
        assert [error.message for error in validator(schema).iter_errors(sent)] == []


@pytest.mark.parametrize("name", NOTIFICATIONS)
def test_what_the_gateway_says_unasked_the_document_allows(name: str) -> None:
    """Round the encoder and back to the schema."""
    said = next(said for said in DOCUMENT["x-notifications"] if said["name"] == name)
    params = msgspec.json.decode(json.dumps(example(said["x-params"], whole=True)), type=NOTIFICATIONS[name].params)
    assert validator(said["x-params"]).is_valid(json.loads(msgspec.json.encode(params)))


@pytest.mark.parametrize("type", EVENTS)
@pytest.mark.parametrize("whole", [True, False], ids=["every member", "required members"])
def test_an_event_is_what_the_document_says(type: str, whole: bool) -> None:
    """As one type and as any event; one that was never committed is not."""
    schema = next(event["schema"] for event in DOCUMENT["x-events"] if event["type"] == type)
    event = msgspec.json.decode(json.dumps(example(schema, whole=whole)), type=EVENTS[type])
    sent = json.loads(msgspec.json.encode(event))
    assert validator(schema).is_valid(sent)
    assert validator(SCHEMAS["Event"]).is_valid(sent)
    for member in ("seq", "at", "type"):
        assert not validator(schema).is_valid({name: value for name, value in sent.items() if name != member})


@pytest.mark.parametrize("code", ERRORS)
@pytest.mark.parametrize("whole", [True, False], ids=["every member", "required members"])
def test_an_errors_data_is_what_the_document_says(code: str, whole: bool) -> None:
    """As it is put on the wire, also where an optional member has no value."""
    described = next(error for error in DOCUMENT["x-errors"] if error["code"] == code)
    names = {field: _camel(field) for field in getattr(ERRORS[code], "__dataclass_fields__", {})}
    data = example(described["data"], whole=whole)
    error = ERRORS[code](**{field: data[name] for field, name in names.items() if name in data})
    assert validator(described["data"]).is_valid(error.to_wire().data)
    assert (described["number"], described["retryable"]) == (error.number, error.retryable)
    assert DOCUMENT["components"]["errors"][code]["data"] == {"code": code, "retryable": error.retryable}


def test_types_of_one_name_have_names_of_their_own() -> None:
    """By the family of their method."""
    assert {"AgentListResult", "SessionListResult"} <= SCHEMAS.keys()
    assert not any("." in name for name in SCHEMAS)


def test_no_member_of_a_result_has_null_for_a_default() -> None:
    """What has no value is left out; where null says something, it is among the types."""
    assert all(value.get("default", 0) is not None for value in inside(DOCUMENT))
    assert {"type": "null"} in SCHEMAS["Policy"]["properties"]["maxConcurrentPerUser"]["anyOf"]
    assert SCHEMAS["Session"]["properties"]["title"] == {"type": "string"}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
