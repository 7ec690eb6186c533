"""Following over one connection: nothing lost, nothing blocked."""

import asyncio

import pytest

from gateway.client import ConnectionLost, Notice, Since, Subscription, SubscriptionLagged, connect, mailbox
from rpc_schema import lifecycle
from rpc_schema.errors import SessionNotFound
from rpc_schema.notifications import ClosedParams, DeltaParams, EventParams
from rpc_schema.subscriptions import SubscribeResult
from tests.unit.client.scripted import SESSION, Line, scripted


async def gather(notices: Subscription[SubscribeResult]) -> list[Notice]:
    return [notice async for notice in notices]


async def test_events_and_deltas_come_typed_and_in_order() -> None:
    """The last one says why it closed."""

    async def script(line: Line) -> None:
        await line.greet()
        heard = await line.subscribed()
        assert heard.params == {"key": "k", "deltas": True}
        await line.event(2, "turn.started", turn="t1", model="m")
        await line.delta(0, "hi")
        await line.closed("deleted")
        await line.left()

    async with scripted(script) as url, connect(url) as gw, gw.subscribe("k") as notices:
        assert notices.result.head == 1
        assert notices.since == Since(seq=1, epoch="e1")
        started, delta, closed = await gather(notices)
        assert isinstance(started, EventParams)
        assert started.event.seq == 2
        assert isinstance(delta, DeltaParams)
        assert delta.delta.text == "hi"
        assert isinstance(closed, ClosedParams)
        assert notices.since == Since(seq=2, epoch="e1")


async def test_what_came_before_the_connection_dropped_is_given_first() -> None:
    """Then ConnectionLost; `since` is where to go on."""

    async def script(line: Line) -> None:
        await line.greet()
        heard = await line.subscribed(head=4, replay={"from": 3, "to": 4, "complete": True})
        assert heard.params["since"] == {"seq": 2, "epoch": "e1"}
        await line.event(3, "message.system", content="x")
        line.socket.transport.write_eof()
        await line.socket.close(1001)

    async with (
        scripted(script) as url,
        connect(url) as gw,
        gw.subscribe("k", since=Since(seq=2, epoch="e1")) as notices,
    ):
        assert notices.since == Since(seq=2, epoch="e1")
        assert isinstance(await anext(notices), EventParams)
        with pytest.raises(ConnectionLost):
            await anext(notices)
        assert notices.since == Since(seq=3, epoch="e1")


async def test_a_refused_subscription_is_an_error() -> None:
    """Raised where the subscription would begin."""

    async def script(line: Line) -> None:
        await line.greet()
        await line.refuse(await line.hear("session.subscribe"), 404, "session_not_found")
        await line.gone()

    async with scripted(script) as url, connect(url) as gw:
        with pytest.raises(SessionNotFound):
            async with gw.subscribe("k"):
                pass


async def test_a_subscription_made_by_create_is_taken_up() -> None:
    """What it was told before is not lost, whenever the caller gets to it."""

    async def script(line: Line) -> None:
        await line.greet()
        made = {"session": SESSION, "subscription": {"id": "s9", "epoch": "e1", "head": 1}}
        await line.answer(await line.hear("session.create"), made)
        await line.event(2, "message.system", id="s9", content="early")
        await line.answer(await line.hear("other"), None)
        await line.left()

    async with scripted(script) as url, connect(url) as gw:
        created = await gw.call(lifecycle.CREATE, lifecycle.CreateParams(agent="echo", subscribe=True))
        assert created.subscription is not None
        await gw.call("other")
        async with gw.attach(created.subscription) as notices:
            notice = await anext(notices)
            assert isinstance(notice, EventParams)
            assert notice.event.seq == 2


async def test_events_of_a_newer_gateway_are_passed_over() -> None:
    """And so are notifications that nobody here knows."""

    async def script(line: Line) -> None:
        await line.greet()
        await line.subscribed()
        await line.tell("session.applause", subscription="s1")
        await line.event(2, "session.applauded", hands=2)
        await line.event(3, "message.system", content="x", colour="blue")
        await line.closed("deleted")
        await line.left()

    async with scripted(script) as url, connect(url) as gw, gw.subscribe("k") as notices:
        known, _ = await gather(notices)
        assert isinstance(known, EventParams)
        assert known.event.seq == 3


async def test_a_slow_consumer_slows_the_gateway_and_loses_nothing() -> None:
    """A long replay waits on the other side of the socket, not in this process."""
    events, wide = 600, "x" * 20_000

    async def script(line: Line) -> None:
        await line.greet()
        await line.subscribed(head=events + 1, replay={"from": 2, "to": events + 1, "complete": True})
        for seq in range(2, events + 2):
            await line.event(seq, "message.system", content=wide)
        await line.closed("deleted")
        await line.left()

    async with (
        scripted(script) as url,
        connect(url) as gw,
        gw.subscribe("k", since=Since(seq=1)) as notices,
    ):
        seqs, most = [], 0
        async for notice in notices:
            await asyncio.sleep(0)
            most = max(most, notices._mailbox.bytes)
            if isinstance(notice, EventParams):
                seqs.append(notice.event.seq)
    assert seqs == list(range(2, events + 2))
    assert mailbox.FULL_BYTES < most < 2 * mailbox.FULL_BYTES


async def test_a_consumer_that_calls_is_answered_however_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer stands behind the notices on the wire; the reader goes on to it at once."""
    monkeypatch.setattr(mailbox, "STALL_S", 3600)

    async def script(line: Line) -> None:
        await line.greet()
        await line.subscribed()
        for seq in range(2, 202):
            await line.event(seq, "message.system", content="x" * 20_000)
        await line.answer(await line.hear("other"), "answered")
        await line.left()

    async with scripted(script) as url, connect(url) as gw, gw.subscribe("k") as notices:
        await anext(notices)
        assert await gw.call("other") == "answered"


async def test_a_consumer_that_stands_still_loses_only_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """After STALL_S it is given up: it gets what was kept, then SubscriptionLagged; the others go on."""
    monkeypatch.setattr(mailbox, "STALL_S", 0.02)

    async def script(line: Line) -> None:
        await line.greet()
        await line.subscribed(id="still")
        await line.subscribed(id="moving")
        for seq in range(2, 202):
            await line.event(seq, "message.system", id="still", content="x" * 20_000)
        await line.event(2, "message.system", id="moving", content="hello")
        await line.answer(await line.hear("session.unsubscribe"), {"closed": True})
        await line.left()

    async with (
        scripted(script) as url,
        connect(url) as gw,
        gw.subscribe("k") as still,
        gw.subscribe("k") as moving,
    ):
        assert isinstance(await anext(moving), EventParams)
        kept = 0
        with pytest.raises(SubscriptionLagged) as caught:
            async for _ in still:
                kept += 1
        assert kept > 40
        assert caught.value.since == Since(seq=1 + kept, epoch="e1")


async def test_leaving_early_unsubscribes() -> None:
    """What still comes for it disturbs nobody."""

    async def script(line: Line) -> None:
        await line.greet()
        await line.subscribed()
        leave = await line.hear("session.unsubscribe")
        assert leave.params["subscription"] == "s1"
        await line.event(2, "message.system", content="late")
        await line.answer(leave, {"closed": True})
        await line.closed("unsubscribed")
        await line.answer(await line.hear("other"), 1)
        await line.gone()

    async with scripted(script) as url, connect(url) as gw:
        async with gw.subscribe("k"):
            pass
        assert await gw.call("other") == 1


async def test_many_subscriptions_share_a_connection() -> None:
    """Each gets its own and nothing else."""
    many = 50

    async def script(line: Line) -> None:
        await line.greet()
        for number in range(many):
            await line.subscribed(id=f"s{number}")
        for seq in (2, 3):
            for number in range(many):
                await line.event(seq, "message.system", id=f"s{number}", content=f"{number}")
        for number in range(many):
            await line.closed("deleted", id=f"s{number}")
        for _ in range(many):
            await line.answer(await line.hear("session.unsubscribe"), {"closed": True})
        await line.gone()

    ready = asyncio.Barrier(many)

    async with scripted(script) as url, connect(url) as gw:

        async def consume() -> set[str]:
            async with gw.subscribe("k") as notices:
                await ready.wait()
                seen = {notice.subscription async for notice in notices}
                assert seen == {notices.result.subscription}
                return seen

        seen = await asyncio.gather(*(consume() for _ in range(many)))
    assert len(set().union(*seen)) == many
