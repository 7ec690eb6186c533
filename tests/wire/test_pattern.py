"""The matcher finds what differs, and only that."""

import re
from typing import Any

import pytest

from tests.wire.pattern import Mismatch, match, match_unordered, read


@pytest.mark.parametrize(
    ("pattern", "heard"),
    [
        ("1", 1),
        ("1", 1.0),
        ("-0.5e1", -5),
        ("true", True),
        ("null", None),
        ('"a"', "a"),
        (r'"\u00e4\n\"\\"', 'ä\n"\\'),
        ("…", {"any": ["thing"]}),
        ('"…"', ""),
        ('"…"', "two\nlines"),
        ('"t_…"', "t_01J"),
        ('"a…c…e"', "abcde"),
        ('"a.c…"', "a.c"),
        ("{}", {}),
        ('{"a":1,"b":[]}', {"b": [], "a": 1}),
        ('{"a":1, …}', {"a": 1, "b": 2}),
        ('{"a":1, …}', {"a": 1}),
        ("{…}", {"a": 1}),
        ("[]", []),
        ('[1, "a"]', [1, "a"]),
        ("[1, …]", [1]),
        ("[1, …]", [1, 2, 3]),
        ("[…]", []),
        ("[…, 2]", [1, 2]),
        ("~[1, 2]", [2, 1]),
        ('~[{"id":2, …}, {"id":1, …}]', [{"id": 1}, {"id": 2}]),
        ("~[1, …]", [2, 1]),
        (' [ 1 ,\t{ "a" : … } ] ', [1, {"a": 0}]),
    ],
)
def test_it_fits(pattern: str, heard: Any) -> None:
    """A pattern takes what it says it takes."""
    assert match(read(pattern), heard, {}) == {}


@pytest.mark.parametrize(
    ("pattern", "heard", "where"),
    [
        ("1", 2, "$"),
        ("1", True, "$"),
        ("1", "1", "$"),
        ("0", False, "$"),
        ("0", None, "$"),
        ("true", 1, "$"),
        ("null", 0, "$"),
        ('""', None, "$"),
        ('"a"', "A", "$"),
        ('"…"', 1, "$"),
        ('"t_…"', "turn", "$"),
        ('"a.c…"', "abc", "$"),
        ("{}", {"a": 1}, "$.a"),
        ("{}", [], "$"),
        ('{"a":1}', {}, "$"),
        ('{"a":1, …}', {"b": 1}, "$"),
        ('{"a":{"b":1}}', {"a": {"b": 2}}, "$.a.b"),
        ('{"a":null}', {}, "$"),
        ("[]", {}, "$"),
        ("[1, 2]", [1], "$"),
        ("[1]", [1, 2], "$"),
        ("[1, 2]", [2, 1], "$[0]"),
        ("[1, [2]]", [1, [3]], "$[1][0]"),
        ("[1, 2, …]", [1], "$"),
        ("~[1, 1]", [1, 2], "$"),
        ("~[1, 2]", [1, 2, 3], "$"),
    ],
)
def test_it_does_not_fit(pattern: str, heard: Any, where: str) -> None:
    """What differs is found, and where."""
    with pytest.raises(Mismatch, match=f"^{re.escape(where)}: expected "):
        match(read(pattern), heard, {})


def test_a_name_is_given() -> None:
    """The first time it is whatever string is there."""
    assert match(read('{"a":"⟨turn⟩","b":["⟨turn⟩"]}'), {"a": "t_1", "b": ["t_1"]}, {"s": "s1"}) == {
        "s": "s1",
        "turn": "t_1",
    }


def test_a_name_stands_for_one_string() -> None:
    """Inside one frame and across frames."""
    with pytest.raises(Mismatch, match=re.escape("$[1]: expected the turn 't_1'")):
        match(read('["⟨turn⟩","⟨turn⟩"]'), ["t_1", "t_2"], {})
    with pytest.raises(Mismatch):
        match(read('"⟨turn⟩"'), "t_2", {"turn": "t_1"})


def test_only_strings_have_names() -> None:
    """Ids are opaque strings."""
    with pytest.raises(Mismatch):
        match(read('"⟨turn⟩"'), 1, {})


def test_each_pattern_has_its_own() -> None:
    """Two equal patterns need two frames."""
    one = read('{"a":1}')
    assert match_unordered((one, one), [{"a": 1}, {"a": 1}], {}) == {}
    with pytest.raises(Mismatch, match="pattern 2 of 2"):
        match_unordered((one, one), [{"a": 1}, {"a": 2}], {})


def test_a_pattern_that_does_not_fit_gives_no_name() -> None:
    """A name from a frame that was tried in vain would be wrong for the next."""
    pattern = read('{"turn":"⟨turn⟩","type":"stopped"}')
    heard = [{"turn": "t_1", "type": "started"}, {"turn": "t_2", "type": "stopped"}]
    assert match_unordered((pattern,), heard, {}) == {"turn": "t_2"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"a"}',
        '{"a":1,}',
        '{"a":1 "b":2}',
        '{"a":1,"a":2}',
        "{…, …}",
        '{…,"a":1}',
        "[1,]",
        "[1 2]",
        "01",
        "NaN",
        "'a'",
        "1 2",
        "~{}",
        '"a',
    ],
)
def test_it_is_no_pattern(text: str) -> None:
    """A slip in a script is an error of its own, not a frame that never comes."""
    with pytest.raises(ValueError):
        read(text)
