"""Beginning, changing, clearing, deleting and outliving a session."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect
from tests.e2e.inside import client_of, gateway_of
from tests.fakes import FakeClock
from tests.raw import Json, RawClient

KEY = "agent:echo:web:life"


async def create(client: RawClient, key: str = KEY, **params: Any) -> Json:
    """Make a session and return it."""
    return (await client.call("session.create", key=key, agent="echo", **params))["session"]


async def status(client: RawClient, key: str = KEY) -> Json:
    return await client.call("session.status", key=key)


async def update(client: RawClient, **params: Any) -> Json:
    return (await client.call("session.update", key=KEY, **params))["session"]


async def say(client: RawClient, content: str = "hello", key: str = KEY) -> Json:
    return await client.call("session.send", key=key, content=content, wait=True)


async def log_of(client: RawClient, key: str = KEY) -> list[Json]:
    return (await client.call("session.history", key=key, limit=500))["events"]


async def code_of(client: RawClient, method: str, **params: Any) -> tuple[int, str]:
    """The number and the word of an error."""
    error = await client.fail(method, **params)
    return error["code"], error["data"]["code"]


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


async def test_the_end_of_its_time(tmp_path: Path) -> None:
    """A message moves it; once it is over the session is ended for who looks, and takes no more."""
    clock = FakeClock()
    async with gateway_of(tmp_path, clock=clock) as gateway, client_of(gateway) as client:
        await create(client)
        clock.advance(minutes=26)
        session = (await status(client))["session"]
        assert (session["isNearExpiration"], session["timeRemainingMs"]) == (True, 4 * 60_000)
        assert (await client.call("gateway.health"))["expiringSoon"] == 1
        sent = await say(client)
        assert sent["sessionStatus"]["wasRenewed"]
        assert (sent["sessionStatus"]["renewalCount"], sent["sessionStatus"]["isNearExpiration"]) == (1, False)
        clock.advance(minutes=30, ms=-1)
        assert (await status(client))["session"]["state"] == "live"
        clock.advance(ms=1)
        session = (await status(client))["session"]
        assert (session["state"], session["endReason"], session["isNearExpiration"]) == ("ended", "idle_timeout", False)
        error = await client.fail("session.send", key=KEY, content="still there?")
        assert (error["code"], error["data"]["code"]) == (410, "session_expired")
        assert (error["data"]["reason"], error["data"]["expiresAt"]) == ("idle_timeout", session["endedAt"])
        last = (await log_of(client))[-1]
        assert (last["type"], last["from"], last["to"], last["reason"]) == (
            "session.state",
            "live",
            "ended",
            "idle_timeout",
        )
        assert await client.call("session.stop", key=KEY) == {"stopped": False}
        assert (await update(client, title="kept"))["title"] == "kept"
        assert (await client.call("gateway.health"))["sessions"]["ended"] == 1
        await client.call("session.reset", key=KEY)
        await client.call("session.delete", key=KEY)


async def test_a_running_turn_holds_off_the_end(tmp_path: Path) -> None:
    """But not the longest duration, which stops it and keeps what it said."""
    clock = FakeClock()
    async with gateway_of(tmp_path, clock=clock) as gateway, client_of(gateway) as client:
        await create(client, policy={"maxDurationMinutes": 60, "timeoutMinutes": 5})
        await client.call("session.subscribe", key=KEY)
        await client.call("session.send", key=KEY, content="so far\n/sleep 60000")
        await client.delta()
        clock.advance(minutes=59)
        assert (await status(client))["session"]["state"] == "live"
        clock.advance(minutes=1)
        session = (await status(client))["session"]
        assert (session["state"], session["endReason"], session.get("turn")) == ("ended", "max_duration", None)
        await client.seen("session.state")
        assert [event["type"] for event in client.events()][-4:] == [
            *("generation.end", "message.assistant", "turn.stopped", "session.state")
        ]
        assert client.events(type="message.assistant")[0]["content"].strip() == "so far"


async def test_as_many_as_one_may_have(tmp_path: Path) -> None:
    """429 past the limit of the policy, by create and by send; one that is gone makes room."""
    async with gateway_of(tmp_path, policy_max_concurrent_per_user=2) as gateway, client_of(gateway) as client:
        await create(client, "a")
        await create(client, "b")
        assert await code_of(client, "session.create", key="c", agent="echo") == (429, "session_limit")
        birth = {"content": "hi", "create": {"agent": "echo"}}
        error = await client.fail("session.send", key="c", **birth)
        assert (error["data"]["limit"], error["data"]["current"]) == (2, 2)
        await create(client, "bobs", user="bob")
        await client.call("session.delete", key="a")
        await create(client, "c")
