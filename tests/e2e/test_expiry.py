"""How long a session lasts, and how many one may have."""

from pathlib import Path

from tests.e2e.calls import KEY, code_of, create, log_of, say, status, update, words
from tests.e2e.inside import client_of, gateway_of
from tests.fakes import FakeClock


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
        assert (await status(client))["session"]["state"] == "idle"
        clock.advance(ms=1)
        session = (await status(client))["session"]
        assert (session["state"], session["endReason"], session["isNearExpiration"]) == ("ended", "idle_timeout", False)
        error = await client.fail("session.send", key=KEY, content="still there?")
        assert (error["code"], error["data"]["code"]) == (410, "session_expired")
        assert (error["data"]["reason"], error["data"]["expiresAt"]) == ("idle_timeout", session["endedAt"])
        last = (await log_of(client))[-1]
        assert (last["type"], last["from"], last["to"], last["reason"]) == (
            "session.state",
            "idle",
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
        await words(client)
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
