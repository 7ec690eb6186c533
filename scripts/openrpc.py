"""The protocol as an OpenRPC document, made from `rpc_schema.registry`.

What OpenRPC has no word for stands under `x-`: notifications, events, errors by
their code, close codes, each method's params as one object and what it needs. The schemas
themselves are in `schemas`.
"""

import re
from typing import Any

from gateway.auth.permissions import NEEDED
from rpc_schema import close_codes
from rpc_schema.descriptors import Method, Notification
from rpc_schema.errors import RpcError
from rpc_schema.registry import ERRORS, EVENTS, METHODS, NOTIFICATIONS
from rpc_schema.system import PROTOCOL
from rpc_schema.types import RequestMeta

from .schemas import Schema, Schemas


def document() -> dict[str, Any]:
    """Give the whole document, always in the same order."""
    schemas = Schemas()
    meta = {"name": "_meta", "required": False, "schema": schemas.of(RequestMeta)}
    return {
        "openrpc": "1.3.2",
        "info": {
            "title": "Session gateway",
            "version": PROTOCOL,
            "description": "Conversations between people and agents: JSON-RPC 2.0 over one WebSocket, params by name.",
            "license": {"name": "MIT"},
        },
        "servers": [{"name": "default", "url": "ws://127.0.0.1:8765/rpc"}],
        "methods": [_method(method, schemas) for method in METHODS.values()],
        "components": {
            "schemas": schemas.components,
            "contentDescriptors": {"_meta": meta},
            "errors": {code: _error(error) for code, error in ERRORS.items()},
        },
        "x-notifications": [_notification(notification, schemas) for notification in NOTIFICATIONS.values()],
        "x-events": [{"type": type, "schema": schemas.of(event)} for type, event in EVENTS.items()],
        "x-errors": [_error_by_code(error, schemas) for error in ERRORS.values()],
        "x-close-codes": [
            {"code": code, "meaning": meaning, "reconnect": code in close_codes.RECONNECT}
            for code, meaning in close_codes.MEANING.items()
        ],
    }


def _method(method: Method[Any, Any], schemas: Schemas) -> dict[str, Any]:
    return {
        "name": method.name,
        "summary": method.summary,
        "paramStructure": "by-name",
        "params": [*_params(schemas.fields(method.params)), {"$ref": "#/components/contentDescriptors/_meta"}],
        "result": _result(method, schemas),
        "errors": [{"$ref": f"#/components/errors/{error.code}"} for error in method.errors],
        "x-params": schemas.of(method.params),
        "x-past-limits": method.past_limits,
        "x-needs": NEEDED[method.name],
    }


def _params(schema: Schema) -> list[dict[str, Any]]:
    """One descriptor a member, the required ones first, as OpenRPC wants it."""
    params = [
        {"name": name, "required": name in schema["required"], "schema": member}
        for name, member in schema["properties"].items()
        if name != "_meta"
    ]
    return sorted(params, key=lambda param: not param["required"])


def _result(method: Method[Any, Any], schemas: Schemas) -> dict[str, Any]:
    name, one = schemas.name(method.result) or "result", schemas.of(method.result)
    if method.bulk_result is None:
        return {"name": name, "required": True, "schema": one}
    either = {"anyOf": [one, schemas.of(method.bulk_result)]}
    return {"name": name, "description": "The second when `keys` was given.", "required": True, "schema": either}


def _notification(notification: Notification[Any], schemas: Schemas) -> dict[str, Any]:
    return {
        "name": notification.name,
        "summary": notification.summary,
        "paramStructure": "by-name",
        "params": _params(schemas.fields(notification.params)),
        "x-params": schemas.of(notification.params),
    }


def _error(error: type[RpcError]) -> dict[str, Any]:
    return {
        "code": error.number,
        "message": _message(error),
        "data": {"code": error.code, "retryable": error.retryable},
    }


def _error_by_code(error: type[RpcError], schemas: Schemas) -> dict[str, Any]:
    return {
        "code": error.code,
        "number": error.number,
        "retryable": error.retryable,
        "message": _message(error),
        "data": schemas.of(error),
    }


def _message(error: type[RpcError]) -> str:
    """The sentence, with `{members}` named as in `error.data`."""
    sentence = (error.__doc__ or "").splitlines()[0]
    return re.sub(r"_([a-z])(?=[a-z_]*})", lambda match: match[1].upper(), sentence)
