"""Following a session: from any place in its log, in the middle of a turn, after a drop and a restart."""

from pathlib import Path
from typing import Any

import pytest
from websockets.frames import Close, Frame, Opcode

from gateway.app import running
from gateway.config import load
from tests.conftest import Connect
from tests.raw import Json, RawClient, raw_client, said, text_of

KEY = "agent:echo:web:subscribe"
ECHO = {"agent": "echo"}
MIXED = " ".join(["naïve", "👋🏽", "日本語", "👨‍👩‍👧", "plain"] * 6)


async def say(client: RawClient, content: str, **params: Any) -> Json:
    """Send to the session, made when it is not there, and wait for the end of the turn."""
    return await client.call("session.send", key=KEY, content=content, create=ECHO, wait=True, **params)


async def begin(client: RawClient, content: str) -> str:
    """Follow the session from now on, send, and return the turn while it runs."""
    await client.call("session.create", key=KEY, agent="echo", subscribe=True)
    return (await client.call("session.send", key=KEY, content=content))["turn"]


async def subscribe(client: RawClient, **params: Any) -> Json:
    """Subscribe and return the answer."""
    return await client.call("session.subscribe", key=KEY, **params)


async def log_of(client: RawClient) -> list[Json]:
    """The whole log."""
    return (await client.call("session.history", key=KEY, limit=500))["events"]


def subscribed_text(client: RawClient, answer: Json, kind: str = "text") -> str:
    """The running turn's words as this subscription tells them: those in the answer, then the deltas."""
    deltas = client.deltas(kind, subscription=answer["subscription"])
    return text_of(deltas, answer["turn"]["text" if kind == "text" else "reasoning"])


async def check_follows(client: RawClient, answer: Json) -> None:
    """The subscription is live: what is said now comes next, without a gap."""
    await say(client, "are you still there?")
    head = (await log_of(client))[-1]["seq"]
    await client.up_to(answer["subscription"], head)
    client.check_chain(answer["subscription"], answer["replay"]["from"] - 1)
    assert head > answer["head"]


async def test_since_every_place(client: RawClient) -> None:
    """From 0 to the head: the answer says what will come, then exactly the events after that seq, then live.

    The epoch may be left out.
    """
    await say(client, "one\n/tool look {}\ntwo")
    await say(client, "three")
    log = await log_of(client)
    head = log[-1]["seq"]
    epoch = (await subscribe(client))["epoch"]
    for seq in range(head + 1):
        answer = await subscribe(client, since={"epoch": epoch, "seq": seq} if seq % 2 else {"seq": seq})
        assert (answer["epoch"], answer["head"], answer.get("turn")) == (epoch, head, None)
        assert answer["replay"] == {"from": seq + 1, "to": head, "complete": True}
        events = await client.up_to(answer["subscription"], head) if seq < head else []
        assert events == log[seq:]
        client.check_chain(answer["subscription"], seq)
    await client.silence()
    await check_follows(client, answer)


@pytest.mark.parametrize("since", [{"seq": 10_000}, {"seq": 1, "epoch": "another"}, {"seq": 0, "epoch": ""}])
async def test_since_a_place_that_is_not_there(client: RawClient, since: Json) -> None:
    """Beyond the head, or in another log: said in the answer, nothing partial, and live from the head."""
    await say(client, "hello")
    answer = await subscribe(client, since=since)
    head = answer["head"]
    assert answer["replay"] == {"from": head + 1, "to": head, "complete": False}
    await client.silence()
    await check_follows(client, answer)


async def test_over_a_reset(client: RawClient) -> None:
    """Who comes from before the reset starts at its event; who comes from after it misses nothing either."""
    await say(client, "forget me")
    await client.call("session.reset", key=KEY)
    await say(client, "hello again")
    log = await log_of(client)
    reset, head = log[0], log[-1]["seq"]
    assert (reset["type"], reset["clearedTo"]) == ("reset", reset["seq"] - 1)
    for seq in (0, 1, reset["clearedTo"], reset["seq"], head - 1):
        answer = await subscribe(client, since={"seq": seq})
        assert answer["replay"] == {"from": max(seq + 1, reset["seq"]), "to": head, "complete": True}
        assert await client.up_to(answer["subscription"], head) == [event for event in log if event["seq"] > seq]
        client.check_chain(answer["subscription"], seq)


async def test_in_the_middle_of_a_turn(client: RawClient, connect: Connect) -> None:
    """Whenever somebody comes: the text in the answer and the deltas after it are the message, in code points."""
    turn = await begin(client, MIXED)
    answers = []
    async with connect() as late:
        while not client.events(type="turn.completed"):
            if "delta" in (await client.hear()).get("params", {}):
                answers.append(await subscribe(late, since={"seq": 1}))
        head = client.events()[-1]["seq"]
        for answer in answers:
            await late.up_to(answer["subscription"], head)
            late.check_chain(answer["subscription"], 1)
        await late.silence()
    in_time = [answer for answer in answers if "turn" in answer]
    assert len(in_time) > 3
    for answer in in_time:
        assert (answer["turn"]["id"], answer["turn"]["state"]) == (turn, "running")
        assert answer["turn"]["offset"] == len(answer["turn"]["text"])
        assert subscribed_text(late, answer) == MIXED


async def test_in_the_middle_of_its_thoughts_and_after_a_tool(client: RawClient, connect: Connect) -> None:
    """Reasoning and text each go on where the answer left them, also where a part of the text is in the log already."""
    await begin(client, f"/think {MIXED}\nFirst 👋🏽.\n/tool look {{}}\n{MIXED}")
    async with connect() as one, connect() as two:
        await client.delta("reasoning")
        first = await subscribe(one)
        await client.seen("tool.result")
        await client.delta()
        second = await subscribe(two)
        for listener in (client, one, two):
            await listener.seen("turn.completed")
        assert second["turn"]["text"].startswith("First 👋🏽.")
        for listener, answer in ((one, first), (two, second)):
            assert subscribed_text(listener, answer) == said(client.events()) == f"First 👋🏽.{MIXED}"
            assert subscribed_text(listener, answer, "reasoning") == text_of(client.deltas("reasoning")) == MIXED


async def test_two_subscriptions_on_one_connection(client: RawClient) -> None:
    """To one session and to another: each its own, with its own name and chain."""
    await say(client, "hello")
    first, second = await subscribe(client), await subscribe(client, since={"seq": 0})
    other = await client.call("session.create", key=f"{KEY}:2", agent="echo", subscribe=True)
    names = [first["subscription"], second["subscription"], other["subscription"]["id"]]
    assert len(set(names)) == 3
    await check_follows(client, first)
    await check_follows(client, second)
    assert client.events(subscription=names[0]) == client.events(subscription=names[1])[first["head"] :]
    assert client.deltas(subscription=names[0]) == client.deltas(subscription=names[1]) != []
    assert client.events(subscription=names[2]) == []


async def test_without_deltas(client: RawClient) -> None:
    """The events alone, to a neighbour of one that gets both."""
    await say(client, "hello")
    quiet, loud = await subscribe(client, deltas=False), await subscribe(client)
    await check_follows(client, quiet)
    await check_follows(client, loud)
    assert client.deltas(subscription=quiet["subscription"]) == []
    assert client.deltas(subscription=loud["subscription"]) != []


async def test_unsubscribe(client: RawClient, connect: Connect) -> None:
    """The answer, the farewell with the place to come back to, then nothing; others hear on."""
    await begin(client, "/words 50")
    await client.delta()
    async with connect() as other:
        assert await other.call("session.unsubscribe", subscription="s1") == {"closed": False}
        kept = await subscribe(client)
        assert await client.call("session.unsubscribe", subscription="s1") == {"closed": True}
        closed = await client.hear_until(lambda message: message.get("method") == "subscription.closed")
        last = client.events(subscription="s1")[-1]["seq"]
        params = {"subscription": "s1", "reason": "unsubscribed", "lastSeq": last, "resumable": True}
        assert closed["params"] == params
        assert await client.call("session.unsubscribe", subscription="s1") == {"closed": False}
        await client.seen("turn.completed")
        later = client.heard[client.heard.index(closed) + 1 :]
        assert not any(message["params"].get("subscription") == "s1" for message in later if "params" in message)
        assert subscribed_text(client, kept) == said(client.events())
        back = await subscribe(client, since={"seq": last})
        assert back["replay"]["complete"]
        events = await client.up_to(back["subscription"], back["head"])
        assert events == (await log_of(client))[last:]


async def test_one_subscription_too_many(client: RawClient) -> None:
    """-32006 by every way to get one, and nothing else is done; one closed, and one more is welcome."""
    await say(client, "hello")
    limit = (await client.call("gateway.hello"))["limits"]["subscriptions"]
    names = [(await subscribe(client))["subscription"] for _ in range(limit)]
    assert (limit, len(set(names))) == (256, 256)
    sends = [{"key": KEY, "content": "hi"}, {"key": f"{KEY}:2", "content": "hi", "create": ECHO}]
    for error in (
        await client.fail("session.subscribe", key=KEY),
        await client.fail("session.create", key=f"{KEY}:2", agent="echo", subscribe=True),
        *[await client.fail("session.send", subscribe=True, **params) for params in sends],
    ):
        assert (error["code"], error["data"]["code"], error["data"]["limit"]) == (-32006, "too_many_subscriptions", 256)
    assert [event["content"] for event in await log_of(client) if event["type"] == "message.user"] == ["hello"]
    assert (await client.fail("session.status", key=f"{KEY}:2"))["data"]["code"] == "session_not_found"
    await client.call("session.unsubscribe", subscription=names[0])
    await subscribe(client)


async def test_resume_in_the_middle_of_a_turn(client: RawClient, connect: Connect) -> None:
    """A dropped socket does not stop the turn; on a new one everything is there that came meanwhile, and goes on."""
    async with connect() as dropped:
        turn = await begin(dropped, MIXED)
        await dropped.delta()
        last = dropped.events()[-1]["seq"]
        epoch = (await subscribe(client))["epoch"]
        dropped.socket.transport.abort()
    for _ in range(3):
        await client.delta()
    answer = await subscribe(client, since={"epoch": epoch, "seq": last - 1})
    assert answer["replay"]["complete"]
    assert answer["turn"]["text"].startswith(text_of(dropped.deltas()))
    end = await client.seen("turn.completed", turn=turn)
    assert await client.up_to(answer["subscription"], end["seq"]) == (await log_of(client))[last - 1 :]
    assert subscribed_text(client, answer) == MIXED
    client.check_chain(answer["subscription"], last - 1)


@pytest.mark.parametrize(
    "last_words",
    [
        Frame(Opcode.CLOSE, Close(1000, "").serialize()).serialize(mask=True),
        Frame(Opcode.TEXT, b"against the protocol: not masked").serialize(mask=False),
    ],
    ids=["closes", "breaks the rules"],
)
async def test_a_goodbye_in_the_middle_of_a_turn(client: RawClient, connect: Connect, last_words: bytes) -> None:
    """A follower that goes, and does not read the answer to its goodbye, disturbs neither the turn nor the others."""
    async with connect() as leaving:
        turn = await begin(leaving, "/words 20")
        await leaving.delta()
        answer = await subscribe(client)
        leaving.socket.transport.pause_reading()
        leaving.socket.transport.write(last_words)
        await client.seen("message.assistant")
        leaving.socket.transport.abort()
    assert said(client.events(turn=turn)) == " ".join(f"w{n}" for n in range(1, 21))
    assert subscribed_text(client, answer) == said(client.events(turn=turn))
    await check_follows(client, answer)


async def test_resume_after_a_restart(tmp_path: Path) -> None:
    """The same log: the turn that was cut ends with what had been said, and nothing is missing or repeated."""
    settings = load(None, {}, {"server.port": 0, "server.data_dir": str(tmp_path)}).settings
    async with running(settings) as gateway, raw_client(f"ws://{gateway.authority}/rpc") as client:
        turn = await begin(client, "/words 500")
        for _ in range(3):
            await client.delta()
        last, epoch = client.events()[-1]["seq"], (await subscribe(client))["epoch"]
        heard = text_of(client.deltas(subscription="s1"))
    async with running(settings) as gateway, raw_client(f"ws://{gateway.authority}/rpc") as client:
        answer = await subscribe(client, since={"epoch": epoch, "seq": last})
        assert (answer["replay"]["complete"], answer["epoch"], answer.get("turn")) == (True, epoch, None)
        events = await client.up_to(answer["subscription"], answer["head"])
        assert [event["type"] for event in events] == ["generation.end", "message.assistant", "turn.failed"]
        assert (events[1]["turn"], events[1]["finishReason"], events[1]["partial"]) == (turn, "interrupted", True)
        assert events[1]["content"].startswith(heard)
        assert events[2]["code"] == "gateway_restarted"
        client.check_chain(answer["subscription"], last)
        await check_follows(client, answer)


async def test_delete_ends_it(client: RawClient) -> None:
    """The running turn's end is the last that comes, then the farewell; there is nothing to come back to."""
    await begin(client, "/words 500")
    await client.delta()
    await client.call("session.delete", key=KEY)
    closed = next(m for m in client.heard if m.get("method") == "subscription.closed")
    last = client.events()[-1]
    assert last["type"] == "turn.stopped"
    assert closed["params"] == {"subscription": "s1", "reason": "deleted", "lastSeq": last["seq"], "resumable": False}
    assert text_of(client.deltas()) == said(client.events())
    await client.silence()
    assert await client.call("session.unsubscribe", subscription="s1") == {"closed": False}
    assert (await client.fail("session.subscribe", key=KEY))["data"]["code"] == "session_deleted"


async def test_a_session_that_is_not_there(client: RawClient) -> None:
    """404, and no subscription."""
    error = await client.fail("session.subscribe", key=KEY)
    assert (error["code"], error["data"]["code"]) == (404, "session_not_found")
    assert await client.call("session.unsubscribe", subscription="s1") == {"closed": False}
