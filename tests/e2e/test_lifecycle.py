"""Beginning and changing a session."""

import pytest

from tests.conftest import Connect
from tests.e2e.calls import KEY, code_of, create, log_of, say, status, update
from tests.raw import Json, RawClient


async def test_a_new_session(client: RawClient) -> None:
    """It is live, empty, the caller's, with a lifetime; what nobody said is left out."""
    session = await create(client)
    assert (
        session.items()
        >= {
            "key": KEY,
            "agent": "echo",
            "agentName": "Echo",
            "provider": "echo",
            "model": "echo",
            "user": "local",
            "tenant": "default",
            "channel": "api",
            "source": "manual",
            "state": "live",
            "pinned": False,
            "labels": {},
            "queued": 0,
            "messageCount": 0,
            "inputTokens": 0,
            "toolCalls": 0,
            "resets": 0,
            "costUsd": 0.0,
            "renewalCount": 0,
            "isNearExpiration": False,
            "revision": 1,
            "head": 1,
        }.items()
    )
    assert not {"title", "titleSource", "turn", "project", "endedAt", "archivedAt"} & session.keys()
    assert 0 < session["timeRemainingMs"] <= 30 * 60_000
    assert session["createdAt"] == session["lastActivityAt"] < session["expiresAt"]
    assert [event["type"] for event in await log_of(client)] == ["session.created"]


async def test_everything_about_a_new_session(client: RawClient) -> None:
    """What was said at its birth is there, and where its policy comes from."""
    said = {
        "title": "Mine",
        "channel": "web",
        "source": "trigger",
        "project": "p",
        "labels": {"team": "red"},
        "pinned": True,
    }
    policy = {"timeoutMinutes": 1, "autoRenew": False, "maxConcurrentPerUser": None}
    session = await create(client, **said, metadata={"deep": [{"er": 1}]}, policy=policy, user="bob")
    assert session.items() >= (said | {"titleSource": "user", "user": "bob"}).items()
    found = await status(client)
    assert found["metadata"] == {"deep": [{"er": 1}]}
    assert (found["policy"]["timeoutMinutes"], found["policySources"]["timeoutMinutes"]) == (5, "session, clamped")
    assert (found["policy"]["autoRenew"], found["policySources"]["autoRenew"]) == (False, "session")
    assert found["policy"]["maxConcurrentPerUser"] is None
    assert (found["messages"], found["usage"]["inputTokens"], found["cache"]["hitRate"]) == ([], 0, 0.0)


async def test_a_key_of_the_gateways_making(client: RawClient) -> None:
    """Without a key each call makes another session; with an idempotency key the same."""
    made = [(await client.call("session.create", agent="echo"))["session"]["key"] for _ in range(3)]
    once = [(await client.call("session.create", agent="echo", idempotencyKey="w"))["session"]["key"] for _ in range(3)]
    assert len({*made, *once}) == 4
    for key in {*made, *once}:
        assert (await status(client, key))["session"]["key"] == key


async def test_a_key_that_is_taken(client: RawClient, connect: Connect) -> None:
    """409 without a word about who has it; many at once make one session."""
    async with connect() as other:
        asked = [(who, await who.ask("session.create", key=KEY, agent="echo")) for who in (client, other) * 4]
        answers = [await who.answer(id) for who, id in asked]
    assert sum("result" in answer for answer in answers) == 1
    errors = [answer["error"] for answer in answers if "error" in answer]
    assert {error["code"] for error in errors} == {409}
    assert all(error["data"] == {"code": "session_exists", "retryable": False} for error in errors)


async def test_create_and_subscribe(client: RawClient) -> None:
    """The subscription begins behind the birth."""
    made = await client.call("session.create", key=KEY, agent="echo", subscribe=True)
    assert made["subscription"]["head"] == 1
    await say(client)
    client.check_chain(made["subscription"]["id"], 1)


GOOD_KEYS = ["agent:support:telegram:42/7", "/", "..", "a/../b", "%2F", "ключ", "👩‍👩‍👧", '"{}\\', "x" * 256, "é" * 128]
BAD_KEYS = ["", " ", "a b", "a\n", "\x00", "a\u200b", "a\u2028", "x" * 257, "é" * 128 + "x", "👩" * 65]


@pytest.mark.parametrize("key", GOOD_KEYS)
async def test_keys(client: RawClient, key: str) -> None:
    """Slashes, colons, other scripts, emoji: everywhere the same word."""
    await create(client, key)
    await say(client, key=key)
    assert (await client.call("session.subscribe", key=key, since={"seq": 0}))["session"]["key"] == key
    await client.seen("turn.completed")
    assert {message["params"]["key"] for message in client.heard if "params" in message} == {key}
    exported = await client.call("session.export", key=key)
    assert "/" not in exported["filename"]
    assert exported["filename"].endswith(".jsonl")
    assert [session["key"] for session in (await client.call("session.list"))["sessions"]] == [key]
    assert await client.call("session.delete", keys=[key]) == {
        "results": [{"key": key, "ok": True, "result": {"deleted": True}}],
        "succeeded": 1,
        "failed": 0,
    }


@pytest.mark.parametrize("key", BAD_KEYS)
async def test_no_keys(client: RawClient, key: str) -> None:
    """400 from every method that takes one, and of many only that one fails."""
    for method, params in {
        "session.create": {"agent": "echo"},
        "session.send": {"content": "hi", "create": {"agent": "echo"}},
        "session.status": {},
        "session.history": {},
        "session.export": {},
        "session.update": {},
        "session.stop": {},
        "session.subscribe": {},
        "session.reset": {},
        "session.delete": {},
    }.items():
        assert await code_of(client, method, key=key, **params) == (400, "invalid_key")
    await create(client)
    result = await client.call("session.delete", keys=[key, KEY])
    assert [item["ok"] for item in result["results"]] == [False, True]
    assert result["results"][0]["error"]["code"] == 400


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"agent": "nobody"}, (404, "agent_not_found")),
        ({"agent": "echo", "model": "other"}, (403, "forbidden")),
        ({"agent": "echo", "metadata": {"a": "x" * 10_240}}, (413, "metadata_too_large")),
        ({"agent": "echo", "title": ""}, (-32602, "invalid_params")),
        ({"agent": "echo", "title": "two\nlines"}, (-32602, "invalid_params")),
        ({"agent": "echo", "labels": {"": "x"}}, (-32602, "invalid_params")),
        ({"agent": "echo", "labels": {"a": 1}}, (-32602, "invalid_params")),
        ({"agent": "echo", "policy": {"timeoutMinutes": "5"}}, (-32602, "invalid_params")),
        ({"agent": "echo", "policy": {"unknown": 5}}, (-32602, "invalid_params")),
        ({"agent": "echo", "unknown": 5}, (-32602, "invalid_params")),
        ({}, (-32602, "invalid_params")),
    ],
)
async def test_births_that_fail(client: RawClient, params: Json, expected: tuple[int, str]) -> None:
    """Each has its error, and there is no session."""
    assert await code_of(client, "session.create", key=KEY, **params) == expected
    assert await code_of(client, "session.status", key=KEY) == (404, "session_not_found")


async def test_update(client: RawClient) -> None:
    """What is said changes, the rest stays, null clears; the revision counts what really changed."""
    await create(client, title="old", labels={"a": "b"}, metadata={"m": 1})
    session = await update(client, title="new", pinned=True)
    assert (session["title"], session["pinned"], session["labels"], session["revision"]) == ("new", True, {"a": "b"}, 2)
    assert (await update(client, title="new", pinned=True))["revision"] == 2
    session = await update(client, labels={"c": "d"}, metadata={"n": [None]})
    assert (session["labels"], session["revision"]) == ({"c": "d"}, 3)
    session = await update(client, title=None, labels=None, metadata=None)
    assert (session.get("title"), session["labels"], session["revision"]) == (None, {}, 4)
    assert (await status(client))["metadata"] == {}
    events = [event for event in await log_of(client) if event["type"] == "session.updated"]
    changes = [{name: event.get(name, ...) for name in ("title", "pinned", "labels", "metadata")} for event in events]
    assert changes == [
        {"title": "new", "pinned": True, "labels": ..., "metadata": ...},
        {"title": ..., "pinned": ..., "labels": {"c": "d"}, "metadata": {"n": [None]}},
        {"title": None, "pinned": ..., "labels": {}, "metadata": {}},
    ]


async def test_titles(client: RawClient) -> None:
    """The first message titles, a person's word is final, cleared the next message titles anew."""
    await create(client)
    await say(client, "what is  the\nweather like")
    session = (await status(client))["session"]
    assert (session["title"], session["titleSource"]) == ("what is the weather like", "first_message")
    await update(client, title="Weather")
    await say(client, "and tomorrow")
    session = (await status(client))["session"]
    assert (session["title"], session["titleSource"]) == ("Weather", "user")
    await update(client, title=None)
    await say(client, "or on Sunday")
    assert (await status(client))["session"]["title"] == "or on Sunday"


async def test_decided_on_an_old_state(client: RawClient) -> None:
    """`ifRevision` refuses, with the revision that is there; nothing changed."""
    await create(client)
    await update(client, title="a", ifRevision=1)
    for method, params in {"session.update": {"title": "b"}, "session.reset": {}, "session.delete": {}}.items():
        error = await client.fail(method, key=KEY, ifRevision=1, **params)
        assert (error["code"], error["data"]["code"], error["data"]["revision"]) == (409, "revision_mismatch", 2)
    assert (await status(client))["session"]["title"] == "a"
    await say(client)
    await client.call("session.reset", key=KEY, ifRevision=2)
    await client.call("session.delete", key=KEY, ifRevision=3)


async def test_the_same_birth_twice(client: RawClient) -> None:
    """Has the same answer; after a reset it shows the session as it is, after a delete that it is gone."""
    params = {"key": KEY, "agent": "echo", "title": "hi", "idempotencyKey": "w"}
    first = await client.call("session.create", **params)
    await say(client)
    assert await client.call("session.create", **params) == first
    assert await code_of(client, "session.create", **params | {"title": "ho"}) == (409, "idempotency_conflict")
    await client.call("session.reset", key=KEY)
    assert (await client.call("session.create", **params))["session"]["resets"] == 1
    await client.call("session.delete", key=KEY)
    assert await code_of(client, "session.create", **params) == (410, "session_deleted")
