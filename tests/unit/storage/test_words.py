"""Words as people type them, texts as they wrote them, and the piece of text that shows why something was found."""

import sqlite3
from contextlib import closing

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from gateway.storage.words import SNIPPET, Matcher, Term, folded, parse, spoken


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("", []),
        ("Rain", [Term(("rain",))]),
        ("rain RAIN räin", [Term(("rain",))]),
        ('"heavy rain" in', [Term(("heavy", "rain")), Term(("in",))]),
        ('say"heavy rain"', [Term(("say",)), Term(("heavy", "rain"))]),
        ('"heavy', [Term(("heavy",))]),
        ("wea*", [Term(("wea",), is_prefix=True)]),
        ("we*", [Term(("we",))]),
        ("*rain", [Term(("rain",))]),
        ('"rai*"', [Term(("rai",))]),
        ("foo-bar*", [Term(("foo", "bar"), is_prefix=True)]),
        ("東京都", [Term(("東", "京", "都"))]),
        ("a_b:c^d", [Term(("a", "b", "c", "d"))]),
        ("\x00*'()--", []),
    ],
)
def test_queries(query: str, terms: list[Term]) -> None:
    """Words, phrases, beginnings; all else separates."""
    assert parse(query) == terms


@given(st.text(max_size=200))
def test_any_query_is_a_question_for_fts5(query: str) -> None:
    """Tokens are quoted as they are: none can end its quotes or be an operator."""
    for term in parse(query):
        assert all(regex.fullmatch(r"[\p{L}\p{N}\p{M}\p{Co}\p{So}\p{Extended_Pictographic}\p{Emoji}]+", token, regex.V1)
                   for token in term.tokens)  # fmt: skip
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE VIRTUAL TABLE t USING fts5 (words)")
        for term in parse(query):
            connection.execute("SELECT * FROM t WHERE t MATCH ?", (f'words : "{" ".join(term.tokens)}" *',)).fetchall()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CAFÉ", "cafe"),
        ("Cafe\u0301", "café"),
        ("Straße", "STRASSE"),
        ("ﬁnd", "find"),
        ("\uff21\uff22\uff23", "abc"),
        ("Ёлка", "елка"),
    ],
)
def test_spellings(one: str, other: str) -> None:
    """The same word, however it was written."""
    assert folded(one) == folded(other)


@pytest.mark.parametrize(("one", "other"), [("がく", "かく"), ("कि", "क"), ("a", "b")])
def test_other_words(one: str, other: str) -> None:
    """Marks that are no accents make another word."""
    assert folded(one) != folded(other)


def shown(query: str, text: str) -> str:
    return Matcher(parse(query)).snippet(text)


def test_a_short_text_is_shown_whole() -> None:
    """On one line, without what drives a terminal or turns the writing round."""
    assert shown("rain", " The\n\train \x1b[31mred\x1b[0m \x07bell ") == "The rain red bell"
    assert shown("rain", "é \u202erain\u2028\x00\x1b]0;x") == "é rain ]0;x"


@pytest.mark.parametrize("filler", ["word ", "wörd ", "東", "👩\u200d👩\u200d👧 "])
def test_a_long_text_is_cut_around_the_match(filler: str) -> None:
    """About SNIPPET characters, with the match, with a sign on each side where something was cut."""
    snippet = shown("needle", filler * 400 + "needle " + filler * 400)
    assert snippet.startswith("…")
    assert snippet.endswith("…")
    assert "needle" in snippet
    assert len(regex.findall(r"\X", snippet)) <= SNIPPET + 2
    pieces = set(regex.findall(r"\X", snippet)) - set("… needle")
    assert pieces <= set(regex.findall(r"\X", filler))


def test_at_the_ends() -> None:
    """Nothing is cut where there is nothing."""
    assert shown("needle", "needle " + "word " * 100).startswith("needle word")
    assert shown("needle", "word " * 100 + "needle").endswith("word needle")


@pytest.mark.parametrize("query", ["LISBON", '"in lisbon"', "lis*", "cafe", "都"])
def test_the_first_match_is_shown(query: str) -> None:
    """However it was written."""
    text = "x " * 500 + "rain in Lisbon, Café 東京都" + " y" * 500
    assert any(word in shown(query, text) for word in ("Lisbon", "Café", "都"))
    assert Matcher(parse(query)).matches(text)


@given(st.text(max_size=300), st.text(max_size=20))
def test_any_text_has_a_snippet(text: str, query: str) -> None:
    """One line, bounded, nothing that drives a terminal."""
    snippet = shown(query, text)
    assert not regex.search(r"[\p{Cc}\u2028-\u202e\u2066-\u2069]", snippet)
    assert len(snippet) <= SNIPPET * 8


@pytest.mark.parametrize("depth", [70, 900, 5000])
def test_what_is_too_deep(depth: int) -> None:
    """It says what can be reached; no depth is a failure."""
    assert "inside" not in spoken(b'{"output":' + b"[" * depth + b'"inside"' + b"]" * depth + b"}")[0]


def test_what_tools_say() -> None:
    """Names and values of their JSON, as people would write them."""
    body = (
        b'{"type":"tool.call","at":"then","callId":"c","name":"weather","input":{"city":"Lisbon","days":[1,true,null]}}'
    )
    assert spoken(body) == ("weather city: Lisbon, days: 1, true, ", "then")
