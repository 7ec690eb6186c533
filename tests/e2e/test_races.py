"""Two who come at once: the session's lane decides, whoever is first in the line, and the other finds what is so.

The test is in the lane itself until both wait in it, so each order is tried for sure.
"""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from gateway.app import Gateway
from gateway.clock import parse_instant
from tests.e2e.calls import KEY, code_of, log_of, status
from tests.e2e.inside import client_of, gateway_of
from tests.e2e.scripted import ENDS
from tests.fakes import FakeClock, ScriptedAgent
from tests.model.puppet import Puppet
from tests.raw import Json, RawClient

DAY = 24 * 60
AFTER_THE_END = {"session.updated", "reset"}
Comes = Callable[[], Awaitable[None]]
both_orders = pytest.mark.parametrize("is_turned", [False, True], ids=["one, other", "other, one"])


class Scene:
    """A gateway with a puppet, somebody who watches KEY from its birth, and two others."""

    def __init__(self, gateway: Gateway, clock: FakeClock, puppet: Puppet, clients: list[RawClient]) -> None:
        self.gateway, self.clock, self.puppet = gateway, clock, puppet
        self.watcher, self.one, self.other = clients
        self.answers: dict[str, Json] = {}
        self._asked: list[tuple[str, RawClient, int]] = []

    def asks(self, client: RawClient, method: str, **params: Any) -> Comes:
        """Who calls the gateway; the answer will be in `answers`."""

        async def come() -> None:
            params.setdefault("key", KEY)
            self._asked.append((method, client, await client.ask(f"session.{method}", **params)))

        return come

    def agent(self, turn: str, order: str = "done") -> Comes:
        """The agent, which comes when its turn ends by itself."""

        async def come() -> None:
            self.puppet.tell(turn, order)

        return come

    def timer(self, **passed: float) -> Comes:
        """The timer, which comes when that has passed."""

        async def come() -> None:
            self.clock.advance(**passed)  # type: ignore[arg-type]

        return come

    async def race(self, one: Comes, other: Comes, is_turned: bool) -> None:
        """Let both into the line in this order, then see what they got."""
        async with asyncio.timeout(5), self.gateway.services.lanes.enter(("default", KEY)) as lane:
            for place, come in enumerate((other, one) if is_turned else (one, other), 1):
                await come()
                while len(lane._lock._waiters or ()) < place:  # the line has no public face
                    await asyncio.sleep(0.001)
        for method, client, id in self._asked:
            answer = await client.answer(id)
            self.answers[method] = answer.get("result") or answer["error"]["data"]["code"]
        self._asked.clear()

    async def log(self) -> list[Json]:
        """All events, once nothing more can come; they are in order and each turn has one end."""
        head = (await status(self.watcher))["session"]["head"]
        while not (events := self.watcher.events()) or events[-1]["seq"] < head:
            await self.watcher.hear()
        await self.watcher.silence()
        check(self.watcher.events())
        return self.watcher.events()

    async def types(self) -> list[str]:
        """The same, in short."""
        return [event["type"] for event in await self.log()]


def check(events: list[Json]) -> None:
    """No gap, one end for each turn, one end of the session, and nothing goes on after it."""
    seqs = [event["seq"] for event in events]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    ended = [event["turn"] for event in events if event["type"] in ENDS]
    assert len(set(ended)) == len(ended)
    assert set(ended) >= {event["turn"] for event in events if event["type"] == "turn.started"}
    over = [place for place, event in enumerate(events) if event.get("to") == "ended"]
    assert len(over) <= 1
    assert {event["type"] for event in events[over[0] + 1 :]} <= AFTER_THE_END if over else True


@asynccontextmanager
async def scene_in(folder: Path) -> AsyncIterator[Scene]:
    """Everybody is there, the session is born."""
    clock, puppet = FakeClock(), Puppet()
    async with AsyncExitStack() as stack:
        agent = ScriptedAgent("puppet", puppet)
        gateway = await stack.enter_async_context(gateway_of(folder, agent, clock=clock))
        clients = [await stack.enter_async_context(client_of(gateway)) for _ in range(3)]
        await clients[0].call("session.create", key=KEY, agent="puppet", subscribe=True)
        yield Scene(gateway, clock, puppet, clients)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Everybody is there, the session is born."""
    async with scene_in(tmp_path) as made:
        yield made


async def turn_of(scene: Scene) -> str:
    """A turn that runs and has said something."""
    turn = (await scene.one.call("session.send", key=KEY, content="go"))["turn"]
    scene.puppet.tell(turn, "say", "so far")
    while not scene.watcher.deltas(turn=turn):
        await scene.watcher.hear()
    return turn


@both_orders
async def test_transfer_and_stop(scene: Scene, is_turned: bool) -> None:
    """Nothing is handed over while a turn runs; once it was stopped, all of it is, with what it had said."""
    turn = await turn_of(scene)
    await scene.race(scene.asks(scene.one, "transfer", agent="echo"), scene.asks(scene.other, "stop"), is_turned)
    assert scene.answers["stop"] == {"stopped": True, "turn": turn}
    if not is_turned:
        assert scene.answers["transfer"] == "turn_running"
        assert "session.transferred" not in await scene.types()
        return
    assert (await scene.types())[-3:] == ["turn.stopped", "session.transferred", "session.state"]
    log = await log_of(scene.one, scene.answers["transfer"]["target"]["key"])
    assert [event["content"] for event in log if event["type"] == "message.assistant"] == ["so far"]


@both_orders
async def test_transfer_and_the_end_of_a_turn(scene: Scene, is_turned: bool) -> None:
    """The same for a turn that ends by itself: whoever is first in the line."""
    turn = await turn_of(scene)
    await scene.race(scene.asks(scene.one, "transfer", agent="echo"), scene.agent(turn), is_turned)
    is_handed_over = "session.transferred" in await scene.types()
    assert is_handed_over is is_turned
    assert (scene.answers["transfer"] == "turn_running") is not is_handed_over


@both_orders
async def test_expire_and_renew(scene: Scene, is_turned: bool) -> None:
    """A renewal that is decided at the end is too late, wherever in the line it was."""
    scene.clock.advance(minutes=30, ms=-1)
    await scene.watcher.seen("session.expiring")
    await scene.race(scene.asks(scene.one, "renew"), scene.timer(ms=1), is_turned)
    assert scene.answers["renew"] == "session_expired"
    log = await scene.log()
    assert (log[-1]["reason"], "session.renewed" in await scene.types()) == ("idle_timeout", False)


async def test_renew_and_the_old_end(scene: Scene) -> None:
    """A millisecond before the end it holds; the timer of the old end finds nothing to do."""
    scene.clock.advance(minutes=30, ms=-1)
    await scene.watcher.seen("session.expiring")
    asked = await scene.one.ask("session.renew", key=KEY)
    end = parse_instant((await scene.one.answer(asked))["result"]["session"]["expiresAt"])
    await scene.one.call("session.create", key="other", agent="puppet", subscribe=True)
    await scene.one.call("session.update", key="other", policy={"idleAfterMinutes": 1 / 60})
    scene.clock.advance(seconds=1)
    await scene.one.seen("session.state", to="idle")
    assert (await status(scene.one))["session"]["timeRemainingMs"] == end - scene.clock.now_ms()
    assert (await scene.types())[-2:] == ["session.state", "session.renewed"]


@both_orders
async def test_stop_and_the_turns_own_end(scene: Scene, is_turned: bool) -> None:
    """The first decides how the turn ended; a stop that comes second stopped nothing."""
    turn = await turn_of(scene)
    await scene.race(scene.asks(scene.one, "stop", turn=turn), scene.agent(turn), is_turned)
    assert scene.answers["stop"] == ({"stopped": False} if is_turned else {"stopped": True, "turn": turn})
    assert (await scene.types())[-1] == ("turn.completed" if is_turned else "turn.stopped")


@both_orders
async def test_pause_and_send(scene: Scene, is_turned: bool) -> None:
    """The pause refuses a message that comes second, and stops the turn of one that came first."""
    await scene.race(scene.asks(scene.one, "pause"), scene.asks(scene.other, "send", content="hi"), is_turned)
    assert scene.answers["pause"]["session"]["state"] == "paused"
    if is_turned:
        assert scene.answers["send"]["state"] == "running"
        assert (await scene.types())[-3:] == ["message.assistant", "turn.stopped", "session.state"]
    else:
        assert scene.answers["send"] == "session_paused"
        assert await scene.types() == ["session.state"]


@both_orders
async def test_end_and_send(scene: Scene, is_turned: bool) -> None:
    """The end refuses a message that comes second, and stops the turn of one that came first."""
    await scene.race(scene.asks(scene.one, "end"), scene.asks(scene.other, "send", content="hi"), is_turned)
    assert scene.answers["end"]["session"]["state"] == "ended"
    if is_turned:
        assert scene.answers["send"]["state"] == "running"
        assert (await scene.types())[-3:] == ["message.assistant", "turn.stopped", "session.state"]
    else:
        assert scene.answers["send"] == "session_ended"
        assert await scene.types() == ["session.state"]


@both_orders
async def test_end_and_the_turns_own_end(scene: Scene, is_turned: bool) -> None:
    """The turn ends once, and before its session."""
    turn = await turn_of(scene)
    await scene.race(scene.asks(scene.one, "end"), scene.agent(turn), is_turned)
    end = "turn.completed" if is_turned else "turn.stopped"
    assert (await scene.types())[-3:] == ["message.assistant", end, "session.state"]


@both_orders
async def test_the_longest_duration_and_the_turns_own_end(scene: Scene, is_turned: bool) -> None:
    """The turn ends once, with what it said; the session ends in either case."""
    await scene.one.call("session.update", key=KEY, policy={"maxDurationMinutes": 20})
    turn = await turn_of(scene)
    await scene.race(scene.timer(minutes=20), scene.agent(turn), is_turned)
    await scene.watcher.seen("session.state", to="ended", reason="max_duration")
    assert (await scene.types())[-2] == ("turn.completed" if is_turned else "turn.stopped")
    assert scene.watcher.events(type="message.assistant")[0]["content"] == "so far"


@both_orders
async def test_reset_and_send(scene: Scene, is_turned: bool) -> None:
    """A message that came first is cleared with the rest, one that comes second is the first of the new history."""
    await turn_of(scene)
    send = scene.asks(scene.other, "send", content="hi", ifBusy="interrupt")
    await scene.race(scene.asks(scene.one, "reset"), send, is_turned)
    assert scene.answers["reset"]["previousMessages"] == (4 if is_turned else 2)
    left = [event["type"] for event in await log_of(scene.one)]
    assert left == (["reset"] if is_turned else ["reset", "message.user", "turn.started"])
    await scene.one.call("session.stop", key=KEY)
    await scene.log()


@both_orders
async def test_reset_and_the_turns_own_end(scene: Scene, is_turned: bool) -> None:
    """Nothing of the turn is written behind the reset."""
    turn = await turn_of(scene)
    await scene.race(scene.asks(scene.one, "reset"), scene.agent(turn), is_turned)
    assert scene.answers["reset"]["previousMessages"] == 2
    assert [event["type"] for event in await log_of(scene.one)] == ["reset"]
    await scene.log()


@pytest.mark.parametrize("minutes", [30 * DAY, 30 * DAY + 7])
@both_orders
async def test_archive_and_auto_archive(scene: Scene, is_turned: bool, minutes: int) -> None:
    """It is archived once, and both find it so; who restores it then has it for good."""
    await scene.one.call("session.end", key=KEY)
    await scene.race(scene.asks(scene.one, "archive"), scene.timer(minutes=minutes), is_turned)
    assert scene.answers["archive"]["session"]["archivedAt"]
    assert await scene.types() == ["session.state", "session.updated"]
    await scene.one.call("session.restore", key=KEY)
    scene.clock.advance(minutes=DAY)
    assert "archivedAt" not in (await status(scene.one))["session"]


@both_orders
async def test_restore_and_auto_archive(scene: Scene, is_turned: bool) -> None:
    """The moment passes before the restore either way: put away, taken out, and not put away again."""
    await scene.one.call("session.end", key=KEY)
    await scene.race(scene.asks(scene.one, "restore"), scene.timer(minutes=30 * DAY), is_turned)
    assert scene.answers["restore"]["session"].get("archivedAt") is None
    assert await scene.types() == ["session.state", "session.updated", "session.updated"]


@pytest.mark.parametrize("pinned", [True, False])
@both_orders
async def test_pin_and_auto_archive(scene: Scene, is_turned: bool, pinned: bool) -> None:
    """Pinned in time it stays; once the moment has passed it is archived, and a pin comes too late."""
    await scene.one.call("session.end", key=KEY)
    scene.clock.advance(minutes=30 * DAY, ms=-1)
    if pinned:
        await scene.one.call("session.update", key=KEY, pinned=True)
        scene.clock.advance(ms=1)
        assert "archivedAt" not in (await status(scene.one))["session"]
    else:
        await scene.race(scene.asks(scene.one, "update", pinned=True), scene.timer(ms=1), is_turned)
        assert scene.answers["update"] == "session_archived"


@both_orders
async def test_delete_and_create(scene: Scene, is_turned: bool) -> None:
    """The key is free once the session is gone, and not before; one is there afterwards or none."""
    await scene.race(
        scene.asks(scene.one, "delete"), scene.asks(scene.other, "create", agent="puppet", title="new"), is_turned
    )
    assert scene.answers["delete"] == {"deleted": True}
    if is_turned:
        assert scene.answers["create"] == "session_exists"
        assert await code_of(scene.one, "session.status", key=KEY) == (410, "session_deleted")
    else:
        assert scene.answers["create"]["session"]["head"] == 1
        assert (await status(scene.one))["session"]["title"] == "new"
    closed = await scene.watcher.hear_until(lambda message: message.get("method") == "subscription.closed")
    assert closed["params"]["reason"] == "deleted"


@pytest.mark.parametrize("order", ["done", "fail", "work"])
@both_orders
async def test_delete_and_the_turn(tmp_path: Path, is_turned: bool, order: str) -> None:
    """Whatever the agent still does: nothing of it comes back, to nobody, not after a restart, not on the disk."""
    async with scene_in(tmp_path) as scene:
        turn = await turn_of(scene)
        await scene.race(scene.asks(scene.one, "delete"), scene.agent(turn, order), is_turned)
        assert scene.answers["delete"] == {"deleted": True}
        scene.puppet.tell(turn, "say", "too late")
        scene.puppet.tell(turn, "done")
        closed = await scene.watcher.hear_until(lambda message: message.get("method") == "subscription.closed")
        check(scene.watcher.events())
        assert closed["params"]["lastSeq"] == scene.watcher.events()[-1]["seq"]
        assert (await scene.one.call("gateway.health"))["turnsRunning"] == 0
        await scene.watcher.silence()
    async with scene_in_again(tmp_path) as client:
        for method in ("status", "history", "renew", "subscribe"):
            assert await code_of(client, f"session.{method}", key=KEY) == (410, "session_deleted")
        assert (await client.call("session.list", view="all"))["total"] == 0
    with closing(sqlite3.connect(tmp_path / "gateway.db")) as store:
        assert store.execute("SELECT COUNT(*) FROM events WHERE body IS NOT NULL").fetchone() == (0,)


@asynccontextmanager
async def scene_in_again(folder: Path) -> AsyncIterator[RawClient]:
    """After a restart."""
    agent = ScriptedAgent("puppet", Puppet())
    async with gateway_of(folder, agent, clock=FakeClock()) as gateway, client_of(gateway) as client:
        yield client


METHODS: tuple[tuple[str, Json], ...] = (
    *[("send", {"content": "hi"})] * 4,
    ("send", {"content": "now", "ifBusy": "interrupt"}),
    *[("stop", {})] * 2,
    *[("pause", {}), ("resume", {})] * 3,
    *[("renew", {}), ("heartbeat", {}), ("archive", {}), ("restore", {}), ("restore", {})],
    ("reset", {}),
    ("update", {"policy": {"timeoutMinutes": 10, "maxDurationMinutes": 30}}),
    ("update", {"policy": {"timeoutMinutes": 60, "autoRenew": False}}),
)


async def jostle(client: RawClient, chance: random.Random, clock: FakeClock, puppet: Puppet) -> None:
    """Call this and that in one breath; let time pass, and agents finish."""
    for _ in range(10):
        asked = []
        for _ in range(4):
            method, params = chance.choice(METHODS)
            asked.append(await client.ask(f"session.{method}", key=KEY, **params))
        clock.advance(seconds=chance.choice((0, 0, 1, 30)))
        while asked:
            answer = await client.hear_until(lambda message: message.get("id") in asked)  # noqa: B023
            asked.remove(answer["id"])
            assert "result" in answer or answer["error"]["code"] in (409, 410, 422, 429), answer
            if "turn" in (result := answer.get("result", {})) and chance.random() < 0.5:
                puppet.tell(result["turn"], chance.choice(("done", "say", "work", "fail")), "word")


@pytest.mark.parametrize("end", ["by hand", "by time"])
@pytest.mark.parametrize("seed", range(3))
async def test_everybody_at_once(scene: Scene, seed: int, end: str) -> None:
    """Eight people and the clock at one session: in the end it has ended once, and its log says one thing."""
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(client_of(scene.gateway)) for _ in range(8)]
        chances = [random.Random(f"{seed} {n}") for n in range(8)]
        await asyncio.gather(*(jostle(*pair, scene.clock, scene.puppet) for pair in zip(crowd, chances, strict=True)))
        await scene.one.call("session.restore", key=KEY)
        if end == "by time":
            scene.clock.advance(minutes=DAY)
        answers = await asyncio.gather(*(client.call("session.end", key=KEY) for client in crowd))
    assert {answer["session"]["state"] for answer in answers} == {"ended"}
    log = await scene.log()
    assert sum(event.get("to") == "ended" for event in log) == 1
    assert {event["seq"]: event for event in log}.items() >= {e["seq"]: e for e in await log_of(scene.one)}.items()
