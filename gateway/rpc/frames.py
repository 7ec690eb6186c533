"""Text of a WebSocket message to requests. Pure.

What is wrong with one element of a batch is that element's answer alone; what
cannot be read at all is one answer with a null id (JSON-RPC 2.0 §5.1, §6).
"""

import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, Raw, Struct

from rpc_schema.envelope import Id, Request
from rpc_schema.errors import BatchTooBig, InvalidParams, InvalidRequest, ParseError, RpcError

_decode_request = msgspec.json.Decoder(Request).decode
_decode_batch = msgspec.json.Decoder(list[Raw]).decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_id = msgspec.json.Decoder(Id).decode
_check_syntax = msgspec.json.Decoder(Raw).decode
_STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
REASON_MOST = 300
_WHITESPACE = " \t\n\r"


class Refusal(Struct, frozen=True):
    """An element that is answered without being called; a notification's `id` is unset, it gets no answer."""

    id: Id | msgspec.UnsetType
    error: RpcError


Element = Request | Refusal


class Frame(Struct, frozen=True):
    """What came in one message."""

    elements: Sequence[Element]
    is_batch: bool


def parse(text: str, *, nesting_depth: int, batch_items: int) -> Frame:
    """Read one message."""
    if is_deeper(text, nesting_depth):
        return _refused(InvalidRequest(reason=f"it is nested deeper than {nesting_depth} levels"))
    if not text.lstrip(_WHITESPACE).startswith("["):
        return Frame((_element(text),), is_batch=False)
    try:
        items = _decode_batch(text)
    except msgspec.DecodeError as error:
        return _refused(unreadable(text, error))
    if not items:
        return _refused(InvalidRequest(reason="the batch is empty"))
    if len(items) > batch_items:
        return _refused(BatchTooBig(limit=batch_items))
    return Frame([_element(item) for item in items], is_batch=True)


def binary() -> Frame:
    """A binary message: JSON-RPC is text."""
    return _refused(ParseError(reason="it is binary; send text frames"))


def _refused(error: RpcError) -> Frame:
    return Frame((Refusal(None, error),), is_batch=False)


def _element(item: str | Raw) -> Element:
    try:
        return _checked(_decode_request(item))
    except msgspec.ValidationError:
        return _at_second_sight(item)
    except msgspec.DecodeError as error:
        return Refusal(None, unreadable(item if isinstance(item, str) else "", error))


def _at_second_sight(item: str | Raw) -> Element:
    """Look past the first value that is wrong: it may be in broken JSON, or a later member of its name may count."""
    try:
        _check_syntax(item)
        members = _decode_members(item)
    except msgspec.ValidationError as error:
        return _invalid(None, error)
    except msgspec.DecodeError as error:
        return Refusal(None, unreadable(item if isinstance(item, str) else "", error))
    try:
        return _checked(_decode_request(msgspec.json.encode(members)))
    except msgspec.ValidationError as error:
        return _invalid(_id_of(members), error)


def _checked(request: Request) -> Element:
    if request.params is UNSET:
        return request
    match bytes(request.params)[:1]:
        case b"{":
            return request
        case b"[":
            reason = "by-position params are not taken; send an object"
            return Refusal(request.id, InvalidParams(path="$", reason=reason))
        case _:
            id = None if request.id is UNSET else request.id
            return Refusal(id, InvalidRequest(reason="params must be an object - at `$.params`"))


def _invalid(id: Id, error: msgspec.ValidationError) -> Refusal:
    return Refusal(id, InvalidRequest(reason=str(error)[:REASON_MOST]))


def _id_of(members: Mapping[str, Raw]) -> Id:
    """The id of a request that is wrong elsewhere, so that its sender learns of it; null where the id is wrong."""
    try:
        return _decode_id(members["id"]) if "id" in members else None
    except msgspec.ValidationError:
        return None


def unreadable(text: str, error: msgspec.DecodeError) -> ParseError:
    """Why a text is no JSON."""
    reason = str(error)
    if "truncated" in reason and _HALF_PAIR.search(text):
        reason = "a string has half of a surrogate pair"
    return ParseError(reason=reason)


def is_deeper(text: str, depth: int) -> bool:
    """Whether brackets stand more than `depth` deep; counting all of them settles nearly every message."""
    if text.count("[") + text.count("{") <= depth:
        return False
    level = 0
    for character in _STRINGS.sub("", text):
        if character in "[{":
            level += 1
            if level > depth:
                return True
        elif character in "]}":
            level -= 1
    return False


_PLACE = re.compile(r"(?P<reason>.*?) - at (?:`key` in )?`(?P<path>.*)`", re.DOTALL)
_MEMBER = re.compile(r"Object (?:contains unknown|missing required) field `(?P<name>.*)`", re.DOTALL)


def reason_of(error: msgspec.ValidationError) -> tuple[str, str]:
    """The path and the reason in a msgspec message: "Expected `int` >= 1 - at `$.limit`"."""
    text = str(error)
    place = _PLACE.fullmatch(text)
    reason, path = (place["reason"], place["path"]) if place is not None else (text, "$")
    if (member := _MEMBER.fullmatch(reason)) is not None:
        path = f"{path}.{member['name']}"
    if "matching regex" in reason:
        reason = "Expected one line without control characters"
    return path[:REASON_MOST], reason[:REASON_MOST]
