"""Everybody does everything in any order, while time passes: the gateway does what the model says.

For a long run with other dice each time: `MODEL_EXAMPLES=2000 python -m pytest tests/model`;
with `MODEL_SHRINK=1` a failure is made as short as it gets.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.model.client import Client
from tests.model.house import AGENTS, CLIENTS, House
from tests.model.session import DAY_MS, MINUTE_MS, Session
from tests.model.world import LOCAL, VERBS

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "120"))
STEPS = 50
# Shrinking takes minutes, and a story of 50 steps can be read: only by hand.
PHASES = (Phase.generate, Phase.shrink) if "MODEL_SHRINK" in os.environ else (Phase.generate,)
KEYS = ("a", "b", "c")
MANAGING = ("pause", "resume", "archive", "restore", "restore", "pause", "resume", "reset", "end")
Json = Any

keys = st.sampled_from(KEYS)
clients = st.integers(0, CLIENTS - 1)
picks = st.integers(0, 9)
places = st.integers(0, 19)
offsets = st.sampled_from((-1, 0, 0, 1))
jumps = st.sampled_from([1, 999, *(minutes * MINUTE_MS for minutes in (1, 2, 3, 4, 9, 26, 1500)), 31 * DAY_MS])
revisions = st.sampled_from((None, None, None, 0, 1, -1))
GOOD = {
    "timeoutMinutes": (5, 10, 30, 90, None),
    "maxDurationMinutes": (10, 45, 600, 600, None),
    "warningThresholdMinutes": (0, 1, 5, 30, None),
    "autoRenew": (True, False, None),
    "autoArchiveDays": (0.01, 1, 40, None),
    "maxConcurrentPerUser": (2, None),
}
BAD = (
    *({"timeoutMinutes": minutes} for minutes in (0, -1, 4.99, 1441, 1e308)),
    *({"maxDurationMinutes": minutes} for minutes in (0, 2881)),
    *({"warningThresholdMinutes": minutes} for minutes in (-1, 1441)),
    *({"idleAfterMinutes": minutes} for minutes in (0, 0.01)),
    *({"maxConcurrentPerUser": count} for count in (0, -3)),
    *({"autoArchiveDays": days} for days in (0, -1, 1e9)),
)
good_policies = st.fixed_dictionaries({}, optional={name: st.sampled_from(of) for name, of in GOOD.items()})
idle_policies = st.fixed_dictionaries(
    {"idleAfterMinutes": st.sampled_from((0.5, 2, 10, None))}, optional={"timeoutMinutes": st.sampled_from((5, 30))}
)
policies = st.one_of(good_policies, good_policies, idle_policies, st.sampled_from(BAD))
births = st.fixed_dictionaries(
    {"agent": st.sampled_from(AGENTS)},
    optional={
        "policy": policies,
        "title": st.just("born"),
        "pinned": st.booleans(),
        "user": st.sampled_from((LOCAL, "bob")),
        "labels": st.just({"a": "b"}),
        "metadata": st.just({"m": [1]}),
    },
)
changes = st.fixed_dictionaries(
    {},
    optional={
        "title": st.sampled_from(("hello", "mine", None)),
        "pinned": st.booleans(),
        "labels": st.sampled_from(({"a": "b"}, {"c": "d"}, None)),
        "metadata": st.sampled_from(({"m": 2}, {}, None)),
    },
)
Method = Callable[..., None]
acts: list[st.SearchStrategy[Json]] = []


def act(weight: int, **params: st.SearchStrategy[Any]) -> Callable[[Method], Method]:
    """Something that may happen, that often: in every example all of it, which rules of their own would not give."""

    def add(method: Method) -> Method:
        # One object each: what is the same counts once.
        acts.extend(st.tuples(st.just(method.__name__), st.fixed_dictionaries(params)) for _ in range(weight))
        return method

    return add


class Life(RuleBasedStateMachine):
    """What people, agents and time do."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.house = House()
        self.world = self.house.world
        self.run(self.house.open())
        self.calls = 0

    def teardown(self) -> None:
        try:
            self.run(self.house.close())
        finally:
            self.runner.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def client(self, number: int) -> Client:
        return self.house.client(number)

    def revision(self, key: str, offset: int | None) -> Json:
        """`ifRevision`, right or not."""
        if offset is None or key not in self.world.sessions:
            return {}
        return {"ifRevision": max(self.world.sessions[key].revision + offset, 0)}

    def key(self, place: int) -> str:
        """Mostly of a session that goes on, sometimes of one that has ended, of none or of one that was deleted."""
        if place == 18:
            return "nobody"
        if place == 19:
            return KEYS[self.calls % len(KEYS)]
        keys = list(self.world.open) if place < 14 else [session.key for session in self.world.living]
        return keys[place % len(keys)] if keys else KEYS[0]

    @initialize()
    def begin(self) -> None:
        for key, agent in zip(KEYS, (*AGENTS, AGENTS[0]), strict=True):
            self.create(0, key, {"agent": agent}, subscribe=True)

    @rule(act=st.deferred(lambda: st.one_of(acts)))
    def happen(self, act: tuple[str, Json]) -> None:
        name, params = act
        getattr(self, name)(**params)

    # People.

    def create(self, who: int, key: str, born: Json, *, subscribe: bool) -> None:
        client = self.client(who)

        async def create() -> None:
            answer = await self.house.call(
                client,
                "session.create",
                lambda _: self.world.create(key, **born),
                key=key,
                subscribe=subscribe,
                **born,
            )
            if "result" in answer:
                result = answer["result"]
                await self.house.born(key, client, result.get("subscription"), result["session"])

        self.run(create())

    @act(3, who=clients, pick=picks, born=births, subscribe=st.booleans())
    def create_anew(self, who: int, pick: int, born: Json, *, subscribe: bool) -> None:
        """Where nothing goes on any more another session is begun; a key may be taken, too."""
        ended = [key for key in KEYS if key not in self.world.open] if pick < 9 else KEYS
        if not ended:
            return
        key = ended[pick % len(ended)]
        if pick < 9:
            self.run(self.house.one(self.client(who), "delete", key, {}))
        self.create(who, key, born, subscribe=subscribe)

    @act(
        4,
        who=clients,
        place=places,
        content=st.sampled_from(("hello", "what now")),
        busy=st.sampled_from(("enqueue", "enqueue", "reject", "interrupt")),
    )
    def send(self, who: int, place: int, content: str, busy: str) -> None:
        key = self.key(place)
        self.run(
            self.house.call(
                self.client(who),
                "session.send",
                lambda answer: self.world.send(key, content, answer.get("turn", ""), busy),
                hastily=True,
                key=key,
                content=content,
                ifBusy=busy,
            )
        )

    @act(4, who=clients, place=places)
    def say_hello(self, who: int, place: int) -> None:
        self.send(who, place, "hello", "enqueue")

    @act(1, who=clients, key=keys, born=births)
    def send_to_a_new_one(self, who: int, key: str, born: Json) -> None:
        if key in self.world.open:
            return

        async def send() -> None:
            answer = await self.house.call(
                self.client(who),
                "session.send",
                lambda answer: self.world.send(key, "hi", answer.get("turn", ""), create=born),
                key=key,
                content="hi",
                create=born,
            )
            if "result" in answer:
                await self.house.born(key, self.client(who), None, None)

        self.run(send())

    @act(2, who=clients, place=places, pick=picks)
    def stop(self, who: int, place: int, pick: int) -> None:
        key = self.key(place)
        session = self.world.sessions.get(key)
        turns = [None, session.turn, *session.queue, "t_none"] if session is not None else [None]
        turn = turns[pick % len(turns)]
        params = {} if turn is None else {"turn": turn}
        self.run(
            self.house.call(
                self.client(who),
                "session.stop",
                lambda _: self.world.stop(key, turn),
                hastily=True,
                key=key,
                **params,
            )
        )

    @act(4, who=clients, place=places, method=st.sampled_from(("renew", "heartbeat")))
    def touch(self, who: int, place: int, method: str) -> None:
        key, expected = self.key(place), getattr(self.world, method)
        self.run(self.house.call(self.client(who), f"session.{method}", lambda _: expected(key), hastily=True, key=key))

    @act(2, who=clients, place=places, change=changes, revision=revisions)
    def update(self, who: int, place: int, change: Json, revision: int | None) -> None:
        key = self.key(place)
        asked = change | self.revision(key, revision)
        self.run(
            self.house.call(
                self.client(who),
                "session.update",
                lambda _: self.world.update(key, **asked),
                hastily=True,
                key=key,
                **asked,
            )
        )

    @act(3, who=clients, place=places, policy=st.one_of(policies, st.none()))
    def update_policy(self, who: int, place: int, policy: Json) -> None:
        self.update(who, place, {"policy": policy}, None)

    @act(2, who=clients, agent=st.sampled_from(AGENTS), policy=st.one_of(policies, st.none()))
    def set_policy(self, who: int, agent: str, policy: Json) -> None:
        async def set_policy() -> None:
            await self.house.call(
                self.client(who),
                "agent.setPolicy",
                lambda _: self.world.set_policy(agent, policy),
                agent=agent,
                policy=policy,
            )
            await self.house.retimed()

        self.run(set_policy())

    @act(6, who=clients, verb=st.sampled_from(MANAGING), place=places, revision=revisions)
    def manage(self, who: int, verb: str, place: int, revision: int | None) -> None:
        key = self.key(place)
        if_revision = self.revision(key, revision) if verb == "reset" else {}
        self.run(self.house.one(self.client(who), verb, key, if_revision))

    @act(1, who=clients, place=places, revision=revisions)
    def delete(self, who: int, place: int, revision: int | None) -> None:
        key = self.key(place)
        if len(self.world.living) == len(KEYS):
            self.run(self.house.one(self.client(who), "delete", key, self.revision(key, revision)))

    @act(
        2,
        who=clients,
        verb=st.sampled_from((*MANAGING, *MANAGING, *VERBS)),
        many=st.lists(st.sampled_from((*KEYS, "nobody")), min_size=1, max_size=5),
    )
    def manage_many(self, who: int, verb: str, many: list[str]) -> None:
        self.run(self.house.many(self.client(who), verb, many, {}))

    # Reading and following.

    @act(2, who=clients, place=places, what=st.sampled_from(("status", "history")))
    def read(self, who: int, place: int, what: str) -> None:
        key, expected = self.key(place), getattr(self.world, what)
        self.run(self.house.call(self.client(who), f"session.{what}", lambda _: expected(key), hastily=True, key=key))

    @act(2, who=clients, view=st.sampled_from(("active", "active", "archived", "all", "")))
    def read_all(self, who: int, view: str) -> None:
        """A view of the list, or how many of which kind there are."""
        client, world = self.client(who), self.world
        if view:
            look = self.house.call(client, "session.list", lambda _: world.list(view, with_empty=False), view=view)
        else:
            look = self.house.call(client, "gateway.health", lambda _: world.health())
        self.run(look)

    @act(2, who=st.integers(1, CLIENTS - 1), place=places)
    def follow_or_not(self, who: int, place: int) -> None:
        if (client := self.client(who)) is not self.house.observer:
            self.run(self.house.follow_or_not(client, self.key(place)))

    @act(1, who=st.integers(1, CLIENTS - 1))
    def come_or_go(self, who: int) -> None:
        client = self.house.clients[who]
        self.run(self.house.go(client) if client.is_here else self.house.come(client))

    # Agents.

    @act(6, pick=picks, order=st.sampled_from(("done", "done", "done", "say", "work", "fail")))
    def let_agent(self, pick: int, order: str) -> None:
        if turning := [session for session in self.world.living if session.turn is not None]:
            self.run(self._let_agent(turning[pick % len(turning)], order))

    async def _let_agent(self, session: Session, order: str) -> None:
        await self.house.settle()
        self.calls += 1
        self.house.tell(session, order, f"w{self.calls} ")
        match order:
            case "say":
                session.said += f"w{self.calls} "
                await self.house.said(session.key, session.said)
            case "work":
                session.work(f"w{self.calls} ")
            case "done":
                session.end_turn("turn.completed", "stop")
            case "fail":
                session.end_turn("turn.failed", "failed", code="agent_failed")
        self.world.settle()
        await self.house.settle()

    # Time.

    @act(3, pick=st.integers(0, 3), offset=offsets, is_awaited=st.booleans())
    def to_a_moment(self, pick: int, offset: int, *, is_awaited: bool) -> None:
        """To just before, to or just past a moment at which something happens."""
        moments = [at + offset for at in self.world.moments() if at + offset > self.world.now]
        if moments:
            self._pass(moments[min(pick, len(moments) - 1)] - self.world.now, is_awaited=is_awaited)

    @act(4, is_awaited=st.booleans())
    def to_the_next_moment(self, *, is_awaited: bool) -> None:
        self.to_a_moment(0, 0, is_awaited=is_awaited)

    @act(2, ms=jumps, is_awaited=st.booleans())
    def later(self, ms: int, *, is_awaited: bool) -> None:
        self._pass(ms, is_awaited=is_awaited)

    def _pass(self, ms: int, *, is_awaited: bool) -> None:
        self.run(self._pass_and_look(ms) if is_awaited else self._just_pass(ms))

    async def _just_pass(self, ms: int) -> None:
        """Whatever comes next races with the timers."""
        await self.house.settle()
        self.house.pass_time(ms)

    async def _pass_and_look(self, ms: int) -> None:
        await self._just_pass(ms)
        await self.house.look(self.house.observer)

    @act(1, who=clients)
    def look(self, who: int) -> None:
        self.run(self.house.look(self.client(who)))

    @act(1, ms=st.sampled_from((0, 0, 7 * MINUTE_MS, 55 * MINUTE_MS, 32 * DAY_MS)))
    def restart(self, ms: int) -> None:
        self.run(self.house.restart(ms))


@pytest.mark.timeout(0 if "MODEL_EXAMPLES" in os.environ else 300)
def test_the_whole_life() -> None:
    """Every answer and every event is foreseen; who follows, drops and resumes has the gateway's state."""
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize="MODEL_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
            phases=PHASES,
        ),
    )
