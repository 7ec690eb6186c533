"""Reading a session: what it is, and what was said in it."""

import json

import pytest

from tests.e2e.calls import code_of
from tests.raw import RawClient

ECHO = {"agent": "echo"}


@pytest.fixture
def client(still: RawClient) -> RawClient:
    return still


async def say(client: RawClient, key: str, content: str = "hello") -> None:
    await client.call("session.send", key=key, content=content, create=ECHO, wait=True)


async def test_status(client: RawClient) -> None:
    """The newest messages ascending, what was used, where the policy comes from."""
    for n in range(15):
        await say(client, "a", f"message {n}")
    found = await client.call("session.status", key="a", messages=3)
    assert [message["content"] for message in found["messages"]] == ["message 13", "message 14", "message 14"]
    assert len((await client.call("session.status", key="a"))["messages"]) == 20
    assert (await client.call("session.status", key="a", messages=0))["messages"] == []
    session = found["session"]
    assert (session["messageCount"], session["renewalCount"]) == (30, 15)
    assert found["usage"] == {"inputTokens": 30, "outputTokens": 30, "cacheReadTokens": 0, "cacheWriteTokens": 0}
    assert found["cache"] == {"hitRate": 0.0, "readTokens": 0, "writeTokens": 0}
    assert set(found["policySources"]) == set(found["policy"])
    assert await code_of(client, "session.status", key="a", messages=201) == (-32602, "invalid_params")


async def test_history(client: RawClient) -> None:
    """The newest page without bounds; from there back or on, page by page, the whole log."""
    for n in range(10):
        await say(client, "a", f"message {n}")
    whole = (await client.call("session.history", key="a", limit=500))["events"]
    assert [event["seq"] for event in whole] == list(range(1, 62))
    newest = await client.call("session.history", key="a", limit=7)
    assert (newest["events"], newest["hasMore"], newest["head"]) == (whole[-7:], True, 61)
    back, before = [], 62
    while True:
        page = await client.call("session.history", key="a", before=before, limit=7)
        back = page["events"] + back
        if not page["hasMore"]:
            break
        before = page["events"][0]["seq"]
    on, after = [], 0
    while True:
        page = await client.call("session.history", key="a", after=after, limit=8)
        on += page["events"]
        if not page["hasMore"]:
            break
        after = page["events"][-1]["seq"]
    assert back == on == whole
    between = await client.call("session.history", key="a", after=5, before=9)
    assert between["events"] == whole[5:8]
    users = await client.call("session.history", key="a", types=["message.user", "turn.completed"], limit=3)
    assert [event["type"] for event in users["events"]] == ["turn.completed", "message.user", "turn.completed"]
    for nothing in ({"after": 61}, {"after": 2**53}, {"before": 1}, {"before": 0}, {"after": 7, "before": 3}):
        page = await client.call("session.history", key="a", **nothing)
        assert (page["events"], page["hasMore"]) == ([], False)


async def test_history_within_bytes(client: RawClient) -> None:
    """A page shrinks to fit; one event is there however large it is."""
    for _ in range(3):
        await say(client, "a", "x" * 3000)
    page = await client.call("session.history", key="a", after=0, maxBytes=4096)
    assert sum(len(json.dumps(event)) for event in page["events"]) < 4096 * 1.2
    assert page["hasMore"]
    page = await client.call("session.history", key="a", maxBytes=1024, types=["message.user"])
    assert [len(event["content"]) for event in page["events"]] == [3000]
