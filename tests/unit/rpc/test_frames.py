"""Text to requests: whatever comes, it is read or refused as the contract says, and nothing is raised."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET, ValidationError

from gateway.rpc import frames
from gateway.rpc.frames import REASON_MOST, Frame, Refusal
from rpc_schema.envelope import Request

DEPTH, ITEMS = 8, 4
PARSE, REQUEST, PARAMS, BATCH = -32700, -32600, -32602, -32010
Judgement = tuple[Any, ...]
"""`("call", method, id, params)` or `(code, id)` of an element."""


def read(text: str) -> Frame:
    return frames.parse(text, nesting_depth=DEPTH, batch_items=ITEMS)


def judgement(element: Request | Refusal) -> Judgement:
    if isinstance(element, Refusal):
        return element.error.number, element.id
    params = json.loads(bytes(element.params)) if element.params is not UNSET else {}
    return "call", element.method, element.id, params


def depth_of(text: str) -> int:
    """How deep brackets stand in the text, a character at a time; those in strings do not count."""
    level = most = 0
    is_string = is_escaped = False
    for character in text:
        if is_string:
            is_string = is_escaped or character != '"'
            is_escaped = character == "\\" and not is_escaped
        elif character == '"':
            is_string = True
        elif character in "[{":
            level += 1
            most = max(most, level)
        elif character in "]}":
            level -= 1
    return most


def loaded(text: str) -> Any:
    """The value of the text by Python's reader, held to what the contract calls JSON; ValueError where it is none."""

    def refuse(word: str) -> Any:
        raise ValueError(word)

    def checked(members: list[tuple[str, Any]]) -> dict[str, Any]:
        json.dumps(members, ensure_ascii=False).encode()
        return dict(members)

    value = json.loads(text, parse_constant=refuse, object_pairs_hook=checked)
    json.dumps(value, ensure_ascii=False).encode()
    return value


def expected(text: str) -> tuple[bool, list[Judgement]]:
    """What the contract says of a text, the slow way: whether it is answered as a batch, and each element."""
    if depth_of(text) > DEPTH:
        return False, [(REQUEST, None)]
    try:
        value = loaded(text)
    except ValueError:
        return False, [(PARSE, None)]
    if not isinstance(value, list):
        return False, [expected_of(value)]
    if not value:
        return False, [(REQUEST, None)]
    if len(value) > ITEMS:
        return False, [(BATCH, None)]
    return True, [expected_of(item) for item in value]


def expected_of(value: Any) -> Judgement:
    if not isinstance(value, dict):
        return REQUEST, None
    id = value.get("id", UNSET)
    is_id = id is UNSET or id is None or (type(id) is int and abs(id) <= 2**53) or (type(id) is str and len(id) <= 128)
    shown = id if is_id and id is not UNSET else None
    method, params = value.get("method"), value.get("params", {})
    if not is_id or value.get("jsonrpc") != "2.0" or not isinstance(method, str):
        return REQUEST, shown
    match params:
        case dict():
            return "call", method, id, params
        case list():
            return PARAMS, id
        case _:
            return REQUEST, shown


VALUES = st.sampled_from(
    [
        *('"2.0"', '"1.0"', "2.0", '"a.b"', '""', '"ä🚀"', r'"\ud83d\ude80"', r'"\ud83d"', r'"\ude80x"', r'"\"[{\\"'),
        *("null", "true", "0", "-0", "1", "1.0", "1.5", "1e2", "1e400", "01", "NaN", "-Infinity", "'a'", '"a\tb"'),
        *("9007199254740992", "-9007199254740992", "9007199254740993", f'"{"x" * 128}"', f'"{"x" * 129}"'),
        *("{}", "[]", '{"a":1,"a":2}', '{"a":[{"b":NaN}]}', "[1,]", "[" * 7 + "]" * 7, "[" * 9 + "]" * 9),
    ]
)
OBJECTS = st.lists(
    st.tuples(st.sampled_from(["jsonrpc", "id", "method", "params", "result", r"m\u0065thod"]), VALUES), max_size=6
).map(lambda members: "{" + ",".join(f'"{name}":{value}' for name, value in members) + "}")
CALLS = st.tuples(VALUES, VALUES).map(lambda v: f'{{"jsonrpc":"2.0","id":{v[0]},"method":"a.b","params":{v[1]}}}')
ITEMS_OF_BATCHES = st.one_of(CALLS, OBJECTS, VALUES)
BATCHES = st.lists(ITEMS_OF_BATCHES, max_size=6).map(lambda items: f" [{' , '.join(items)}]\n")
MESSAGES = st.one_of(CALLS, OBJECTS, VALUES, BATCHES)
BROKEN = st.tuples(MESSAGES, st.integers(0, 80), st.sampled_from(["", '"', "[", "}", ",", "\\", " ", "\ufeff"])).map(
    lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :]
)


@settings(deadline=None, max_examples=400)
@given(st.one_of(MESSAGES, BROKEN, st.text(), st.text(alphabet='[]{}":,\\ 1a')))
@example('{"jsonrpc":"1.0","id":1,"method":')
@example('{"jsonrpc":"1.0","id":true,"jsonrpc":"2.0","method":"a","id":1}')
@example('["' + "[" * 9)
@example("1 2")
def test_any_text(text: str) -> None:
    """Read or refused just as the contract says, element by element, and never raised."""
    frame = read(text)
    assert (frame.is_batch, [judgement(element) for element in frame.elements]) == expected(text)


@settings(deadline=None)
@given(st.text(alphabet='[]{}"\\a', max_size=60), st.integers(1, 12))
def test_any_depth(text: str, depth: int) -> None:
    """Refused for its depth where a reading character by character finds it too deep, and only there."""
    (first, *_) = frames.parse(text, nesting_depth=depth, batch_items=100).elements
    is_refused = isinstance(first, Refusal) and "deeper" in first.error.message
    assert is_refused == (depth_of(text) > depth)


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("", PARSE, "Input data was truncated"),
        ("{", PARSE, "Input data was truncated"),
        ("[", PARSE, "Input data was truncated"),
        ('{"a":NaN}', PARSE, "JSON is malformed: invalid character (byte 5)"),
        (r'{"a":"\ud800"}', PARSE, "a string has half of a surrogate pair"),
        ("\ufeff{}", PARSE, "JSON is malformed: invalid character (byte 0)"),
        ("[]", REQUEST, "the batch is empty"),
        ("7", REQUEST, "Expected `object`, got `int`"),
        ("{}", REQUEST, "Object missing required field `jsonrpc`"),
        ('{"jsonrpc":"2.0"}', REQUEST, "Object missing required field `method`"),
        ('{"jsonrpc":"2.0","method":1}', REQUEST, "Expected `str`, got `int` - at `$.method`"),
        ('{"jsonrpc":"2.0","method":"a","params":1}', REQUEST, "params must be an object - at `$.params`"),
        ("[" * 9 + "]" * 9, REQUEST, "it is nested deeper than 8 levels"),
        (
            '{"jsonrpc":"2.0","id":1,"method":"a","params":[]}',
            PARAMS,
            "by-position params are not taken; send an object",
        ),
    ],
)
def test_the_reason_is_said(text: str, code: int, reason: str) -> None:
    """A person can see what to change."""
    (refusal,) = read(text).elements
    assert isinstance(refusal, Refusal)
    assert (refusal.error.number, refusal.error.data["reason"]) == (code, reason)


def test_a_batch_of_one_that_is_bad() -> None:
    """It is a batch still: its answer is an array."""
    frame = read("[1]")
    assert frame.is_batch
    assert [judgement(element) for element in frame.elements] == [(REQUEST, None)]


def test_a_batch_over_the_limit() -> None:
    """It is refused as a whole, and says the limit."""
    frame = read("[1,2,3,4,5]")
    assert not frame.is_batch
    (refusal,) = frame.elements
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.error.number, refusal.error.data["limit"]) == (None, BATCH, ITEMS)


def test_a_notification_by_position() -> None:
    """Its id is unset: nobody is answered."""
    (refusal,) = read('{"jsonrpc":"2.0","method":"a","params":[]}').elements
    assert isinstance(refusal, Refusal)
    assert refusal.id is UNSET


def test_bytes() -> None:
    """A binary frame is refused without being looked at."""
    frame = frames.binary()
    assert not frame.is_batch
    assert [judgement(element) for element in frame.elements] == [(PARSE, None)]


def test_a_long_value_is_not_repeated() -> None:
    """A reason has a bound, whatever was sent."""
    (refusal,) = read(f'{{"jsonrpc":"{"x" * 10_000}","id":1,"method":"a"}}').elements
    assert isinstance(refusal, Refusal)
    assert len(refusal.error.data["reason"]) == REASON_MOST


def test_an_integer_that_python_would_not_read() -> None:
    """Python's own reader raises at 4,300 digits; here it is an id that is refused."""
    (refusal,) = read(f'{{"jsonrpc":"2.0","id":{"9" * 5000},"method":"a"}}').elements
    assert judgement(refusal) == (REQUEST, None)


@pytest.mark.parametrize(
    ("message", "path", "reason"),
    [
        ("Expected `int` >= 1 - at `$.limit`", "$.limit", "Expected `int` >= 1"),
        ("Expected `str` - at `$.keys[1]`", "$.keys[1]", "Expected `str`"),
        ("Object contains unknown field `a`", "$.a", "Object contains unknown field `a`"),
        ("Object missing required field `b` - at `$.a`", "$.a.b", "Object missing required field `b`"),
        ("Expected `str` of length >= 1 - at `key` in `$.labels`", "$.labels", "Expected `str` of length >= 1"),
        (
            "Expected `str` matching regex '^a' - at `$.title`",
            "$.title",
            "Expected one line without control characters",
        ),
        ("x" * 400 + " - at `$." + "y" * 400 + "`", "$." + "y" * 298, "x" * 300),
    ],
)
def test_path_and_reason(message: str, path: str, reason: str) -> None:
    """What msgspec says in one sentence, taken apart and bounded."""
    assert frames.reason_of(ValidationError(message)) == (path, reason)
