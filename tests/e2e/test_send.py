"""Sending a message: what is refused, what comes back and when, and that the same send twice is one."""

from pathlib import Path
from typing import Any

import pytest

from gateway.app import running
from gateway.config import load
from tests.conftest import Connect
from tests.raw import Json, RawClient, raw_client, said, text_of

KEY = "agent:echo:web:send"
ECHO = {"agent": "echo"}


async def send(client: RawClient, content: str, **params: Any) -> Json:
    """Send to the session, made when it is not there, and return the answer."""
    return await client.call("session.send", **{"key": KEY, "content": content, "create": ECHO} | params)


async def refused(client: RawClient, **params: Any) -> tuple[int, str]:
    """The number and the code of a send that must fail."""
    error = await client.fail("session.send", **{"key": KEY, "content": "hi", "create": ECHO} | params)
    return error["code"], error["data"]["code"]


async def messages(client: RawClient) -> list[str]:
    """What people said in the session, from its log."""
    page = await client.call("session.history", key=KEY, types=["message.user"])
    return [event["content"] for event in page["events"]]


async def check_not_made(client: RawClient) -> None:
    """A refused send has left no session behind."""
    assert (await client.fail("session.status", key=KEY))["data"]["code"] == "session_not_found"


async def test_wait_for_an_answer(client: RawClient) -> None:
    """The answer has what the answer without wait has, and the message, as it is in the log, and what it used."""
    result = await send(client, "one two three", wait=True)
    assert (result["state"], result["seq"], result["finishReason"]) == ("running", 2, "stop")
    assert "failure" not in result
    log = (await client.call("session.history", key=KEY))["events"]
    assert result["message"] == next(event for event in log if event["type"] == "message.assistant")
    assert result["message"]["content"] == "one two three"
    end = next(event for event in log if event["type"] == "generation.end")
    assert (result["usage"], result.get("costUsd")) == (end["usage"], end.get("costUsd"))
    assert result["usage"]["outputTokens"] == 3


async def test_wait_for_a_failure(client: RawClient) -> None:
    """A failed turn is an answer, not an error: what was said, and why no more came."""
    result = await send(client, "so far\n/fail out of words", wait=True)
    assert result["finishReason"] == "failed"
    assert result["failure"] == {"code": "agent_failed", "message": "out of words"}
    message = result["message"]
    assert (message["content"], message["finishReason"], message["partial"]) == ("so far", "failed", True)
    log = (await client.call("session.history", key=KEY))["events"]
    assert (log[-1]["type"], log[-1]["code"], log[-1]["message"]) == ("turn.failed", "agent_failed", "out of words")


async def test_wait_for_a_turn_that_is_stopped(client: RawClient, connect: Connect) -> None:
    """Somebody else stops it: the one who waits gets what was said."""
    sent = await client.ask("session.send", key=KEY, content="/words 500", create=ECHO, wait=True, subscribe=True)
    await client.delta()
    async with connect() as other:
        await other.call("session.stop", key=KEY)
    result = (await client.answer(sent))["result"]
    assert result["finishReason"] == "stopped"
    assert (result["message"]["finishReason"], result["message"]["partial"]) == ("stopped", True)
    assert result["message"]["content"] == text_of(client.deltas())


async def test_wait_for_a_queued_turn_that_is_taken_back(client: RawClient, connect: Connect) -> None:
    """It ends stopped, without a message."""
    await send(client, "/sleep 60000")
    sent = await client.ask("session.send", key=KEY, content="never mind", wait=True)
    async with connect() as other:
        queued = (await other.call("session.history", key=KEY, types=["message.user"]))["events"][-1]["turn"]
        await other.call("session.stop", key=KEY, turn=queued)
    result = (await client.answer(sent))["result"]
    assert (result["turn"], result["state"], result["finishReason"]) == (queued, "queued", "stopped")
    assert "message" not in result


async def test_create_on_send(client: RawClient) -> None:
    """The session is made as session.create makes it, and the message is its first."""
    await send(client, "hello", create=ECHO | {"title": "Greetings", "labels": {"a": "b"}, "channel": "web"}, wait=True)
    session = (await client.call("session.status", key=KEY))["session"]
    assert (session["title"], session["labels"], session["channel"]) == ("Greetings", {"a": "b"}, "web")
    log = (await client.call("session.history", key=KEY))["events"]
    assert [event["type"] for event in log[:3]] == ["session.created", "message.user", "turn.started"]


async def test_create_on_send_where_there_is_a_session(client: RawClient) -> None:
    """It is left as it is, whatever `create` says."""
    await client.call("session.create", key=KEY, agent="echo", title="As it was")
    await send(client, "hello", create={"agent": "nobody", "title": "Another"}, wait=True)
    session = (await client.call("session.status", key=KEY))["session"]
    assert (session["title"], session["agent"], session["messageCount"]) == ("As it was", "echo", 2)


async def test_subscribe_on_send(client: RawClient) -> None:
    """The answer comes first, then everything from the message on, without a gap."""
    sent = await send(client, "hello world", subscribe=True)
    assert client.events() == []
    subscription = sent["subscription"]
    assert subscription["head"] == sent["seq"] - 1
    await client.seen("turn.completed")
    assert client.events()[0]["type"] == "message.user"
    client.check_chain(subscription["id"], subscription["head"])
    assert text_of(client.deltas()) == said(client.events()) == "hello world"


@pytest.mark.parametrize("content", ["hello world", "/fail at once", "/tool look {}\nand then"])
async def test_wait_and_subscribe(client: RawClient, content: str) -> None:
    """Everything that happens in the turn comes before the answer, also for turns that are over in no time."""
    asked = [
        await client.ask("session.send", key=f"{KEY}:{n}", content=content, create=ECHO, wait=True, subscribe=True)
        for n in range(8)
    ]
    answers: dict[int, Json] = {}
    while len(answers) < len(asked):
        answer = await client.hear_until(lambda message: "id" in message)
        subscription = answer["result"]["subscription"]
        answers[answer["id"]] = answer
        types = [event["type"] for event in client.events(subscription=subscription["id"])]
        assert types[:2] == ["message.user", "turn.started"]
        assert types[-1] in ("turn.completed", "turn.failed")
        client.check_chain(subscription["id"], subscription["head"])
    await client.silence()
    assert sorted(answers) == asked


async def test_wait_and_subscribe_with_much_to_read(client: RawClient, connect: Connect) -> None:
    """The answer does not overtake the turn's events either where the reader is behind with something else."""
    async with connect() as other:
        for _ in range(12):
            await send(other, "é" * 100_000, key="long", wait=True)
        await other.call("session.create", key=KEY, agent="echo", subscribe=True)
        client.socket.transport.pause_reading()
        await client.ask("session.subscribe", key="long", since={"seq": 0})
        sent = await client.ask("session.send", key=KEY, content="hello", wait=True, subscribe=True)
        await other.seen("turn.completed")
        client.socket.transport.resume_reading()
    subscription = (await client.answer(sent))["result"]["subscription"]["id"]
    types = [event["type"] for event in client.events(subscription=subscription)]
    assert types[:1] == ["message.user"]
    assert types[-1:] == ["turn.completed"]


async def test_on_behalf_of_another(client: RawClient) -> None:
    """The author is who it is for, and who said it is kept beside; for oneself there is nobody beside."""
    await send(client, "from a bridge", onBehalfOf="telegram:42", subscribe=True)
    event = await client.seen("message.user")
    assert (event["author"], event["via"]) == ("telegram:42", "local")
    await send(client, "by myself", onBehalfOf="local")
    event = await client.seen("message.user", content="by myself")
    assert (event["author"], event.get("via")) == ("local", None)
    assert (await client.call("session.status", key=KEY))["session"]["user"] == "local"


async def test_the_same_send_twice(client: RawClient, connect: Connect) -> None:
    """A repeat gets the same answer and says nothing again, on whatever connection and however late."""
    first = await send(client, "once", idempotencyKey="m1")
    assert await send(client, "once", idempotencyKey="m1", ifBusy="enqueue") == first
    await send(client, "another", wait=True)
    async with connect() as other:
        assert await send(other, "once", idempotencyKey="m1") == first
    assert await messages(client) == ["once", "another"]


async def test_the_same_send_many_times_at_once(client: RawClient, connect: Connect) -> None:
    """Repeats that do not wait for one another make one session, one message and one turn."""
    params = {"key": KEY, "content": "once", "create": ECHO, "idempotencyKey": "m1"}
    async with connect() as other:
        asked = [(who, await who.ask("session.send", **params)) for who in (client, other) for _ in range(5)]
        answers = [(await who.answer(id))["result"] for who, id in asked]
    assert all(answer == answers[0] for answer in answers)
    assert await messages(client) == ["once"]


@pytest.mark.parametrize(
    "other",
    [
        {"content": "twice"},
        {"metadata": {"a": 1}},
        {"ifBusy": "reject"},
        {"onBehalfOf": "ann"},
        {"create": {"agent": "echo", "title": "x"}},
    ],
)
async def test_the_same_idempotency_key_for_another_send(client: RawClient, other: Json) -> None:
    """409, and nothing is said; in another session it is another key."""
    first = await send(client, "once", idempotencyKey="m1")
    assert (await send(client, "once", idempotencyKey="m1", key=f"{KEY}:2"))["turn"] != first["turn"]
    assert await refused(client, **{"content": "once", "idempotencyKey": "m1"} | other) == (409, "idempotency_conflict")
    assert await messages(client) == ["once"]


async def test_a_refused_send_can_be_repeated(client: RawClient) -> None:
    """What was not done is not remembered: the repeat is a first time."""
    running_turn = (await send(client, "/sleep 60000"))["turn"]
    again = {"content": "again", "ifBusy": "reject", "idempotencyKey": "m1"}
    assert await refused(client, **again) == (409, "turn_running")
    await client.call("session.stop", key=KEY, turn=running_turn)
    assert (await send(client, wait=True, **again))["message"]["content"] == "again"


async def test_a_repeat_waits_and_subscribes_anew(client: RawClient, connect: Connect) -> None:
    """`wait` and `subscribe` say how the answer comes: a repeat with them waits for the same turn."""
    first = await send(client, "/words 10", idempotencyKey="m1")
    async with connect() as other:
        repeat = await send(other, "/words 10", idempotencyKey="m1", wait=True, subscribe=True)
        assert (repeat["turn"], repeat["seq"], repeat["finishReason"]) == (first["turn"], first["seq"], "stop")
        assert other.events(subscription=repeat["subscription"]["id"])[-1]["type"] == "turn.completed"
    after = await send(client, "/words 10", idempotencyKey="m1", wait=True)
    assert after["message"] == repeat["message"]
    assert await messages(client) == ["/words 10"]


async def test_a_repeat_after_a_restart(tmp_path: Path) -> None:
    """The answer is as durable as the message: one who lost the connection may just ask again."""
    settings = load(None, {}, {"server.port": 0, "server.data_dir": str(tmp_path)}).settings
    async with running(settings) as gateway, raw_client(f"ws://{gateway.authority}/rpc") as client:
        first = await send(client, "remember me", idempotencyKey="m1")
        ended = await send(client, "remember me", idempotencyKey="m1", wait=True)
    async with running(settings) as gateway, raw_client(f"ws://{gateway.authority}/rpc") as client:
        assert await send(client, "remember me", idempotencyKey="m1") == first
        assert await send(client, "remember me", idempotencyKey="m1", wait=True) == ended
        assert await refused(client, content="something else", idempotencyKey="m1") == (409, "idempotency_conflict")
        assert await messages(client) == ["remember me"]


async def test_a_repeat_after_the_session_was_deleted(client: RawClient) -> None:
    """It brings nothing back: not the session of the first time, nor a new one without its message."""
    await send(client, "once", idempotencyKey="m1", wait=True)
    await client.call("session.delete", key=KEY)
    assert await refused(client, content="once", idempotencyKey="m1") == (410, "session_deleted")
    assert (await client.fail("session.status", key=KEY))["data"]["code"] == "session_deleted"


async def test_content_at_its_limit(client: RawClient) -> None:
    """100,000 characters pass, whatever they are made of; one more is 413 and makes nothing."""
    whole = "é🙂" * 50_000
    assert await refused(client, content=whole + "!") == (413, "content_too_large")
    await check_not_made(client)
    await send(client, whole, wait=True)
    assert await messages(client) == [whole]


async def test_metadata_at_its_limit(client: RawClient) -> None:
    """10,240 bytes of JSON pass and stay with the message; one more is 413 and makes nothing."""
    metadata = {"a": "x" * (10_240 - len('{"a":""}'))}
    assert await refused(client, metadata={"a": metadata["a"] + "x"}) == (413, "metadata_too_large")
    assert await refused(client, metadata={"a": "é" * 5_120}) == (413, "metadata_too_large")
    assert await refused(client, create=ECHO | {"metadata": {"a": metadata["a"] + "x"}}) == (413, "metadata_too_large")
    await check_not_made(client)
    await send(client, "hi", metadata=metadata, subscribe=True)
    assert (await client.seen("message.user"))["metadata"] == metadata


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"content": ""}, (-32602, "invalid_params")),
        ({"content": 1}, (-32602, "invalid_params")),
        ({"ifBusy": "whenever"}, (-32602, "invalid_params")),
        ({"metadata": []}, (-32602, "invalid_params")),
        ({"key": ""}, (400, "invalid_key")),
        ({"create": {"agent": "nobody"}}, (404, "agent_not_found")),
    ],
)
async def test_what_makes_no_sense(client: RawClient, params: Json, expected: tuple[int, str]) -> None:
    """Each has its error, and no session is made."""
    assert await refused(client, **params) == expected
    await check_not_made(client)


async def test_a_session_that_is_not_there(client: RawClient) -> None:
    """Without `create` 404."""
    error = await client.fail("session.send", key=KEY, content="hi")
    assert (error["code"], error["data"]["code"]) == (404, "session_not_found")
    await check_not_made(client)
