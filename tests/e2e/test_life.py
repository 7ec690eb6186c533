"""Stories of whole lives: how time, people and agents get along."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.agents.base import Finish, Output, Turn
from gateway.clock import instant, parse_instant
from tests.e2e.calls import KEY, code_of, create, log_of, say, status, update, words
from tests.e2e.inside import client_of, gateway_of
from tests.fakes import FakeClock, ScriptedAgent, forever
from tests.raw import Json, RawClient

DAY = 24 * 60
HOUR_MS = 60 * 60 * 1000
YEAR_MS = 365 * 24 * HOUR_MS


@pytest.fixture
async def talk(still: RawClient) -> AsyncIterator[RawClient]:
    """A connection that follows KEY once it is there; what it heard has no gap at the end."""
    yield still
    ids = {m["params"]["subscription"] for m in still.heard if m.get("method") == "session.event"}
    for id in ids:
        still.check_chain(id, 1)


async def begin(client: RawClient, **params: Any) -> Json:
    """Make the session KEY and follow it."""
    return await create(client, subscribe=True, **params)


def kinds(client: RawClient) -> list[str]:
    """What happened to the session, in short: states by where they go, the rest by name."""
    events = client.events()
    return [event["to"] if event["type"] == "session.state" else event["type"] for event in events]


def count(client: RawClient, type: str, **fields: Any) -> int:
    return len(client.events(type=type, **fields))


async def wait_for(client: RawClient, type: str, number: int) -> Json:
    """The event of this type, counted from 1, heard already or yet to come."""
    while count(client, type) < number:
        await client.hear()
    return client.events(type=type)[number - 1]


async def calm(client: RawClient, clock: FakeClock) -> None:
    """Let the timers tick, twice: what another session is due for has happened, so nothing of this one is missing."""
    for _ in range(2):
        key = f"tick {len(client.heard)}".replace(" ", "-")
        await client.call("session.create", key=key, agent="echo", policy={"idleAfterMinutes": 1 / 60}, subscribe=True)
        clock.advance(seconds=1)
        while not [m for m in client.heard if m.get("params", {}).get("key") == key and "event" in m["params"]]:
            await client.hear()
        await client.call("session.delete", key=key)


async def test_warned_once_for_each_end(talk: RawClient, clock: FakeClock) -> None:
    """Idle, warned; a message takes the warning back; the next end is warned of in its turn, each exactly once."""
    await begin(talk)
    clock.advance(minutes=5)
    await talk.seen("session.state", to="idle")
    clock.advance(minutes=20)
    warning = await talk.seen("session.expiring")
    assert (warning["cause"], warning["timeRemainingMs"], warning["minutesRemaining"]) == ("timeout", 300_000, 5)
    for _ in range(3):
        clock.advance(minutes=1)
        assert (await status(talk))["session"]["isNearExpiration"]
    await say(talk)
    assert kinds(talk)[:6] == ["idle", "session.expiring", "live", "session.renewed", "message.user", "turn.started"]
    session = (await status(talk))["session"]
    assert (session["isNearExpiration"], session["expiresAt"]) == (
        False,
        talk.events(type="session.renewed")[0]["expiresAt"],
    )
    clock.advance(minutes=25, ms=-1)
    await talk.call("session.status", key=KEY)
    assert count(talk, "session.expiring") == 1
    clock.advance(ms=1)
    second = await wait_for(talk, "session.expiring", 2)
    assert second["expiresAt"] == session["expiresAt"]
    await calm(talk, clock)
    assert (count(talk, "session.expiring"), count(talk, "session.renewed")) == (2, 1)


async def test_warned_once_at_the_longest_duration(talk: RawClient, clock: FakeClock) -> None:
    """However much is said in the last minutes; nothing is renewed any more."""
    await begin(talk, policy={"maxDurationMinutes": 40, "timeoutMinutes": 30})
    clock.advance(minutes=20)
    await say(talk)
    clock.advance(minutes=15)
    assert (await talk.seen("session.expiring"))["cause"] == "max_duration"
    for minute in range(4):
        sent = await say(talk, f"message {minute}")
        assert (sent["sessionStatus"]["wasRenewed"], sent["sessionStatus"]["isNearExpiration"]) == (False, True)
        assert sent["sessionStatus"]["renewalCount"] == 1
        clock.advance(minutes=1)
    assert await code_of(talk, "session.renew", key=KEY) == (422, "renewal_failed")
    clock.advance(minutes=1)
    assert (await talk.seen("session.state", to="ended"))["reason"] == "max_duration"
    assert (count(talk, "session.expiring"), count(talk, "session.renewed")) == (1, 0)


async def test_without_auto_renew(talk: RawClient, clock: FakeClock) -> None:
    """Activity moves nothing, not even a running turn; who renews by hand gets the whole timeout."""
    first = await begin(talk, policy={"autoRenew": False, "idleAfterMinutes": 30})
    clock.advance(minutes=20)
    sent = await say(talk)
    assert sent["sessionStatus"] == {
        "expiresAt": first["expiresAt"],
        "renewalCount": 0,
        "wasRenewed": False,
        "isNearExpiration": False,
    }
    await talk.call("session.send", key=KEY, content="/sleep 60000")
    clock.advance(minutes=5)
    assert (await talk.seen("session.expiring"))["expiresAt"] == first["expiresAt"]
    renewed = (await talk.call("session.renew", key=KEY))["session"]
    assert (renewed["timeRemainingMs"], renewed["renewalCount"]) == (30 * 60_000, 1)
    await talk.call("session.stop", key=KEY)
    clock.advance(minutes=30)
    end = await talk.seen("session.state", to="ended")
    assert (end["reason"], count(talk, "session.expiring")) == ("expired", 1)
    error = await talk.fail("session.renew", key=KEY)
    assert (error["data"]["code"], error["data"]["reason"]) == ("session_expired", "expired")
    assert error["data"]["expiresAt"] == renewed["expiresAt"]


async def test_an_end_that_a_turn_held_off(talk: RawClient, clock: FakeClock) -> None:
    """Without auto-renew the end that passed meanwhile comes as soon as the turn is over, by the timer."""
    first = await begin(talk, policy={"autoRenew": False})
    await talk.call("session.send", key=KEY, content="/sleep 60000")
    clock.advance(minutes=45)
    assert (await status(talk))["session"]["state"] == "live"
    await talk.call("session.stop", key=KEY)
    assert (await talk.seen("session.state", to="ended"))["reason"] == "expired"
    error = await talk.fail("session.send", key=KEY, content="and?")
    assert error["data"]["expiresAt"] == first["expiresAt"]


@pytest.mark.parametrize("auto_renew", [True, False])
async def test_the_longest_duration_ends_a_running_turn(talk: RawClient, clock: FakeClock, auto_renew: bool) -> None:
    """By the timer, with what was said and the queue; it is the reason, also where the other end has passed."""
    await begin(talk, policy={"maxDurationMinutes": 60, "autoRenew": auto_renew})
    await talk.call("session.send", key=KEY, content="so far\n/sleep 60000")
    await talk.call("session.send", key=KEY, content="never heard")
    await words(talk)
    clock.advance(minutes=60)
    end = await talk.seen("session.state", to="ended")
    assert end["reason"] == "max_duration"
    assert [event["type"] for event in talk.events() if event["seq"] > end["seq"] - 4] == [
        *("message.assistant", "turn.stopped", "turn.stopped", "session.state")
    ]
    assert talk.events(type="message.assistant")[0]["content"].strip() == "so far"
    error = await talk.fail("session.heartbeat", key=KEY)
    assert (error["data"]["reason"], error["data"]["expiresAt"]) == ("max_duration", end["at"])


async def test_more_time_for_a_silent_turn(talk: RawClient, clock: FakeClock) -> None:
    """The warning of the longest duration is taken back however long nothing has been heard of the turn."""
    await begin(talk, policy={"maxDurationMinutes": 60})
    await talk.call("session.send", key=KEY, content="/sleep 60000")
    clock.advance(minutes=56)
    assert (await talk.seen("session.expiring"))["cause"] == "max_duration"
    await update(talk, policy={"maxDurationMinutes": 90})
    assert (await talk.seen("session.renewed"))["expiresAt"] == instant(clock.now_ms() + 34 * 60_000)
    clock.advance(minutes=30)
    assert (await wait_for(talk, "session.expiring", 2))["timeRemainingMs"] == 4 * 60_000


async def test_hours_of_work(tmp_path: Path) -> None:
    """A silent turn is not idle and not ended by inactivity; the end counts from the turn's."""
    clock, may_go = FakeClock(), asyncio.Event()

    async def work(turn: Turn, out: Output) -> Finish:
        await may_go.wait()
        out.text("done")
        return "stop"

    async with gateway_of(tmp_path, ScriptedAgent("slow", work), clock=clock) as up, client_of(up) as client:
        await client.call("session.create", key=KEY, agent="slow", subscribe=True)
        await client.call("session.send", key=KEY, content="take your time")
        for _ in range(6):
            clock.advance(minutes=50)
            assert (await status(client))["session"]["state"] == "live"
        await calm(client, clock)
        may_go.set()
        over = await client.seen("turn.completed")
        session = (await status(client))["session"]
        assert parse_instant(session["expiresAt"]) == parse_instant(over["at"]) + 30 * 60_000
        assert count(client, "session.expiring") == 0
        clock.advance(minutes=30, ms=-1)
        assert (await status(client))["session"]["state"] == "idle"
        clock.advance(ms=1)
        assert (await client.seen("session.state", to="ended"))["reason"] == "idle_timeout"


async def test_a_policy_that_moves_the_end(talk: RawClient, clock: FakeClock) -> None:
    """Out: the warning is taken back. In: warned anew, for the new end, at once when it is near."""
    await begin(talk)
    clock.advance(minutes=25)
    await talk.seen("session.expiring")
    session = await update(talk, policy={"timeoutMinutes": 60})
    assert (session["isNearExpiration"], session["timeRemainingMs"]) == (False, 35 * 60_000)
    renewed = await talk.seen("session.renewed")
    assert (renewed["auto"], renewed["expiresAt"]) == (False, session["expiresAt"])
    session = await update(talk, policy={"timeoutMinutes": 28})
    warning = await wait_for(talk, "session.expiring", 2)
    assert (warning["expiresAt"], warning["timeRemainingMs"]) == (session["expiresAt"], 3 * 60_000)
    await update(talk, policy={"timeoutMinutes": 20})
    end = await talk.seen("session.state", to="ended")
    assert (end["reason"], count(talk, "session.expiring")) == ("idle_timeout", 2)


async def test_warned_anew_of_another_end(talk: RawClient, clock: FakeClock) -> None:
    """An end that moved in after its warning, or out by a pause, is another end."""
    await begin(talk)
    clock.advance(minutes=25)
    await talk.seen("session.expiring")
    await update(talk, policy={"timeoutMinutes": 28})
    assert (await wait_for(talk, "session.expiring", 2))["timeRemainingMs"] == 3 * 60_000
    await talk.call("session.pause", key=KEY)
    clock.advance(minutes=60)
    resumed = (await talk.call("session.resume", key=KEY))["session"]
    again = await wait_for(talk, "session.expiring", 3)
    assert (again["expiresAt"], again["timeRemainingMs"]) == (resumed["expiresAt"], 3 * 60_000)
    await calm(talk, clock)
    assert (count(talk, "session.expiring"), count(talk, "session.renewed")) == (3, 0)


async def test_pauses_without_auto_renew(talk: RawClient, clock: FakeClock) -> None:
    """Each keeps what is left; a renewal by hand gives the whole timeout, whatever was paused before."""
    await begin(talk, policy={"autoRenew": False})
    for minutes in (20, 10):
        clock.advance(minutes=10)
        await talk.call("session.pause", key=KEY)
        clock.advance(minutes=100)
        session = (await talk.call("session.resume", key=KEY))["session"]
        assert session["timeRemainingMs"] == minutes * 60_000
    session = (await talk.call("session.renew", key=KEY))["session"]
    assert session["timeRemainingMs"] == 30 * 60_000
    clock.advance(minutes=30)
    end = await talk.seen("session.state", to="ended")
    assert (end["at"], end["reason"]) == (session["expiresAt"], "expired")


async def test_a_policy_for_all_sessions_of_an_agent(tmp_path: Path) -> None:
    """At once, for their timers too, whether the end moves in or out; but not for those with rules of their own."""
    clock = FakeClock()
    async with gateway_of(tmp_path, clock=clock) as gateway, client_of(gateway) as client:
        await begin(client)
        await client.call("session.create", key="own", agent="echo", policy={"timeoutMinutes": 50}, subscribe=True)
        clock.advance(minutes=25)
        await client.seen("session.expiring")
        await client.call("agent.setPolicy", agent="echo", policy={"timeoutMinutes": 40})
        await client.seen("session.renewed")
        assert (await status(client))["session"]["timeRemainingMs"] == 15 * 60_000
        assert (await status(client, "own"))["session"]["timeRemainingMs"] == 25 * 60_000
        await client.call("agent.setPolicy", agent="echo", policy={"timeoutMinutes": 27})
        assert (await wait_for(client, "session.expiring", 2))["timeRemainingMs"] == 2 * 60_000
        await client.call("agent.setPolicy", agent="echo", policy={"timeoutMinutes": 10})
        await client.seen("session.state", to="ended")
        assert (await status(client, "own"))["session"]["state"] == "idle"
    async with gateway_of(tmp_path, clock=clock) as gateway, client_of(gateway) as client:
        assert (await create(client, "new"))["timeRemainingMs"] == 10 * 60_000
        answer = await client.call("agent.setPolicy", agent="echo", policy={"timeoutMinutes": None})
        assert (answer["policy"]["timeoutMinutes"], answer["policySources"]["timeoutMinutes"]) == (30, "gateway")
        assert (await status(client, "new"))["session"]["timeRemainingMs"] == 30 * 60_000


@pytest.mark.parametrize(("minutes", "happens"), [(20, "ended"), (27, "session.expiring"), (90, "session.renewed")])
async def test_a_file_that_changed_meanwhile(tmp_path: Path, minutes: int, happens: str) -> None:
    """What was reckoned by the old policy is reckoned anew at the start, with nobody asking."""
    clock = FakeClock()
    async with gateway_of(tmp_path, clock=clock) as gateway, client_of(gateway) as client:
        await begin(client)
        clock.advance(minutes=25)
        await client.seen("session.expiring")
        head = (await log_of(client))[-1]["seq"]
    async with gateway_of(tmp_path, clock=clock, policy_timeout_minutes=minutes) as up, client_of(up) as client:
        await client.call("session.subscribe", key=KEY, since={"seq": head})
        while happens not in kinds(client):
            await client.hear()


async def test_a_file_that_changed_meanwhile_by_the_timer(tmp_path: Path) -> None:
    """An end that moved in comes by itself: only the list is read, which looks after nobody."""
    clock = FakeClock()
    async with gateway_of(tmp_path, clock=clock) as gateway, client_of(gateway) as client:
        await create(client, policy={"idleAfterMinutes": 20})
    clock.advance(minutes=12)
    async with gateway_of(tmp_path, clock=clock, policy_timeout_minutes=11) as gateway, client_of(gateway) as client:
        async with asyncio.timeout(5):
            while (await client.call("session.list"))["sessions"][0]["state"] != "ended":
                await asyncio.sleep(0.01)


async def test_the_archive(talk: RawClient, clock: FakeClock) -> None:
    """30 days after the end, to the millisecond, but not what is pinned; what was restored stays as long again."""
    await begin(talk)
    await say(talk)
    await talk.call("session.end", key=KEY)
    await create(talk, "pinned", pinned=True, subscribe=True)
    await talk.call("session.end", key="pinned")
    clock.advance(minutes=30 * DAY, ms=-1)
    assert "archivedAt" not in (await status(talk))["session"]
    clock.advance(ms=1)
    archived = await talk.seen("session.updated")
    assert archived["archivedAt"] == archived["at"]
    assert "author" not in archived
    assert [session["key"] for session in (await talk.call("session.list"))["sessions"]] == ["pinned"]
    restored = (await talk.call("session.restore", key=KEY))["session"]
    assert (restored["state"], restored.get("archivedAt")) == ("ended", None)
    assert await code_of(talk, "session.send", key=KEY, content="back?") == (410, "session_ended")
    clock.advance(minutes=30 * DAY, ms=-1)
    assert "archivedAt" not in (await status(talk))["session"]
    assert count(talk, "session.updated") == 2
    await talk.call("session.update", key="pinned", pinned=False)
    while len([e for e in talk.events(type="session.updated") if e.get("archivedAt")]) < 2:
        await talk.hear()
    assert "archivedAt" in (await status(talk, "pinned"))["session"]


async def test_never_archived(still: RawClient, clock: FakeClock) -> None:
    """With null for the days."""
    await create(still, policy={"autoArchiveDays": None})
    await still.call("session.end", key=KEY)
    clock.advance(minutes=4000 * DAY)
    assert "archivedAt" not in (await status(still))["session"]


async def crowd(client: RawClient, number: int, **params: Any) -> list[str]:
    """Sessions with different ends, made in another order; their keys in the order of the ends."""
    minutes = {f"s{n}": 5 + (n * 7919) % number / 10 for n in range(number)}
    for key, timeout in minutes.items():
        policy = {"timeoutMinutes": timeout, "idleAfterMinutes": timeout, "warningThresholdMinutes": 0}
        await create(client, key, policy=policy, **params)
    return sorted(minutes, key=minutes.__getitem__)


async def test_overdue_in_order(still: RawClient, clock: FakeClock) -> None:
    """Who follows hundreds that end at once hears the ends in their order, each once."""
    keys = await crowd(still, 200, subscribe=True)
    clock.advance(minutes=60)
    ended = [(await still.hear())["params"] for _ in keys]
    assert [params["key"] for params in ended] == keys
    assert {(params["event"]["to"], params["event"]["at"]) for params in ended} == {("ended", instant(clock.now_ms()))}
    await still.silence()


async def test_overdue_after_a_restart(tmp_path: Path) -> None:
    """Hundreds of ends that passed meanwhile: none forgotten, each said once, in their order."""
    clock = FakeClock()
    async with gateway_of(tmp_path, clock=clock) as gateway, client_of(gateway) as client:
        keys = await crowd(client, 300)
    clock.advance(minutes=600)
    async with gateway_of(tmp_path, clock=clock) as gateway, client_of(gateway) as client, asyncio.timeout(20):
        while (await client.call("gateway.health"))["sessions"]["ended"] < len(keys):
            await asyncio.sleep(0.01)
        for key in keys:
            created, ended = await log_of(client, key)
            assert (ended["from"], ended["to"], ended["reason"]) == ("live", "ended", "idle_timeout")
            assert ended["at"] == instant(clock.now_ms()) > created["at"]
    with closing(sqlite3.connect(tmp_path / "gateway.db")) as store:
        ended = "SELECT s.key FROM events e JOIN sessions s ON s.id = e.session WHERE e.type = 'session.state'"
        assert [key for (key,) in store.execute(f"{ended} ORDER BY e.pos")] == keys


async def test_paused_over_a_restart(tmp_path: Path) -> None:
    """Its remainder is what it was, its queue waits, and goes on when it does."""
    clock = FakeClock()
    async with gateway_of(tmp_path, clock=clock) as gateway, client_of(gateway) as client:
        await create(client)
        await client.call("session.send", key=KEY, content="/sleep 60000")
        await client.call("session.send", key=KEY, content="later")
        clock.advance(minutes=12)
        await client.call("session.pause", key=KEY)
    clock.advance(minutes=300)
    async with gateway_of(tmp_path, clock=clock) as gateway, client_of(gateway) as client:
        session = (await status(client))["session"]
        assert (session["state"], session["timeRemainingMs"], session["queued"]) == ("paused", 30 * 60_000, 1)
        assert "expiresAt" not in session
        clock.advance(minutes=100)
        await client.call("session.subscribe", key=KEY)
        session = (await client.call("session.resume", key=KEY))["session"]
        assert (session["state"], session["timeRemainingMs"]) == ("live", 30 * 60_000)
        await client.seen("turn.completed")
        assert (await log_of(client))[-2]["content"] == "later"


async def test_no_turn_begins_when_time_is_up(tmp_path: Path) -> None:
    """What waited when the gateway went down is not begun in a session that has ended meanwhile."""
    clock, agent = FakeClock(), ScriptedAgent("hangs", lambda turn, out: forever())
    async with gateway_of(tmp_path, agent, clock=clock) as gateway, client_of(gateway) as client:
        await client.call("session.create", key=KEY, agent="hangs", policy={"maxDurationMinutes": 60})
        await client.call("session.send", key=KEY, content="first")
        await client.call("session.send", key=KEY, content="second")
    clock.advance(minutes=61)
    async with gateway_of(tmp_path, agent, clock=clock) as gateway, client_of(gateway) as client:
        session = (await status(client))["session"]
        assert (session["state"], session["endReason"], session["queued"]) == ("ended", "max_duration", 0)
        types = [event["type"] for event in await log_of(client)]
        assert types[-2:] == ["turn.stopped", "session.state"]
        assert types.count("turn.started") == len(agent.turns) == 1


async def test_before_a_late_timer(tmp_path: Path) -> None:
    """Who asks knows the end to the millisecond, also while no timer ticks."""
    clock = FakeClock()
    async with gateway_of(tmp_path, clock=clock) as gateway, client_of(gateway) as client:
        for key in ("a", "b"):
            await create(client, key)
        (wheel,) = (task for task in asyncio.all_tasks() if task.get_name() == "timer wheel")
        wheel.cancel()
        clock.advance(minutes=30, ms=-1)
        await client.call("session.send", key="a", content="in time")
        clock.advance(ms=1)
        error = await client.fail("session.send", key="b", content="late")
        assert (error["code"], error["data"]["expiresAt"]) == (410, instant(clock.now_ms()))
        clock.advance(minutes=3)
        await create(client, "c")
        for method in ("renew", "heartbeat", "pause", "resume"):
            assert await code_of(client, f"session.{method}", key="b") == (410, "session_expired")
        assert (await status(client, "a"))["session"]["state"] == "live"


@pytest.mark.parametrize("by_ms", [HOUR_MS, -HOUR_MS, YEAR_MS, -YEAR_MS])
async def test_a_wall_clock_that_jumps(still: RawClient, clock: FakeClock, by_ms: int) -> None:
    """Ends nothing, revives nothing; what is left is left, and the end comes when it is over."""
    await create(still)
    await create(still, "over", subscribe=True)
    await still.call("session.end", key="over")
    clock.advance(minutes=10)
    clock.set_wall(by_ms=by_ms)
    session = (await status(still))["session"]
    assert (session["state"], session["timeRemainingMs"]) == ("idle", 20 * 60_000)
    assert await code_of(still, "session.renew", key="over") == (410, "session_ended")
    assert (await still.call("session.renew", key=KEY))["session"]["timeRemainingMs"] == 30 * 60_000
    await still.call("session.subscribe", key=KEY)
    clock.advance(minutes=30, ms=-1)
    assert (await status(still))["session"]["state"] == "idle"
    clock.advance(ms=1)
    await still.seen("session.state", to="ended", reason="idle_timeout")
    assert "archivedAt" not in (await status(still, "over"))["session"]


@pytest.mark.parametrize(
    ("policy", "path", "code"),
    [
        ({"timeoutMinutes": 0}, "timeoutMinutes", "invalid_timeout"),
        ({"timeoutMinutes": -5}, "timeoutMinutes", "invalid_timeout"),
        ({"timeoutMinutes": 1e308}, "timeoutMinutes", "invalid_timeout"),
        ({"maxDurationMinutes": 0}, "maxDurationMinutes", "invalid_timeout"),
        ({"maxDurationMinutes": 2881}, "maxDurationMinutes", "invalid_timeout"),
        ({"warningThresholdMinutes": -0.001}, "warningThresholdMinutes", "invalid_timeout"),
        ({"warningThresholdMinutes": 1e308}, "warningThresholdMinutes", "invalid_timeout"),
        ({"idleAfterMinutes": 31}, "idleAfterMinutes", "invalid_timeout"),
        ({"autoArchiveDays": 0}, "autoArchiveDays", "invalid_policy"),
        ({"maxConcurrentPerUser": -1}, "maxConcurrentPerUser", "invalid_policy"),
        ({"context": {"tokenBudgetRatio": 2}}, "context.tokenBudgetRatio", "invalid_policy"),
        ({"timeoutMinutes": "1,000"}, "timeoutMinutes", "invalid_params"),
        ({"timeoutMinutes": "30"}, "timeoutMinutes", "invalid_params"),
        ({"timeoutMinutes": True}, "timeoutMinutes", "invalid_params"),
        ({"timeoutMinutes": [30]}, "timeoutMinutes", "invalid_params"),
        ({"autoRenew": "yes"}, "autoRenew", "invalid_params"),
        ({"maxConcurrentPerUser": 1.5}, "maxConcurrentPerUser", "invalid_params"),
    ],
)
async def test_values_that_are_none(still: RawClient, policy: Json, path: str, code: str) -> None:
    """Refused by an update, of the session and of the agent, with the place; on create moved into range if a number."""
    before = await create(still)
    for method, params in (("session.update", {"key": KEY}), ("agent.setPolicy", {"agent": "echo"})):
        error = await still.fail(method, **params, policy={"autoArchiveDays": 7, **policy})
        assert (error["data"]["code"], error["data"]["path"]) == (code, f"$.policy.{path}")
    answer = await status(still)
    assert answer["session"] == before
    assert set(answer["policySources"].values()) == {"gateway"}
    if code == "invalid_params":
        assert await code_of(still, "session.create", key="n", agent="echo", policy=policy) == (-32602, code)
    else:
        await still.call("session.delete", key=KEY)
        await create(still, "n", policy=policy)
        answer, name = await status(still, "n"), path.partition(".")[0]
        assert answer["policySources"][name] == "session, clamped"
        in_range = {name: answer["policy"][name]}
        answer = await still.call("agent.setPolicy", agent="echo", policy=in_range)
        assert answer["policy"].items() >= in_range.items()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_numbers_that_are_none(still: RawClient, number: str) -> None:
    """Not JSON, or more than a number holds: refused before anything is done, and the connection lives on."""
    await create(still)
    params = f'{{"key":"{KEY}","policy":{{"timeoutMinutes":{number}}}}}'
    await still.say(f'{{"jsonrpc":"2.0","id":99,"method":"session.update","params":{params}}}')
    error = (await still.hear())["error"]
    assert error["code"] in (-32700, -32602)
    assert (await status(still))["policySources"]["timeoutMinutes"] == "gateway"


async def test_thresholds_above_the_timeout(still: RawClient) -> None:
    """Never more than half of it, on create and update: a session is not born near its end."""
    session = await create(still, policy={"timeoutMinutes": 10, "warningThresholdMinutes": 60})
    assert not session["isNearExpiration"]
    assert (await status(still))["policy"]["warningThresholdMinutes"] == 5
    await update(still, policy={"timeoutMinutes": 6})
    assert (await status(still))["policy"]["warningThresholdMinutes"] == 3
    await update(still, policy={"timeoutMinutes": 1000, "maxDurationMinutes": 8})
    policy = (await status(still))["policy"]
    assert (policy["timeoutMinutes"], policy["warningThresholdMinutes"]) == (8, 4)


@pytest.mark.parametrize("verb", ["end", "pause", "resume", "archive", "restore"])
async def test_many_at_once(still: RawClient, verb: str) -> None:
    """500 keys, duplicates once, in their order; each has its own answer; neither, both or 501 is refused."""
    await create(still, "a")
    await create(still, "gone")
    await still.call("session.delete", key="gone")
    answer = await still.call(f"session.{verb}", keys=["a", "nobody", "a", "gone", "no key", *(["nobody"] * 495)])
    results = answer["results"]
    assert [item["key"] for item in results] == ["a", "nobody", "gone", "no key"]
    assert [item["ok"] for item in results] == [True, False, False, False]
    codes = [item["error"]["data"]["code"] for item in results[1:]]
    assert codes == ["session_not_found", "session_deleted", "invalid_key"]
    assert (answer["succeeded"], answer["failed"]) == (1, 3)
    for params in ({}, {"key": "a", "keys": ["a"]}, {"keys": []}, {"keys": ["a"] * 501}):
        assert await code_of(still, f"session.{verb}", **params) == (-32602, "invalid_params")


async def test_what_has_ended(still: RawClient) -> None:
    """Takes nothing that goes on with it, and says when and why; an admin's end of another's session says so."""
    await create(still, user="bob")
    ended = (await still.call("session.end", key=KEY))["session"]
    assert ended["endReason"] == "admin"
    calls = {"send": {"content": "x"}, "update": {"policy": {"timeoutMinutes": 60}}}
    for method in ("send", "renew", "heartbeat", "pause", "resume", "update"):
        error = await still.fail(f"session.{method}", key=KEY, **calls.get(method, {}))
        data = {"code": "session_ended", "retryable": False, "endedAt": ended["endedAt"], "reason": "admin"}
        assert (error["code"], error["data"]) == (410, data)
    assert (await status(still))["session"] == ended
