"""Clearing and deleting sessions, one or many."""

from pathlib import Path

import pytest

from tests.e2e.calls import KEY, code_of, create, log_of, say, status, words
from tests.e2e.inside import client_of, gateway_of
from tests.raw import RawClient


async def test_reset(client: RawClient) -> None:
    """History, queue and a guessed title go; the key, the record and the counters stay; seq goes on."""
    await create(client, labels={"a": "b"}, metadata={"m": 1})
    await say(client, '/tool look {"marker": 1}\nforget me')
    before = (await status(client))["session"]
    result = await client.call("session.reset", key=KEY)
    after = result["session"]
    assert result["previousMessages"] == before["messageCount"] == 2
    assert (after["messageCount"], after["resets"], after.get("title")) == (0, 1, None)
    kept = ("labels", "createdAt", "inputTokens", "outputTokens", "toolCalls", "renewalCount", "pinned")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert (after["head"], after["revision"]) == (before["head"] + 1, before["revision"] + 1)
    (event,) = await log_of(client)
    assert (event["type"], event["seq"], event["clearedTo"]) == ("reset", before["head"] + 1, before["head"])
    assert (event["messagesCleared"], event["author"]) == (2, "local")
    assert (await status(client))["messages"] == []
    assert "forget" not in (await client.call("session.export", key=KEY))["data"]
    await say(client, "a new start")
    assert (await status(client))["session"]["title"] == "a new start"


async def test_reset_of_a_busy_session(client: RawClient) -> None:
    """The running turn is stopped first, with what it said, and every waiting one."""
    await create(client)
    await client.call("session.subscribe", key=KEY)
    running = (await client.call("session.send", key=KEY, content="/sleep 60000"))["turn"]
    waiting = (await client.call("session.send", key=KEY, content="and this"))["turn"]
    session = (await client.call("session.reset", key=KEY))["session"]
    assert (session["queued"], session.get("turn")) == (0, None)
    await client.seen("reset")
    ends = [(event["turn"], event["reason"]) for event in client.events(type="turn.stopped")]
    assert ends == [(running, "reset"), (waiting, "reset")]
    assert client.events()[-1]["type"] == "reset"
    assert (await say(client, "go on"))["finishReason"] == "stop"


async def test_delete(client: RawClient) -> None:
    """Gone from lists, 410 for all that comes later; a key nobody had is 404."""
    await create(client)
    await say(client)
    assert await client.call("session.delete", key=KEY) == {"deleted": True}
    for method, params in {
        "session.status": {},
        "session.history": {},
        "session.export": {},
        "session.send": {"content": "hi"},
        "session.stop": {},
        "session.subscribe": {},
        "session.update": {"title": "x"},
        "session.reset": {},
        "session.delete": {},
    }.items():
        assert await code_of(client, method, key=KEY, **params) == (410, "session_deleted")
        assert await code_of(client, method, key="nobody", **params) == (404, "session_not_found")
    assert (await client.call("session.list", view="all", includeEmpty=True))["total"] == 0
    assert (await client.call("gateway.health"))["sessions"] == {"live": 0, "idle": 0, "paused": 0, "ended": 0}


@pytest.mark.parametrize("by", ["create", "send"])
async def test_a_key_used_again(client: RawClient, by: str) -> None:
    """A new session: another epoch, seq from 1, nothing of the old one."""
    await create(client, title="old", labels={"a": "b"})
    await say(client, "forget me")
    old = await client.call("session.subscribe", key=KEY)
    await client.call("session.delete", key=KEY)
    if by == "create":
        await create(client)
    else:
        await client.call("session.send", key=KEY, content="hello", create={"agent": "echo"}, wait=True)
    new = await client.call("session.subscribe", key=KEY, since={"epoch": old["epoch"], "seq": 1})
    assert new["epoch"] != old["epoch"]
    assert not new["replay"]["complete"]
    log = await log_of(client)
    assert [event["seq"] for event in log] == list(range(1, new["head"] + 1))
    assert "forget" not in str(log)
    assert (new["session"]["labels"], new["session"]["resets"]) == ({}, 0)
    assert new["session"].get("title") == (None if by == "create" else "hello")


@pytest.mark.parametrize(("method", "result"), [("session.delete", "deleted"), ("session.reset", "previousMessages")])
async def test_many_at_once(client: RawClient, method: str, result: str) -> None:
    """In the order of the keys, duplicates once, one bad key never fails the rest."""
    for key in ("a", "b", "c"):
        await create(client, key)
    await client.call("session.delete", key="c")
    done = await client.call(method, keys=["b", "nobody", "a", "b", "c", "a"])
    assert (done["succeeded"], done["failed"]) == (2, 2)
    assert [(item["key"], item["ok"]) for item in done["results"]] == [
        *(("b", True), ("nobody", False), ("a", True), ("c", False))
    ]
    assert all(result in item["result"] and "error" not in item for item in done["results"] if item["ok"])
    errors = [item["error"] for item in done["results"] if not item["ok"]]
    assert [(error["code"], error["data"]["code"]) for error in errors] == [
        *((404, "session_not_found"), (410, "session_deleted"))
    ]
    assert all(error["message"] for error in errors)


async def test_one_or_many(client: RawClient) -> None:
    """Either `key` or `keys`, and not more than 500."""
    for params in ({}, {"key": "a", "keys": ["a"]}, {"keys": []}, {"keys": ["a"] * 501}):
        assert await code_of(client, "session.delete", **params) == (-32602, "invalid_params")


@pytest.mark.parametrize("method", ["session.reset", "session.delete"])
async def test_the_same_call_twice(client: RawClient, method: str) -> None:
    """Has the same answer and one effect."""
    await create(client)
    await say(client)
    first = await client.call(method, key=KEY, idempotencyKey="w")
    assert await client.call(method, key=KEY, idempotencyKey="w") == first
    assert await code_of(client, method, key=KEY, idempotencyKey="w", ifRevision=7) == (409, "idempotency_conflict")
    if method == "session.reset":
        assert (await status(client))["session"]["resets"] == 1


MARKERS = {
    "message": "m4rker-message",
    "metadata of a message": "m4rker-note",
    "tool": "m4rker-tool",
    "partial": "m4rker-partial",
    "failure": "m4rker-failure",
    "author": "m4rker-author",
    "queued": "m4rker-queued",
}
RECORD = {"label": "m4rker-label", "metadata": "m4rker-meta", "title": "m4rker-title"}


async def leave_marks(client: RawClient, key: str) -> None:
    """A session with words in every place that takes them, and a turn that runs."""
    birth = {"agent": "echo", "labels": {"l": RECORD["label"]}, "metadata": {"m": RECORD["metadata"]}}
    said = [
        MARKERS["message"],
        f'/tool look {{"q": "{MARKERS["tool"]}"}}',
        f"/fail {MARKERS['failure']}",
    ]
    for content in said:
        note = {"n": MARKERS["metadata of a message"]}
        params = {"metadata": note, "onBehalfOf": MARKERS["author"], "idempotencyKey": content}
        await client.call("session.send", key=key, content=content, create=birth, wait=True, **params)
    await client.call("session.create", key=f"{key}:2", **birth, title=RECORD["title"], idempotencyKey="w")
    await client.call("session.update", key=key, title=RECORD["title"])
    await client.call("session.subscribe", key=key)
    sent = await client.call("session.send", key=key, content=f"{MARKERS['partial']}\n/sleep 60000")
    await client.call("session.send", key=key, content=MARKERS["queued"])
    await words(client, turn=sent["turn"])


def left_in(data_dir: Path) -> set[str]:
    """Which markers are in some file."""
    content = b"".join(path.read_bytes() for path in data_dir.iterdir())
    return {marker for marker in (*MARKERS.values(), *RECORD.values()) if marker.encode() in content}


async def test_what_is_left_on_the_disk(tmp_path: Path) -> None:
    """After a reset the record, after a delete nothing that anybody said; other sessions keep their words."""
    async with gateway_of(tmp_path) as gateway, client_of(gateway) as client:
        await leave_marks(client, "a")
        assert left_in(tmp_path) == {*MARKERS.values(), *RECORD.values()}
        await client.call("session.reset", key="a")
        assert left_in(tmp_path) == set(RECORD.values())
        await leave_marks(client, "b")
        await client.call("session.delete", keys=["a", "a:2", "b"])
        assert left_in(tmp_path) == {RECORD["label"], RECORD["metadata"], RECORD["title"]}
        await client.call("session.delete", key="b:2")
        assert left_in(tmp_path) == set()
