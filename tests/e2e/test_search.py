"""Finding what was said: words, phrases, beginnings; whose sessions; pages; nothing of what was erased."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.calls import code_of
from tests.e2e.inside import client_of, gateway_of
from tests.fakes import FakeClock
from tests.raw import RawClient

ECHO = {"agent": "echo"}


@pytest.fixture
def client(still: RawClient) -> RawClient:
    return still


async def say(client: RawClient, key: str, content: str = "hello", **birth: Any) -> None:
    await client.call("session.send", key=key, content=content, create=ECHO | birth, wait=True)


async def found(client: RawClient, query: str, **params: Any) -> list[tuple[str, str]]:
    """Key and type of each match."""
    page = await client.call("session.search", query=query, **params)
    assert "incomplete" not in page
    return [(match["key"], match["type"]) for match in page["matches"]]


async def keys_of(client: RawClient, query: str, **params: Any) -> list[str]:
    """The sessions of the users' messages that match."""
    return [key for key, type in await found(client, query, **params) if type == "message.user"]


async def test_what_was_just_said_is_found(client: RawClient) -> None:
    """The newest first: the echo's answer before the message; with place, time and text."""
    await say(client, "a", "What is the weather in Lisbon?")
    page = await client.call("session.search", query="LISBON weather")
    assert [match["type"] for match in page["matches"]] == ["message.assistant", "message.user"]
    events = (await client.call("session.history", key="a"))["events"]
    for match in page["matches"]:
        (event,) = [event for event in events if event["seq"] == match["seq"]]
        assert (match["key"], match["at"], match["type"]) == ("a", event["at"], event["type"])
        assert match["snippet"] == event["content"]
    for n in range(20):
        await say(client, "a", f"token{n}")
        assert len(await found(client, f"token{n}")) == 2


async def test_tool_calls_are_found(client: RawClient) -> None:
    """By the tool's name and input; their results by output and error."""
    await say(client, "a", "/tool weather city=Lisbon")
    types = {type for _, type in await found(client, "lisbon")}
    assert "tool.call" in types


@pytest.mark.parametrize(
    ("query", "finds"),
    [
        ("rain", "ab"),
        ("rain Lisbon", "a"),
        ('"rain in Lisbon"', "a"),
        ('"Lisbon rain"', ""),
        ("Lis*", "a"),
        ("Li*", ""),
        ("isbon", ""),
        ("CAFE", "b"),
        ("café", "b"),
        ("strasse", "c"),
        ("東京", "d"),
        ("京東", ""),
        ("都", "d"),
        ("한국", "d"),
        ("🎉", "d"),
        ("d'accord", "c"),
        ("foo-bar", "e"),
        ("foo.bar", "e"),
        ("AND", "e"),
        ("NEAR(foo bar)", ""),
        ("foo NOT rain", ""),
        ('"unbalanced', "e"),
        ("^foo", "e"),
        ("words:foo", ""),
        ("-foo", "e"),
        ("foo\x00bar", "e"),
        ("( foo )", "e"),
        ("' OR 1=1 --", ""),
        ("*", ""),
        ('"""', ""),
        ("?!…", ""),
        ("\u202e", ""),
    ],
)
async def test_queries(client: RawClient, query: str, finds: str) -> None:
    """Words are ANDed, quotes make phrases, a star a beginning; nothing else means anything, nothing is an error."""
    await say(client, "a", "Rain in Lisbon, again")
    await say(client, "b", "No rain in the Cafe\u0301")
    await say(client, "c", "Die Straße, d\u2019accord")
    await say(client, "d", "東京都に行く 🎉 한국어는")
    await say(client, "e", "foo-bar AND unbalanced parentheses (")
    assert "".join(sorted(await keys_of(client, query))) == finds


@pytest.mark.parametrize("query", ["", "x" * 201, " ".join(f"w{n}" for n in range(21)), 7, None, ["a"]])
async def test_queries_that_are_none(client: RawClient, query: Any) -> None:
    """Too short, too long, too many words, not text."""
    assert await code_of(client, "session.search", query=query) == (-32602, "invalid_params")


async def test_filters(client: RawClient, clock: FakeClock) -> None:
    """Those of session.list."""
    await say(client, "a", "rain", channel="web", labels={"team": "red"}, project="p")
    await say(client, "b", "rain", channel="api", pinned=True, user="bob")
    clock.advance(minutes=1)
    await say(client, "c", "rain", source="scheduled")
    since = (await client.call("session.status", key="c"))["session"]["lastActivityAt"]
    for asked, finds in [
        ({}, "abc"),
        ({"channel": "web"}, "a"),
        ({"channel": ["web", "api"]}, "abc"),
        ({"channel": []}, ""),
        ({name: ["echo", *(f"n{n}" for n in range(99))] for name in ("agent", "model")}, "abc"),
        ({"user": [f"n{n}" for n in range(100)], "channel": [f"n{n}" for n in range(100)]}, ""),
        ({"label": {"team": "red"}}, "a"),
        ({"pinned": True}, "b"),
        ({"user": "bob"}, "b"),
        ({"source": "scheduled"}, "c"),
        ({"project": "p"}, "a"),
        ({"agent": "nobody"}, ""),
        ({"tenant": "other"}, ""),
        ({"state": "ended"}, ""),
        ({"updatedSince": since}, "c"),
    ]:
        assert "".join(sorted(await keys_of(client, "rain", filter=asked))) == finds, asked


async def test_ended_sessions_are_searched(client: RawClient, clock: FakeClock) -> None:
    """Their history is kept."""
    await say(client, "a", "rain")
    clock.advance(minutes=31)
    assert await keys_of(client, "rain") == ["a"]
    await client.call("session.status", key="a")
    assert await keys_of(client, "rain", filter={"state": "ended"}) == ["a"]


async def test_pages(client: RawClient) -> None:
    """Joined they are everything, newest first, none twice, whatever is said meanwhile."""
    for n in range(7):
        await say(client, f"k{n % 3}", f"rain {n}")
    whole = (await client.call("session.search", query="rain"))["matches"]
    assert len(whole) == 14
    for limit in (1, 4, 14):
        matches, cursor = [], dict[str, str]()
        while True:
            page = await client.call("session.search", query="rain", limit=limit, **cursor)
            matches += page["matches"]
            if "nextCursor" not in page:
                break
            cursor = {"cursor": page["nextCursor"]}
            await say(client, "later", f"snow {len(matches)}")
        assert matches == whole


async def test_cursors_of_other_questions(client: RawClient) -> None:
    """A cursor goes on with its own question only; those of lists are no better."""
    for n in range(3):
        await say(client, f"k{n}", "rain snow")
    cursor = (await client.call("session.search", query="rain", limit=1))["nextCursor"]
    assert len(await found(client, "rain", cursor=cursor, limit=7)) == 5
    listed = (await client.call("session.list", limit=1))["nextCursor"]
    sorted_ = (await client.call("session.list", limit=1, sort={"by": "key"}))["nextCursor"]
    for other in (
        {"query": "snow", "cursor": cursor},
        {"query": "rain", "filter": {"agent": "echo"}, "cursor": cursor},
        {"query": "rain", "cursor": listed},
        {"query": "rain", "cursor": sorted_},
        {"query": "rain", "cursor": cursor[:-2]},
        {"query": "rain", "cursor": ""},
        {"query": "rain", "cursor": "ключ"},
    ):
        assert await code_of(client, "session.search", **other) == (400, "invalid_cursor")


async def test_reset_and_delete(client: RawClient, tmp_path: Path) -> None:
    """What was erased is found no more and in no file; what others said, and what is said later, is."""
    for key in ("a", "b", "c"):
        await say(client, key, f"rain xylophone{key}")
    assert len(await found(client, "xylo*")) == 6
    await client.call("session.reset", key="a")
    await client.call("session.delete", key="b")
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"xylophonea" not in files
    assert b"xylophoneb" not in files
    assert await keys_of(client, "xylo*") == ["c"]
    await say(client, "a", "rain again")
    assert sorted(await keys_of(client, "rain")) == ["a", "c"]


async def test_after_a_restart(tmp_path: Path) -> None:
    """What was not indexed yet is when somebody searches."""
    async with gateway_of(tmp_path) as gateway, client_of(gateway) as client:
        await say(client, "a", "rain")
    async with gateway_of(tmp_path) as gateway, client_of(gateway) as client:
        assert await keys_of(client, "rain") == ["a"]


async def test_many_search_while_many_speak(tmp_path: Path) -> None:
    """Each finds what it said itself, at once."""
    async with gateway_of(tmp_path) as gateway:

        async def one(n: int) -> None:
            async with client_of(gateway) as client:
                for m in range(5):
                    await say(client, f"k{n}", f"rain number{n}x{m}")
                    assert await keys_of(client, f"number{n}x{m}") == [f"k{n}"]

        await asyncio.gather(*(one(n) for n in range(10)))
