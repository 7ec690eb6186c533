"""A gateway beside its model: each call is made of both, and what happens by itself must come to the same."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from gateway.app import Gateway
from gateway.sessions import expiry
from gateway.timers import TimerWheel
from tests.e2e.inside import gateway_of
from tests.fakes import FakeClock, ScriptedAgent
from tests.model.client import Client
from tests.model.mirror import Mirror
from tests.model.puppet import Puppet
from tests.model.refusals import Refused
from tests.model.session import Session
from tests.model.world import QUEUE, World

AGENTS = ("one", "two")
# Finer than usual: most of the time of this test is waiting for the next tick.
TICK_MS = 5
CLIENTS = 3
# The turn that was next and the clock act by themselves, at the same time.
UNORDERED = {"turn.started", "session.expiring"}
Json = Any


class House:
    """The gateway, its model, and who is connected; the first client follows everything."""

    def __init__(self) -> None:
        self.clock, self.puppet = FakeClock(), Puppet()
        self.world = World(AGENTS, self.clock.now_ms())
        self.clients = [Client() for _ in range(CLIENTS)]
        self.gateway: Gateway
        self._folder = tempfile.TemporaryDirectory()
        self._up = AsyncExitStack()
        self._is_settled = True

    @property
    def observer(self) -> Client:
        return self.clients[0]

    def client(self, number: int) -> Client:
        """That one if it is connected, else the observer."""
        return client if (client := self.clients[number]).is_here else self.observer

    # Up and down.

    async def open(self) -> None:
        await self._start()
        for client in self.clients:
            await client.come(self.gateway)

    async def close(self) -> None:
        await self._stop()
        self._folder.cleanup()

    async def restart(self, ms: int) -> None:
        """Down for a while; afterwards all who were there come back."""
        await self.settle()
        here = [client for client in self.clients if client.is_here]
        await self._stop()
        self.clock.advance(ms=ms)
        self.world.restart(ms)
        await self._start()
        for client in here:
            await client.come(self.gateway)
            await self._come_back(client)

    async def go(self, client: Client) -> None:
        await self.settle()
        await client.go()

    async def come(self, client: Client) -> None:
        """Back, and to where it was with every session."""
        await self.settle()
        await client.come(self.gateway)
        await self._come_back(client)

    async def _come_back(self, client: Client) -> None:
        for key in client.mirrors:
            await self.follow(client, key)

    async def _start(self) -> None:
        agents = [ScriptedAgent(agent, self.puppet) for agent in AGENTS]
        self._up.enter_context(patch.object(expiry, "TimerWheel", partial(TimerWheel, tick_ms=TICK_MS)))
        self._up.enter_context(patch.object(expiry, "LOOK_S", TICK_MS / 1000))
        running = gateway_of(Path(self._folder.name), *agents, clock=self.clock, limits_queued_turns=QUEUE)
        self.gateway = await self._up.enter_async_context(running)
        await self.retimed()

    async def retimed(self) -> None:
        """Wait until the moments of all sessions go by the policies of now, which happens beside everything else."""
        wanted = self.gateway.services.retiming._wanted
        while wanted.is_set() or not wanted._waiters:
            await asyncio.sleep(0.001)

    async def _stop(self) -> None:
        for client in self.clients:
            if client.is_here:
                await client.go()
        await self._up.aclose()

    # Calls.

    async def call(
        self, client: Client, method: str, expect: Callable[[Json], Json], *, hastily: bool = False, **params: Any
    ) -> Json:
        """Call the gateway and the model, which is shown the answer to learn ids from, and compare.

        `hastily`: the call looks at what is due itself, so it may come before the timers.
        """
        if not hastily:
            await self.settle()
        answer = await client.ask(method, **params)
        try:
            expected = expect(answer.get("result", {}))
        except Refused as refused:
            check_refused(answer, refused)
        else:
            assert "result" in answer, (method, params, answer, expected)
            check(answer["result"], expected)
        self.world.settle()
        return answer

    async def many(self, client: Client, verb: str, keys: list[str], revision: Json) -> None:
        """A verb that takes many."""
        gone = [self.world.sessions.get(key) for key in keys] if verb == "delete" else []
        await self.call(
            client,
            f"session.{verb}",
            lambda _: self.world.many(verb, keys, **revision),
            hastily=verb not in ("delete", "reset"),
            keys=keys,
            **revision,
        )
        await self._see_closed(gone)

    async def one(self, client: Client, verb: str, key: str, revision: Json) -> None:
        """The same for one."""
        gone = [self.world.sessions.get(key)] if verb == "delete" else []
        await self.call(
            client,
            f"session.{verb}",
            lambda _: self.world.one(verb, key, **revision),
            hastily=verb not in ("delete", "reset"),
            key=key,
            **revision,
        )
        await self._see_closed(gone)

    async def born(self, key: str, client: Client, subscription: Json, session: Json) -> None:
        """Follow a new session: the client if it asked so, the observer always."""
        if subscription is not None:
            client.adopt(key, subscription["id"], Mirror(subscription["epoch"], session))
        if not self.observer.follows(key):
            await self.follow(self.observer, key)

    async def follow(self, client: Client, key: str) -> None:
        mirror = client.mirrors.get(key)
        answer = await client.follow(key)
        try:
            session = self.world.find(key)
        except Refused as refused:
            check_refused(answer, refused)
        else:
            assert answer["result"]["session"] == session.summary()
            assert answer["result"].get("turn", {}).get("id") == session.turn
            assert answer["result"].get("turn", {}).get("text", "").endswith(session.said)
            if mirror is client.mirrors[key]:
                missed = [event["seq"] for event in session.log if event["seq"] > mirror.head]
                replay = {"from": (missed or [mirror.head + 1])[0], "to": session.head, "complete": True}
                assert answer["result"]["replay"] == replay

    async def follow_or_not(self, client: Client, key: str) -> None:
        await self.settle()
        await (client.unfollow(key) if client.follows(key) else self.follow(client, key))

    def tell(self, session: Session, order: str, word: str = "") -> None:
        """Let the agent of its turn do something."""
        assert session.turn is not None
        self.puppet.tell(session.turn, order, word)

    async def said(self, key: str, text: str) -> None:
        """Wait until the observer has heard that the turn has said this."""
        while not self.observer.mirrors[key].text.endswith(text):
            await self.observer.hear()

    def pass_time(self, ms: int) -> None:
        """What that brings about is waited for by `settle`."""
        self.clock.advance(ms=ms)
        self.world.pass_time(ms)
        self._is_settled = False

    # What happens by itself.

    async def settle(self) -> None:
        """Wait until everybody has heard what the model says has happened, and nothing else."""
        for client, key in self._followed():
            await self._hear_out(client, client.mirrors[key], self.world.sessions[key])
        self._is_settled = True

    async def look(self, client: Client) -> None:
        """Everything is as the model has it, and as everybody has heard it; looking changes nothing."""
        await self.settle()
        answer = await client.ask("session.list", view="all", includeEmpty=True)
        check(answer["result"], self.world.list("all", with_empty=True))
        shown = {session["key"]: session for session in answer["result"]["sessions"]}
        for one, key in self._followed():
            one.mirrors[key].check(shown[key])

    def _followed(self) -> Iterator[tuple[Client, str]]:
        for client in self.clients:
            for key in client.mirrors if client.is_here else ():
                if client.follows(key) and not self.world.sessions[key].is_deleted:
                    yield client, key

    async def _see_closed(self, sessions: list[Session | None]) -> None:
        """Who follows what is gone now is told so, last of all."""
        for session in sessions:
            for client in self.clients:
                if session is None or not session.is_deleted or not client.follows(session.key):
                    continue
                await self._hear_out(client, mirror := client.mirrors[session.key], session)
                while mirror.closed is None:
                    await client.hear()
                closed = {"reason": "deleted", "lastSeq": session.head, "resumable": False}
                assert mirror.closed.items() >= closed.items()
                client.forget(session.key)

    async def _hear_out(self, client: Client, mirror: Mirror, session: Session) -> None:
        while mirror.head < session.head:
            try:
                await client.hear()
            except TimeoutError as error:
                raise AssertionError(f"never heard: {session.told[mirror.head :]}") from error
        for event in mirror.events[mirror.checked :]:
            self._check_event(event, session)
        mirror.checked = len(mirror.events)

    def _check_event(self, event: Json, session: Session) -> None:
        place = event["seq"] - 1
        assert place < len(session.told), f"not foreseen: {event}"
        if event["type"] != session.told[place]["type"] and len(session.told) > event["seq"]:
            session.swap(place, UNORDERED)
        assert plain(event) == session.told[place], (plain(event), session.told[place])


def plain(event: Json) -> Json:
    """An event without the sentences that are for people."""
    return {name: value for name, value in event.items() if (event["type"], name) != ("turn.failed", "message")}


def check(found: Json, expected: Json) -> None:
    """A summary is as expected to the last member, other objects have what is expected."""
    if isinstance(expected, Refused):
        check_refused({"error": found}, expected)
    elif isinstance(expected, list):
        assert len(found) == len(expected), (found, expected)
        for one, other in zip(found, expected, strict=True):
            check(one, other)
    elif isinstance(expected, dict) and "revision" not in expected:
        found = plain(found) if "seq" in found and "type" in found else found
        assert found.keys() >= expected.keys(), (found, expected)
        for name, value in expected.items():
            check(found[name], value)
    else:
        assert found == expected, (found, expected)


def check_refused(answer: Json, refused: Refused) -> None:
    """An error is the number, the word and all the data."""
    assert "error" in answer, (answer, refused.data)
    assert (answer["error"]["code"], answer["error"]["data"]) == (refused.number, refused.data)
