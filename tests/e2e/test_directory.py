"""Finding sessions: filters, search, orders, pages."""

import base64
import json
from typing import Any, get_args

import pytest

from rpc_schema.directory import Sort
from tests.e2e.calls import code_of
from tests.fakes import FakeClock
from tests.raw import RawClient

ECHO = {"agent": "echo"}
SORTS = get_args(Sort.__annotations__["by"])


@pytest.fixture
def client(still: RawClient) -> RawClient:
    return still


async def say(client: RawClient, key: str, content: str = "hello", **birth: Any) -> None:
    await client.call("session.send", key=key, content=content, create=ECHO | birth, wait=True)


async def keys_of(client: RawClient, **params: Any) -> list[str]:
    """Which sessions a list has, in order."""
    return [session["key"] for session in (await client.call("session.list", **params))["sessions"]]


async def pages_of(client: RawClient, **params: Any) -> list[list[str]]:
    """All pages of a list; the total is the same on each."""
    pages, totals, cursor = [], set(), {}
    while True:
        page = await client.call("session.list", **params, **cursor)
        pages.append([session["key"] for session in page["sessions"]])
        totals.add(page["total"])
        if "nextCursor" not in page:
            assert totals == {sum(map(len, pages))}
            return pages
        cursor = {"cursor": page["nextCursor"]}


def joined(pages: list[list[str]]) -> list[str]:
    return [key for page in pages for key in page]


async def crowd(client: RawClient, clock: FakeClock, count: int = 12) -> list[str]:
    """Sessions that tie in most things."""
    keys = [f"k{n * 7 % count:02}" for n in range(count)]
    for n, key in enumerate(keys):
        birth = {"channel": "xy"[n % 2], "pinned": n % 5 == 0, "title": ["b", "B", "a", "ä"][n % 4]}
        await say(client, key, "word " * (n % 3 + 1), **birth)
        clock.advance(ms=n % 2)
    return keys


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("by", SORTS)
async def test_pages(client: RawClient, clock: FakeClock, by: str, direction: str) -> None:
    """Joined they are the whole list in its order, without overlap; ascending is descending turned round."""
    keys = await crowd(client, clock)
    sort = {"by": by, "direction": direction}
    whole = await keys_of(client, sort=sort)
    assert sorted(whole) == sorted(keys)
    for limit in (1, 5, 12):
        pages = await pages_of(client, sort=sort, limit=limit)
        assert joined(pages) == whole
        assert all(len(page) == limit for page in pages[:-1])
    other = await keys_of(client, sort={"by": by, "direction": "desc" if direction == "asc" else "asc"})
    assert other == whole[::-1]


async def test_without_a_sort(client: RawClient, clock: FakeClock) -> None:
    """Pinned first, then the newest activity; the default page has 50."""
    for key in ("a", "b", "c"):
        await say(client, key)
        clock.advance(seconds=1)
    await client.call("session.update", key="b", pinned=True)
    assert await keys_of(client) == ["b", "c", "a"]
    await say(client, "a")
    assert await keys_of(client) == ["b", "a", "c"]
    assert joined(await pages_of(client, limit=1)) == ["b", "a", "c"]


async def test_filters(client: RawClient, clock: FakeClock) -> None:
    """A list is OR, members are AND, labels all match; the total agrees."""
    await say(client, "a", channel="web", labels={"team": "red", "tier": "1"}, project="p")
    clock.advance(seconds=1)
    await say(client, "b", channel="api", labels={"team": "red"}, source="scheduled")
    clock.advance(seconds=1)
    await say(client, "c", channel="telegram", user="bob")
    since = (await client.call("session.status", key="b"))["session"]["lastActivityAt"]
    for asked, found in [
        ({}, "abc"),
        ({"channel": "web"}, "a"),
        ({"channel": ["web", "api"]}, "ab"),
        ({"channel": ["web", "api"], "source": "manual"}, "a"),
        ({"label": {"team": "red"}}, "ab"),
        ({"label": {"team": "red", "tier": "1"}}, "a"),
        ({"label": {"team": "blue"}}, ""),
        ({"project": "p"}, "a"),
        ({"user": "bob"}, "c"),
        ({"agent": "echo", "model": "echo", "tenant": "default"}, "abc"),
        ({"tenant": "other"}, ""),
        ({"state": ["live", "ended"]}, "abc"),
        ({"state": "ended"}, ""),
        ({"pinned": True}, ""),
        ({"updatedSince": since}, "bc"),
        ({"updatedSince": since.replace("Z", "+00:00")}, "bc"),
        ({"channel": []}, ""),
    ]:
        page = await client.call("session.list", filter=asked, sort={"by": "key", "direction": "asc"})
        assert ("".join(session["key"] for session in page["sessions"]), page["total"]) == (found, len(found)), asked


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("LISBON", "a"),
        ("isb", "a"),
        ("is", ""),
        ("li", "a"),
        ("tele", "b"),
        ("ech", "abc"),
        ("x/C", "c"),
        ("%", ""),
        ("", "abc"),
    ],
)
async def test_search(client: RawClient, search: str, found: str) -> None:
    """Any part of key, title, agent name or channel; under 3 characters the start of a word."""
    await say(client, "a", "the weather in Lisbon")
    await say(client, "b", "nothing", channel="telegram")
    await say(client, "x/c", "nothing")
    assert "".join(sorted(key[-1] for key in await keys_of(client, search=search))) == found


async def test_views(client: RawClient) -> None:
    """What is archived, what was scheduled, everything; ended ones are active; empty ones only where asked for."""
    await say(client, "live")
    await say(client, "cron", source="scheduled")
    for key in ("empty", "newest"):
        await client.call("session.create", key=key, agent="echo")
    everything = ["cron", "empty", "live", "newest"]
    sort = {"by": "key", "direction": "asc"}
    assert await keys_of(client, sort=sort) == ["cron", "live", "newest"]
    assert await keys_of(client, sort=sort, includeEmpty=True) == everything
    assert await keys_of(client, sort=sort, view="all") == everything
    assert await keys_of(client, view="scheduled") == ["cron"]
    assert await keys_of(client, view="scheduled", filter={"source": "manual"}) == []
    assert await keys_of(client, view="archived") == []


async def test_ended_sessions_are_active(client: RawClient, clock: FakeClock) -> None:
    """Until somebody archives them."""
    await say(client, "a")
    clock.advance(minutes=31)
    await client.call("session.status", key="a")
    assert await keys_of(client, filter={"state": "ended"}) == ["a"]


def forged(cursor: str, **changes: Any) -> str:
    """The cursor with another place in it."""
    question, last = json.loads(base64.urlsafe_b64decode(cursor + "=="))
    return base64.urlsafe_b64encode(json.dumps([question, changes.get("last", last)]).encode()).decode()


async def test_cursors_of_other_questions(client: RawClient, clock: FakeClock) -> None:
    """A cursor goes on with the question it came from, with any page size, and with no other."""
    await crowd(client, clock)
    first = await client.call("session.list", limit=2, search="echo")
    cursor = first["nextCursor"]
    assert len(await keys_of(client, search="echo", cursor=cursor, limit=7)) == 7
    for other in (
        {},
        {"search": "ech"},
        {"search": "echo", "view": "all"},
        {"search": "echo", "includeEmpty": True},
        {"search": "echo", "filter": {"agent": "echo"}},
        {"search": "echo", "sort": {"by": "key"}},
    ):
        assert await code_of(client, "session.list", cursor=cursor, **other) == (400, "invalid_cursor")


@pytest.mark.parametrize(
    "last", [[], [1], [1, 2], [1, 2, 3, 4], [1, {}, 3], [1, [2], 3], [1, 2**63, 3], [1, None, 3], "text", None]
)
async def test_forged_cursors(client: RawClient, clock: FakeClock, last: Any) -> None:
    """400, whatever somebody puts in."""
    await crowd(client, clock, 4)
    cursor = (await client.call("session.list", limit=1))["nextCursor"]
    assert await code_of(client, "session.list", cursor=forged(cursor, last=last)) == (400, "invalid_cursor")


@pytest.mark.parametrize("cursor", ["", "x", "====", "ключ", "\x00", "e30", "W10", "bnVsbA", "A" * 10_000])
async def test_no_cursors(client: RawClient, cursor: str) -> None:
    """400 from every method that takes one."""
    await say(client, "a")
    assert await code_of(client, "session.list", cursor=cursor) == (400, "invalid_cursor")
    assert await code_of(client, "session.export", key="a", cursor=cursor) == (400, "invalid_cursor")
