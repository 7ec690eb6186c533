"""What may be a session key."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions.keys import MAX_BYTES, check
from rpc_schema.errors import InvalidKey
from tests.unit.sessions.logs import patiently


@pytest.mark.parametrize(
    "key",
    [
        "k",
        "agent:support:telegram:42/7",
        "/",
        "..",
        "%2F?#&=+",
        "ключ",
        "钥匙",
        "e\u0301",
        "👩‍👩‍👧",
        "👋🏽",
        "🇵🇹",
        '"\\{}[]',
        "x" * MAX_BYTES,
        "é" * (MAX_BYTES // 2),
    ],
)
def test_keys(key: str) -> None:
    """Printable text of any script comes back as it is."""
    assert check(key) == key


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "empty"),
        (" ", "character 1 is a space"),
        ("a b", "character 2 is a space"),
        ("ab ", "character 3 is a space"),
        ("a\u00a0b", "character 2 is a space"),
        ("a\u3000", "character 2 is a space"),
        ("a\u2028b", "character 2 is a space"),
        ("a\nb", "character 2 is a control character"),
        ("\x00", "character 1 is a control character"),
        ("ab\x7f", "character 3 is a control character"),
        ("a\x85", "character 2 is a control character"),
        ("a\u200bb", "character 2 is an invisible character"),
        ("\ufeffa", "character 1 is an invisible character"),
        ("a\u202eb", "character 2 is an invisible character"),
        ("a\u00adb", "character 2 is an invisible character"),
        ("a\ud800", "character 2 is half a surrogate pair"),
        ("x" * (MAX_BYTES + 1), "257 bytes"),
        ("é" * (MAX_BYTES // 2) + "x", "257 bytes"),
        ("👩" * 65, "260 bytes"),
    ],
)
def test_no_keys(key: str, reason: str) -> None:
    """What cannot be seen, typed or stored is refused, and the reason says where."""
    with pytest.raises(InvalidKey) as refused:
        check(key)
    assert reason in refused.value.reason


@patiently
@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    """At most 256 bytes without separators and control characters is a key, all else is refused, nothing breaks."""
    try:
        assert check(text) == text
    except InvalidKey:
        return
    assert 1 <= len(text.encode()) <= MAX_BYTES
    assert not any(unicodedata.category(character)[0] == "Z" for character in text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


@patiently
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=MAX_BYTES))
def test_all_that_keyboards_have(text: str) -> None:
    """Every visible ASCII character may be in a key."""
    assert check(text) == text
