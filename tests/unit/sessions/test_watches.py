"""What one watch sends, and when: nothing before an answer, at most one step a session for a slow client."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.hub.hub import Hub
from gateway.sessions.changes import Line, Step
from gateway.sessions.watches import Watch
from tests.unit.sessions.logs import born
from tests.unit.sessions.test_changes import shown
from tests.unit.sessions.watchhouse import Client


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    """No test waits for ever."""
    async with asyncio.timeout(10):
        yield


def watch_of(client: Client) -> Watch:
    return Watch("s1", client, "default", frame=bytes, spawn=client.spawn, ended=lambda: None)


def step(key: str, had: bool = True, has: bool = True, revision: int = 1) -> Step:
    return Step(Line(born(key=key, revision=revision), shown), had, has)


async def until_told(client: Client) -> None:
    while client.tasks:
        await asyncio.sleep(0)


async def test_nothing_before_the_answer() -> None:
    """Then what came meanwhile, joined, as it may or may not be in the list already; then at once."""
    client = Client()
    watch = watch_of(client)
    watch.tell(step("a", had=False))
    watch.tell(step("a"))
    watch.tell(step("b", has=False))
    watch.tell(step("c", had=False))
    watch.tell(step("c", has=False))
    await asyncio.sleep(0)
    assert client.heard == []
    watch.go_live()
    await until_told(client)
    assert client.changes == [("entered", "a"), ("left", "b"), ("left", "c")]
    watch.tell(step("a"))
    assert client.changes[-1] == ("updated", "a")


async def test_a_client_that_is_behind() -> None:
    """However much happens, one step a session waits, and none for one that came and went."""
    client = Client()
    watch = watch_of(client)
    watch.go_live()
    client.is_behind = True
    for revision in range(1000):
        watch.tell(step("a", had=revision > 0, revision=revision))
        watch.tell(step("b", had=False))
        watch.tell(step("b", has=False))
        watch.tell(step("c", revision=revision))
    assert client.heard == []
    assert (len(watch._pending), len(watch._behind), len(client.tasks)) == (2, 3, 1)
    client.take()
    await until_told(client)
    assert client.changes == [("entered", "a"), ("updated", "c")]
    assert [m["params"]["revision"] for m in client.heard] == [999, 999]
    watch.tell(step("d"))
    assert client.changes[-1] == ("updated", "d")


async def test_a_call_whose_answer_comes_first() -> None:
    """Holds back its session alone, in one step; afterwards that is told."""
    client = Client()
    watch = watch_of(client)
    watch.go_live()
    client.held["default", "a"] = []
    watch.tell(step("a", had=False))
    watch.tell(step("a", revision=2))
    watch.tell(step("b"))
    assert client.changes == [("updated", "b")]
    client.release(("default", "a"))
    assert client.changes == [("updated", "b"), ("entered", "a")]
    assert client.heard[-1]["params"]["revision"] == 2


@pytest.mark.parametrize("when", ["held", "behind", "opening"])
async def test_closed(when: str) -> None:
    """What waits is not told any more."""
    client, hub = Client(), Hub(bytes)
    watch = watch_of(client)
    if when != "opening":
        watch.go_live()
    client.is_behind = when == "behind"
    client.held["default", "a"] = []
    watch.tell(step("a"))
    hub.close(watch, "forbidden", resumable=False)
    client.take()
    client.release(("default", "a"))
    watch.go_live()
    await until_told(client)
    assert [message["method"] for message in client.heard] == ["subscription.closed"]
