"""Everybody does everything at once: whoever follows ends with what is in the log, and every turn has one end."""

import asyncio
import random
from pathlib import Path

import pytest

from gateway.agents.base import AgentFailure, Finish, Output, Turn
from tests.e2e.calls import log_of
from tests.e2e.inside import client_of, gateway_of
from tests.e2e.scripted import ENDS
from tests.fakes import ScriptedAgent
from tests.raw import Json, RawClient, said, text_of

KEYS = ("a", "b")
CALLS = 60


class Moody:
    """Says, thinks, calls, waits and fails as the dice fall."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    async def __call__(self, turn: Turn, out: Output) -> Finish:
        await out.generation(provider="p", model="m")
        for n in range(self.chance.randrange(8)):
            match self.chance.choice(["say", "say", "think", "call", "wait", "fail" if n > 4 else "say"]):
                case "say":
                    out.text(self.chance.choice(["word ", "é", "👩‍👩‍👧 ", "x" * 2000]))
                case "think":
                    out.reasoning("hm")
                case "call":
                    await out.tool_call(f"c{n}", "look", {"n": n})
                    await out.tool_result(f"c{n}", [n], duration_ms=0)
                case "wait":
                    await asyncio.sleep(self.chance.random() / 100)
                case "fail":
                    raise AgentFailure("agent_failed", "no luck")
            await asyncio.sleep(0)
        return "stop"


class Caller:
    """Asks for this and that without awaiting answers, and follows both sessions from their beginning."""

    def __init__(self, client: RawClient, chance: random.Random) -> None:
        self.client, self.chance = client, chance
        self.followed: dict[str, str] = {}  # subscriptions from the beginning, by key
        self.subscriptions: dict[str, tuple[str, int]] = {}  # all of them: their key and where they began
        self.turns: set[str] = set()
        self._asked: dict[int, Json] = {}

    async def follow(self) -> None:
        for key in KEYS:
            answer = await self.client.call("session.subscribe", key=key, since={"seq": 0})
            self.followed[key] = answer["subscription"]
            self.subscriptions[answer["subscription"]] = key, 0

    async def storm(self) -> None:
        for n in range(CALLS):
            method, params = self.chance.choice(
                [
                    *[("session.send", {"content": f"message {n}"})] * 5,
                    ("session.send", {"content": "now", "ifBusy": "interrupt"}),
                    ("session.send", {"content": "or not", "ifBusy": "reject"}),
                    *[("session.stop", {})] * 3,
                    ("session.reset", {}),
                    ("session.update", {"title": f"title {n}"}),
                    ("session.subscribe", {"since": {"seq": self.chance.randrange(9)}}),
                    ("session.history", {"limit": 5}),
                ]
            )
            params |= {"key": self.chance.choice(KEYS)}
            self._asked[await self.client.ask(method, **params)] = params
            if self.chance.random() < 0.3:
                await asyncio.sleep(self.chance.random() / 50)
        while self._asked:
            answer = await self.client.hear_until(lambda message: message.get("id") in self._asked)
            self._note(answer, self._asked.pop(answer["id"]))

    def _note(self, answer: Json, params: Json) -> None:
        if "error" in answer:
            assert answer["error"]["data"]["code"] in ("turn_running", "queue_full", "overloaded"), answer
        elif "sessionStatus" in answer["result"]:
            self.turns.add(answer["result"]["turn"])
        elif "replay" in answer["result"]:
            result = answer["result"]
            began = params["since"]["seq"] if result["replay"]["complete"] else result["head"]
            self.subscriptions[result["subscription"]] = params["key"], began

    async def check(self, heads: dict[str, int], logs: dict[str, list[Json]]) -> None:
        """Every subscription is one chain to the head; those from the beginning have heard everything."""
        for id, (key, began) in self.subscriptions.items():
            if began < heads[key]:
                await self.client.up_to(id, heads[key])
        await self.client.silence()
        for id, (_, began) in self.subscriptions.items():
            self.client.check_chain(id, began)
        for key, id in self.followed.items():
            events = self.client.events(subscription=id)
            check_turns(events, self.client.deltas(subscription=id))
            assert events[-len(logs[key]) :] == logs[key]


async def calm(client: RawClient) -> dict[str, int]:
    """Wait until nothing runs or waits; the head of each session."""
    heads = {}
    async with asyncio.timeout(10):
        for key in KEYS:
            while "turn" in (session := (await client.call("session.status", key=key))["session"]) or session["queued"]:
                await asyncio.sleep(0.01)
            heads[key] = session["head"]
    return heads


def check_turns(events: list[Json], deltas: list[Json]) -> None:
    """Of each turn that was followed from its beginning, the text is the messages, and it ended once."""
    for start in (event for event in events if event["type"] == "turn.started"):
        mine = [event for event in events if event.get("turn") == start["turn"]]
        assert len([event for event in mine if event["type"] in ENDS]) == 1, mine
        assert text_of([delta for delta in deltas if delta["turn"] == start["turn"]]) == said(mine)


@pytest.mark.parametrize("seed", range(4))
async def test_a_storm(tmp_path: Path, seed: int) -> None:
    """Three clients, two sessions, a moody agent."""
    async with (
        gateway_of(tmp_path, ScriptedAgent("moody", Moody(seed))) as gateway,
        client_of(gateway) as one,
        client_of(gateway) as two,
        client_of(gateway) as three,
    ):
        callers = [Caller(client, random.Random(f"{seed} {n}")) for n, client in enumerate((one, two, three))]
        for key in KEYS:
            await one.call("session.create", key=key, agent="moody")
        for caller in callers:
            await caller.follow()
        await asyncio.gather(*(caller.storm() for caller in callers))
        heads = await calm(one)
        logs = {key: await log_of(one, key) for key in KEYS}
        for caller in callers:
            await caller.check(heads, logs)
        begun = {event["turn"] for event in one.events(type="message.user")}
        assert begun == set().union(*(caller.turns for caller in callers))
