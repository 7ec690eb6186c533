"""Sessions of several users in a store that takes its time, and clients that watch lists of them."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from gateway.hub.hub import Hub, Topic
from gateway.sessions import lifecycle
from gateway.sessions.cursors import Cursors
from gateway.sessions.directory import Directory, Visibility
from gateway.sessions.journal import Journal
from gateway.sessions.lanes import Lane, Lanes
from gateway.sessions.policy import effective
from gateway.sessions.state import Details, SessionState
from gateway.sessions.summary import summary
from gateway.sessions.watches import Watch
from gateway.sessions.watching import Watching
from gateway.settings import AgentPolicySettings, PolicySettings
from gateway.storage.base import Commit, SessionPage, SessionQuery, StoredSession
from rpc_schema import events as ev
from rpc_schema.directory import Filter, ListParams
from rpc_schema.types import Session
from tests.fakes import FakeClock, MemoryStore
from tests.unit.sessions.logs import born, created, started, user

POLICY = effective(PolicySettings(), AgentPolicySettings()).policy
ADMIN = Visibility(tenant="default", user=None)
TENANTS, USERS, AGENTS, CHANNELS = ("default", "other"), ("ann", "bob"), ("echo", "coder"), ("api", "web")
Row = dict[str, Any]


class SlowStore(MemoryStore):
    """What it reads may be old, what it has written may be told late."""

    def __init__(self, chance: random.Random | None = None) -> None:
        super().__init__()
        self.chance = chance
        self.reads = 0

    def commit(self, commit: Commit) -> "asyncio.Future[None]":
        done = super().commit(commit)
        return asyncio.ensure_future(self._late(done)) if self.chance is not None else done

    async def sessions(self, query: SessionQuery) -> SessionPage:
        await self.pause()
        page = await super().sessions(query)
        await self.pause()
        return page

    async def empty(self, tenant: str, user: str, limit: int) -> list[StoredSession]:
        self.reads += 1
        await self.pause()
        found = await super().empty(tenant, user, limit)
        await self.pause()
        return found

    async def pause(self) -> None:
        if self.chance is not None:
            for _ in range(self.chance.choice([0, 0, 1, 3, 9])):
                await asyncio.sleep(0)

    async def _late(self, done: "asyncio.Future[None]") -> None:
        await done
        await self.pause()


class Names:
    """A roster in which bob owns an agent."""

    def __init__(self) -> None:
        self.owner = {"coder": "bob"}
        self.names = {"echo": "Echo", "coder": "The Coder"}

    def ids(self) -> list[str]:
        return sorted(self.names)

    def name(self, id: str) -> str:
        return self.names[id]

    def owned_by(self, user: str) -> list[str]:
        return [agent for agent, owner in self.owner.items() if owner == user]


class Client:
    """A sink, and a table patched by what comes through it, as a stranger would keep one."""

    def __init__(self, tenant: str = "default") -> None:
        self.tenant = tenant
        self.heard: list[dict[str, Any]] = []
        self.table: dict[Topic, Row] = {}
        self.held: dict[Topic, list[Callable[[], None]]] = {}
        self.is_behind = False
        self._has_taken = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    def notify(self, topic: Topic | None, frame: bytes) -> None:
        message = msgspec.json.decode(frame)
        self.heard.append(message)
        if message["method"] == "session.changed":
            self.apply(message["params"])

    def apply(self, change: dict[str, Any]) -> None:
        session = change.get("session")
        if change["change"] not in ("entered", "updated"):
            assert session is None
            self.table.pop((change.get("tenant", self.tenant), change["key"]), None)
            return
        place = session["tenant"], change["key"]
        if change["change"] == "updated" and place in self.table:
            assert session["head"] >= self.table[place]["head"], "told of something older"
        self.table[place] = session

    def when_free(self, topic: Topic, work: Callable[[], None]) -> None:
        if topic in self.held:
            self.held[topic].append(work)
        else:
            work()

    def release(self, topic: Topic) -> None:
        for work in self.held.pop(topic):
            work()

    async def drained(self) -> None:
        while self.is_behind:
            self._has_taken.clear()
            await self._has_taken.wait()

    def take(self) -> None:
        """Read all that comes from now on."""
        self.is_behind = False
        self._has_taken.set()

    def spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    @property
    def changes(self) -> list[tuple[str, str]]:
        """What was told, in short."""
        told = (m["params"] for m in self.heard if m["method"] == "session.changed")
        return [(params["change"], params["key"]) for params in told]


class House:
    """Everything from the lanes to the watches; what methods do is done by hand."""

    def __init__(self, seed: int | None = None) -> None:
        self.chance = random.Random(seed)
        self.store = SlowStore(self.chance if seed is not None else None)
        self.clock, self.roster, self.hub = FakeClock(), Names(), Hub(lambda frame: frame)
        self.lanes = Lanes(self.store)
        self.watching = Watching(self.store, self.summary)
        self.journal = Journal(self.store, self.clock, lambda state: POLICY, (self.watching,))
        self.watching.settle_with(self.journal)
        self.directory = Directory(self.store, self.roster, Cursors(self.store))  # type: ignore[arg-type]  # as much as it needs
        self.encoded = 0

    def summary(self, state: SessionState) -> Session:
        self.encoded += 1
        return summary(state, POLICY, self.roster.name(state.agent), self.clock.now_ms())

    def attach(self, client: Client, params: ListParams, seen: Visibility = ADMIN) -> Watch:
        """Begin a watch that has no list yet."""

        def ended() -> None:
            self.watching.detach(watch, view)

        watch = Watch("s1", client, client.tenant, frame=self.hub.frame, spawn=client.spawn, ended=ended)
        view = self.watching.attach(watch, lambda: self.directory.view(params, seen))
        return watch

    async def watch(self, client: Client, seen: Visibility = ADMIN, **params: Any) -> Watch:
        """As the method does it."""
        asked = ListParams(limit=200, **params)
        watch = self.attach(client, asked, seen)
        rows = await self.list(asked, seen)
        await self.watching.settled()
        client.table = rows
        watch.go_live()
        return watch

    async def list(self, params: ListParams, seen: Visibility = ADMIN) -> dict[Topic, Row]:
        found = await self.directory.list(params, seen)
        return {(state.tenant, state.key): msgspec.to_builtins(self.summary(state)) for state in found.sessions}

    async def change(self, key: str, do: Callable[[Lane], Any], tenant: str = "default") -> None:
        """Do something to a session that is there."""
        async with self.lanes.enter((tenant, key)) as lane:
            if lane.state is not None and lane.state.deleted_at is None:
                await do(lane)

    async def create(self, key: str, tenant: str = "default", **fields: Any) -> None:
        async with self.lanes.enter((tenant, key)) as lane:
            if lane.state is None or lane.state.deleted_at is not None:
                id, now = await self.store.next_session_id(), self.clock.now_ms()
                times = {"created_at": now, "last_activity_at": now}
                state = born(**{"id": id, "tenant": tenant, "key": key, "epoch": f"e{id}", **times} | fields)
                await self.journal.append(lane, created(), onto=state)

    async def say(self, lane: Lane, content: str = "hi") -> None:
        """A message; when a turn runs, it ends."""
        if (turn := lane.session.turn) is not None:
            await self.journal.append(lane, ev.TurnCompleted(turn=turn.id))
        else:
            id = f"t{lane.session.head}"
            await self.journal.append(lane, user(id, content), started(id))

    async def update(self, lane: Lane, **fields: Any) -> None:
        await self.journal.append(lane, ev.SessionUpdated(author="ann", **fields))

    async def move(self, lane: Lane, to: Any) -> None:
        state = lane.session
        await self.journal.append(lane, ev.SessionStateChanged(from_=state.lifecycle, to=to, reason="user"))

    async def archive(self, lane: Lane, at: int | None = 1) -> None:
        await self.journal.append(lane, onto=replace(lane.session, archived_at=at, revision=lane.session.revision + 1))

    async def reset(self, lane: Lane) -> None:
        await self.journal.append(lane, lifecycle.clear(lane.session, "ann"), purge_to=lane.session.head)

    async def delete(self, lane: Lane) -> None:
        await self.journal.delete(lane, None)

    async def anything(self) -> None:
        """One random call on a random session."""
        chance, store = self.chance, self.store
        key, tenant = f"k{chance.randrange(9)}", chance.choice(TENANTS)
        self.clock.advance(ms=chance.randrange(3))
        match chance.randrange(12):
            case 0 | 1 | 2 | 3:
                await store.pause()
                await self.create(key, tenant, **self.anybody())
            case 4 | 5:
                await self.change(key, lambda lane: self.say(lane, chance.choice(["hello", "weather"])), tenant)
            case 6:
                await self.change(key, lambda lane: self.update(lane, pinned=chance.random() < 0.5), tenant)
            case 7:
                title = chance.choice(["Hello", "weather", "x"])
                await self.change(key, lambda lane: self.update(lane, title=title, labels=self.labels()), tenant)
            case 8:
                await self.change(key, lambda lane: self.archive(lane, chance.choice([None, 5])), tenant)
            case 9:
                await self.change(key, lambda lane: self.move(lane, chance.choice(["live", "idle", "ended"])), tenant)
            case 10:
                await self.change(key, self.reset, tenant)
            case 11:
                await self.change(key, self.delete, tenant)

    def anybody(self) -> dict[str, Any]:
        chance = self.chance
        return {
            "user": chance.choice(USERS),
            "agent": chance.choice(AGENTS),
            "channel": chance.choice(CHANNELS),
            "source": chance.choice(["manual"] * 3 + ["scheduled"]),
            "pinned": chance.random() < 0.2,
            "project": chance.choice([None, "p"]),
            "details": Details(title=chance.choice([None, "weather"]), labels=self.labels()),
        }

    def labels(self) -> dict[str, str]:
        return {"team": self.chance.choice(["red", "blue"])} if self.chance.random() < 0.5 else {}

    def view(self) -> dict[str, Any]:
        """The params of a random list."""
        chance = self.chance
        wishes: dict[str, Any] = {
            "agent": chance.choice(["echo", ["echo", "coder"]]),
            "channel": "web",
            "state": chance.choice(["ended", ["live", "idle"]]),
            "label": {"team": "red"},
            "pinned": chance.random() < 0.5,
            "project": "p",
            "user": "ann",
            "source": "manual",
            "tenant": "other",
        }
        chosen = {name: wishes[name] for name in chance.sample(sorted(wishes), chance.choice([0, 0, 0, 1, 2]))}
        params: dict[str, Any] = {"filter": Filter(**chosen)} if chosen else {}
        if chance.random() < 0.25:
            params["search"] = chance.choice(["weath", "he", "k1", "coder"])
        return params | {
            "view": chance.choice(["active"] * 4 + ["archived", "scheduled", "all"]),
            "include_empty": chance.random() < 0.3,
        }

    def seen(self) -> Visibility:
        """Somebody, who may see so much."""
        return Visibility(self.chance.choice(["default", "default", None]), self.chance.choice([None, "ann", "bob"]))
