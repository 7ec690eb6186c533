"""Messages that come while a turn runs: they wait, are refused, or interrupt."""

from typing import Any

import pytest

from tests.raw import Json, RawClient, said, text_of

KEY = "agent:echo:web:queue"
LONG = "/sleep 60000"


@pytest.fixture
async def talk(client: RawClient) -> RawClient:
    """A connection that follows a new session."""
    await client.call("session.create", agent="echo", key=KEY, subscribe=True)
    return client


async def send(client: RawClient, content: str, **params: Any) -> Json:
    """Send and return the answer."""
    return await client.call("session.send", key=KEY, content=content, **params)


async def stop(client: RawClient, turn: str) -> None:
    """Stop a turn that is there to be stopped."""
    assert await client.call("session.stop", key=KEY, turn=turn) == {"stopped": True, "turn": turn}


async def summary(client: RawClient) -> Json:
    """The session as lists show it."""
    return (await client.call("session.status", key=KEY))["session"]


async def queue_limit(client: RawClient) -> int:
    """How many may wait, as the gateway says."""
    return (await client.call("gateway.hello"))["limits"]["queuedTurns"]


def order(client: RawClient, *types: str) -> list[str]:
    """The turns in the order in which they came to one of these events."""
    return [event["turn"] for event in client.events() if event["type"] in types]


async def test_they_run_in_the_order_they_came(talk: RawClient) -> None:
    """One at a time, each begun when the one before has ended, each answered with its own words."""
    sent = [await send(talk, message) for message in (LONG, "message 1", "message 2", "message 3", "message 4")]
    turns = [answer["turn"] for answer in sent]
    assert [(answer["state"], answer.get("position")) for answer in sent] == [
        ("running", None),
        *(("queued", position) for position in range(1, 5)),
    ]
    await stop(talk, turns[0])
    await talk.seen("turn.completed", turn=turns[-1])
    assert [event["position"] for event in talk.events(type="turn.queued")] == [1, 2, 3, 4]
    assert order(talk, "turn.started", "turn.stopped", "turn.completed") == [turn for turn in turns for _ in range(2)]
    for n, turn in enumerate(turns[1:], 1):
        assert said(talk.events(turn=turn)) == text_of(talk.deltas(turn=turn)) == f"message {n}"


async def test_from_many_requests_at_once(talk: RawClient) -> None:
    """Sends whose answers nobody awaits are queued in the order they were said."""
    contents = [LONG, *(f"message {n}" for n in range(7))]
    asked = [await talk.ask("session.send", key=KEY, content=content) for content in contents]
    answers = [(await talk.answer(id))["result"] for id in asked]
    assert [answer.get("position") for answer in answers] == [None, *range(1, 8)]
    await stop(talk, answers[0]["turn"])
    await talk.seen("turn.completed", turn=answers[-1]["turn"])
    assert order(talk, "turn.started") == [answer["turn"] for answer in answers]


async def test_the_position_is_the_place_behind_those_that_still_wait(talk: RawClient) -> None:
    """One that was taken back leaves no hole."""
    running = (await send(talk, LONG))["turn"]
    first, second = (await send(talk, "first"))["turn"], (await send(talk, "second"))["turn"]
    await stop(talk, first)
    third = await send(talk, "third")
    assert third["position"] == 2
    await stop(talk, running)
    await talk.seen("turn.completed", turn=third["turn"])
    assert order(talk, "turn.started") == [running, second, third["turn"]]


async def test_the_summary_counts_them(talk: RawClient) -> None:
    """`queued` is how many wait, `turn` the one that runs; both are over when the turns are."""
    running = (await send(talk, LONG))["turn"]
    last = [(await send(talk, f"message {n}"))["turn"] for n in range(3)][-1]
    session = await summary(talk)
    assert (session["queued"], session["turn"]) == (3, {"id": running, "state": "running"})
    listed = (await talk.call("session.list"))["sessions"]
    assert [row["queued"] for row in listed] == [3]
    await stop(talk, running)
    await talk.seen("turn.completed", turn=last)
    session = await summary(talk)
    assert (session["queued"], session.get("turn")) == (0, None)


async def test_a_waiting_message_is_in_the_log_at_once(talk: RawClient) -> None:
    """Everybody sees what was asked before it is answered, and it counts as a message."""
    await send(talk, LONG)
    sent = await send(talk, "I was here")
    events = (await talk.call("session.history", key=KEY, after=sent["seq"] - 1))["events"]
    assert [(event["seq"], event["type"], event["turn"]) for event in events[:2]] == [
        (sent["seq"], "message.user", sent["turn"]),
        (sent["seq"] + 1, "turn.queued", sent["turn"]),
    ]
    assert (events[0]["content"], events[0]["author"]) == ("I was here", "local")
    assert (await talk.seen("message.user", turn=sent["turn"])) == events[0]
    assert (await summary(talk))["messageCount"] == 2


async def test_reject_while_a_turn_runs(talk: RawClient) -> None:
    """409 with the turn that runs; the message is nowhere."""
    running = (await send(talk, LONG))["turn"]
    await talk.seen("generation.start")
    before = await talk.call("session.history", key=KEY)
    error = await talk.fail("session.send", key=KEY, content="now or never", ifBusy="reject")
    assert (error["code"], error["data"]) == (409, {"code": "turn_running", "retryable": False, "turn": running})
    assert await talk.call("session.history", key=KEY) == before
    assert (await summary(talk))["queued"] == 0


@pytest.mark.parametrize("if_busy", ["reject", "interrupt", "enqueue"])
async def test_when_nothing_runs(talk: RawClient, if_busy: str) -> None:
    """Whatever is to happen to a running turn, without one the message just runs."""
    sent = await send(talk, "hello", ifBusy=if_busy)
    assert (sent["state"], sent.get("position")) == ("running", None)
    await talk.seen("turn.completed", turn=sent["turn"])
    assert order(talk, "turn.queued", "turn.stopped") == []


async def test_interrupt(talk: RawClient) -> None:
    """The running turn ends stopped, with what it said; the new one runs at once, before those that wait."""
    running = (await send(talk, "/words 500"))["turn"]
    waiting = [(await send(talk, f"waiting {n}"))["turn"] for n in range(2)]
    await talk.delta()
    sent = await send(talk, "listen to me", ifBusy="interrupt")
    assert (sent["state"], sent.get("position")) == ("running", None)
    await talk.seen("turn.completed", turn=waiting[-1])
    end = await talk.seen("turn.stopped", turn=running)
    assert (end["by"], end["reason"]) == ("local", "interrupted")
    message = talk.events(type="message.assistant", turn=running)[-1]
    assert (message["finishReason"], message["partial"]) == ("stopped", True)
    assert message["content"].startswith("w1 ")
    assert text_of(talk.deltas(turn=running)) == said(talk.events(turn=running))
    types = [event["type"] for event in talk.events() if event["seq"] > message["seq"]]
    assert types[:3] == ["turn.stopped", "message.user", "turn.started"]
    assert order(talk, "turn.started") == [running, sent["turn"], *waiting]
    assert said(talk.events(turn=sent["turn"])) == "listen to me"
    assert [said(talk.events(turn=turn)) for turn in waiting] == ["waiting 0", "waiting 1"]


async def test_interrupt_of_an_interrupt(talk: RawClient) -> None:
    """Interrupts said in one breath: each ends the one before, the last is answered."""
    asked = [
        await talk.ask("session.send", key=KEY, content=f"/sleep {60000 + n}", ifBusy="interrupt") for n in range(4)
    ]
    asked.append(await talk.ask("session.send", key=KEY, content="the last", ifBusy="interrupt"))
    turns = [(await talk.answer(id))["result"]["turn"] for id in asked]
    await talk.seen("turn.completed", turn=turns[-1])
    assert order(talk, "turn.started") == turns
    assert order(talk, "turn.stopped") == turns[:-1]


async def test_a_full_queue(talk: RawClient) -> None:
    """Past the limit 429, to be tried again; the message is nowhere, and one place free is one message more."""
    await send(talk, LONG)
    await talk.seen("generation.start")
    limit = await queue_limit(talk)
    waiting = [(await send(talk, f"message {n}"))["turn"] for n in range(limit)]
    before = await talk.call("session.history", key=KEY)
    error = await talk.fail("session.send", key=KEY, content="one too many")
    assert (error["code"], error["data"]) == (429, {"code": "queue_full", "retryable": True, "limit": limit})
    assert await talk.call("session.history", key=KEY) == before
    await stop(talk, waiting[0])
    assert (await send(talk, "just right"))["position"] == limit


async def test_interrupt_past_a_full_queue(talk: RawClient) -> None:
    """Who interrupts needs no place in the queue."""
    running = (await send(talk, LONG))["turn"]
    for n in range(await queue_limit(talk)):
        await send(talk, f"/sleep {60000 + n}")
    sent = await send(talk, "let me through", ifBusy="interrupt")
    assert sent["state"] == "running"
    await talk.seen("turn.completed", turn=sent["turn"])
    assert order(talk, "turn.stopped") == [running]


async def test_a_failed_turn_lets_the_next_one_run(talk: RawClient) -> None:
    """The queue goes on after a turn whatever became of it."""
    failed = (await send(talk, "/sleep 300\n/fail on purpose"))["turn"]
    after = await send(talk, "still here", wait=True)
    assert (after["state"], after["message"]["content"]) == ("queued", "still here")
    assert order(talk, "turn.failed", "turn.completed") == [failed, after["turn"]]
