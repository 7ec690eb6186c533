"""Puts the rooms together, starts them and stops them in order. No logic of its own."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import structlog

from rpc_schema.errors import StoreUnavailable
from rpc_schema.system import Limits
from rpc_schema.types import Session

from . import logs
from .agents.roster import Roster
from .auth.tokens import Tokens
from .clock import Clock, SteadyClock, SystemClock
from .config import ConfigError
from .demo import seed
from .hub.hub import Hub
from .ids import new_id
from .methods import handlers
from .methods.system import openrpc
from .rpc.dispatcher import Dispatcher
from .server.http import Http
from .server.listener import Listener
from .server.origins import is_loopback
from .server.outbox import text_frame
from .server.pages import pages
from .services import Call, Peer, Services, Status
from .sessions.admission import Admission
from .sessions.broadcast import Broadcast, Following
from .sessions.census import Census
from .sessions.cursors import Cursors
from .sessions.directory import Directory
from .sessions.drift import Drift
from .sessions.expiry import Expiry
from .sessions.idempotency import KEPT_MS, Idempotency
from .sessions.journal import Follower, Journal
from .sessions.lanes import Lanes
from .sessions.recovery import recover
from .sessions.retiming import Retiming
from .sessions.rules import Rules
from .sessions.search import Search
from .sessions.state import SessionState
from .sessions.transcript import Transcript
from .sessions.turns import Turns
from .sessions.watching import Watching
from .settings import LimitSettings, Settings
from .storage.base import Store, StoreFault, StoreRefused
from .storage.sqlite import SqliteStore

PRUNE_EVERY_S = 3600.0
BROKEN_S = 1.0
RETRY_AFTER_MS = 1000
log = structlog.get_logger(__name__)


class StartError(Exception):
    """The gateway cannot start; the message says why and what to do."""


class Gateway:
    """One running gateway: an Instance for its handlers, an address for its owner."""

    def __init__(self, clock: Clock) -> None:
        self.id = new_id(clock.now_ms())
        self.started = clock.monotonic()
        self.status: Status = "starting"
        self.host, self.port = "", 0
        self.census = Census()
        self.roster = Roster()
        self.services: Services
        self.turns: Turns
        self.listener: Listener

    @property
    def connections(self) -> int:
        """Open now."""
        return self.listener.count

    @property
    def peak_connections(self) -> int:
        """The most that ever were."""
        return self.listener.peak

    def sessions(self) -> dict[str, int]:
        """How many there are of each state."""
        return self.census.counts()

    def peers(self) -> Iterable[Peer]:
        """The open connections, oldest first."""
        return self.listener.connections

    def summary(self, state: SessionState) -> Session:
        """The session as lists show it, now."""
        return self.services.summary(state)

    async def reload(self, settings: Settings) -> None:
        """Take new agents and policies, for running sessions at once.

        Raises:
            ValueError: an agent cannot be built; nothing was changed.
        """
        await self.roster.replace(settings.agents)
        self.services.rules.take(settings.policy)
        self.services.retiming.want()
        for watch in self.services.watching.outdated():
            self.services.hub.close(watch, "lagged", resumable=True)
        self.listener.review()

    async def drain(self, grace_s: float) -> None:
        """Refuse new work, tell everybody, let running turns finish."""
        self.status = "draining"
        self.listener.announce_shutdown("shutting down", RETRY_AFTER_MS)
        await self.turns.drain(grace_s)

    @property
    def authority(self) -> str:
        """Host and port as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@asynccontextmanager
async def running(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Gateway]:
    """A gateway that is up; leaving stops it: sockets first, then turns, then the store.

    Raises:
        StartError: it cannot start.
    """
    steady = SteadyClock(clock or SystemClock())
    gateway = Gateway(steady)
    async with AsyncExitStack() as stack:
        try:
            await gateway.roster.replace(settings.agents)
            store = await SqliteStore.open(Path(settings.server.data_dir))
        except (ValueError, StoreRefused) as error:
            raise StartError(str(error)) from error
        stack.push_async_callback(gateway.roster.close)
        stack.push_async_callback(store.close)
        try:
            await _build(gateway, settings, store, steady, stack)
        except (StoreFault, StoreUnavailable) as error:
            raise StartError(f"The store in {settings.server.data_dir} cannot be used: {error}") from error
        await _listen(gateway, settings, store, stack)
        gateway.status = "ok"
        for agent, reason in gateway.roster.unavailable().items():
            log.warning("agent_unavailable", agent=agent, reason=reason)
        log.info("gateway_started", instance=gateway.id, host=gateway.host, port=gateway.port)
        yield gateway
    log.info("gateway_stopped", instance=gateway.id)


@asynccontextmanager
async def stored_tokens(settings: Settings) -> AsyncIterator[Tokens]:
    """The tokens of a gateway that does not run.

    Raises:
        StartError: its store cannot be had; it may run after all.
    """
    try:
        store = await SqliteStore.open(Path(settings.server.data_dir))
    except StoreRefused as error:
        raise StartError(str(error)) from error
    try:
        tokens = Tokens(store, SteadyClock(SystemClock()), is_required=settings.auth.required)
        await tokens.load()
        yield tokens
    except (StoreFault, StoreUnavailable) as error:
        raise StartError(f"The store in {settings.server.data_dir} cannot be used: {error}") from error
    finally:
        await store.close()


async def serve(
    settings: Settings, *, reload: Callable[[], Settings], announce: Callable[[str], None], demo: bool = False
) -> int:
    """Run until SIGTERM or SIGINT, then drain; a second signal ends at once. Returns the exit code.

    SIGHUP reads the settings again. `announce` gets the one line that says where it listens.

    Raises:
        StartError: it cannot start.
    """
    logs.configure(settings.log.format, settings.log.level)
    loop = asyncio.get_running_loop()
    stop, hurry = asyncio.Event(), asyncio.Event()
    async with running(settings) as gateway:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: hurry.set() if stop.is_set() else stop.set())
        reloads = asyncio.Event()
        loop.add_signal_handler(signal.SIGHUP, reloads.set)
        reloading = asyncio.create_task(_reload_when(reloads, gateway, reload))
        if demo and gateway.services.tokens.is_on:
            log.warning("demo_skipped", reason="authentication is on")
        elif demo:
            await seed(f"ws://{gateway.authority}/rpc")
        announce(f"gateway ready ws://{gateway.authority}/rpc http://{gateway.authority}/")
        await stop.wait()
        log.info("gateway_draining", turns=gateway.turns.running)
        drained = asyncio.create_task(gateway.drain(settings.server.shutdown_grace_s))
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait((drained, hurried), return_when=asyncio.FIRST_COMPLETED)
        if not drained.done():
            drained.cancel()
            await gateway.turns.drain(0)
        hurried.cancel()
        reloading.cancel()
    return 0


async def _build(gateway: Gateway, settings: Settings, store: Store, clock: SteadyClock, stack: AsyncExitStack) -> None:
    """Make the rooms from the lowest up; take up what the last process left."""
    hub = Hub(text_frame)
    lanes, transcript = Lanes(store), Transcript(store)
    turns = Turns(
        lanes=lanes,
        transcript=transcript,
        hub=hub,
        roster=gateway.roster,
        clock=clock,
        output_bytes=settings.limits.output_bytes,
    )
    cursors = Cursors(store)
    await cursors.load()
    directory = Directory(store, gateway.roster, cursors)
    rules = Rules(store, gateway.roster, settings.policy)
    await rules.load()
    watching = Watching(store, gateway.summary)
    followers: list[Follower] = [Broadcast(hub), watching, gateway.census, turns]
    journal = Journal(store, clock, rules.policy_of, followers)
    turns.write_with(journal)
    watching.settle_with(journal)
    expiry = Expiry(
        clock=clock,
        store=store,
        lanes=lanes,
        journal=journal,
        turns=turns,
        rules=rules,
        touched=watching.touched,
    )
    followers.append(expiry)
    retiming = Retiming(
        store=store,
        lanes=lanes,
        journal=journal,
        rules=rules,
        roster=gateway.roster,
        clock=clock,
        touched=(expiry.arm, watching.touched),
    )
    tokens = Tokens(store, clock, is_required=settings.auth.required)
    await tokens.load()
    _check_host(settings.server.host, tokens)
    gateway.turns = await stack.enter_async_context(turns)
    stack.push_async_callback(watching.close)
    gateway.services = Services(
        clock=clock,
        limits=_limits(settings.limits),
        rules=rules,
        retiming=retiming,
        expiry=expiry,
        roster=gateway.roster,
        hub=hub,
        lanes=lanes,
        journal=journal,
        transcript=transcript,
        turns=turns,
        following=Following(hub, lanes, transcript, turns),
        watching=watching,
        directory=directory,
        search=Search(store, directory, cursors),
        cursors=cursors,
        admission=Admission(store),
        idempotency=Idempotency(store, clock),
        tokens=tokens,
        instance=gateway,
        new_session_id=store.next_session_id,
        expiring=store.expiring,
        tally=store.tally,
    )
    drift = Drift(clock, store, lanes, journal)
    await drift.make_good()
    gateway.census.begin(await store.counts())
    await recover(store=store, lanes=lanes, journal=journal, turns=turns, expiry=expiry, clock=clock)
    await expiry.begin()
    retiming.want()
    stack.push_async_callback(_save_uses, tokens)
    works = {"expiry": expiry.run, "retiming": retiming.run, "drift": drift.run}
    works["pruning"] = partial(_prune, store, tokens, clock)
    tasks = [asyncio.create_task(_go_on(name, work), name=name) for name, work in works.items()]
    stack.push_async_callback(_end, tasks)


def _check_host(host: str, tokens: Tokens) -> None:
    """While callers need to show nothing, whoever reaches the port is the admin."""
    if not is_loopback(host.lower()) and not tokens.is_on:
        raise StartError(
            f"server.host is {host}, but no token was ever made, and without one the gateway listens on loopback only"
            " (127.0.0.0/8, ::1 or localhost). Make one: gateway token create --user you --role admin."
            " Or set required = true under [auth]."
        )


async def _listen(gateway: Gateway, settings: Settings, store: Store, stack: AsyncExitStack) -> None:
    """Open the port, last of all."""
    server = settings.server
    dispatcher: Dispatcher[Call] = Dispatcher(handlers(), response_bytes=settings.limits.max_response_bytes)
    tokens = gateway.services.tokens
    http = Http(
        pages(gateway, lambda: gateway.authority, store.writable, openrpc),
        tokens,
        allowed_origins=server.allowed_origins,
        public_hosts=server.public_hosts,
    )
    gateway.listener = Listener(gateway.services, dispatcher, http)
    tokens.tell(gateway.listener)
    try:
        gateway.port = await gateway.listener.open(server.host, server.port)
    except OSError as error:
        raise StartError(
            f"Cannot listen on {server.host}:{server.port}: {os.strerror(error.errno) if error.errno else error}."
            " Is another gateway running there? Choose another port with --port (0 picks a free one)."
        ) from error
    gateway.host = server.host
    stack.push_async_callback(gateway.listener.close)


def _limits(limits: LimitSettings) -> Limits:
    """The settings that clients are told."""
    return Limits(
        message_bytes=limits.max_message_bytes,
        response_bytes=limits.max_response_bytes,
        batch_items=limits.batch_items,
        requests_in_flight=limits.requests_in_flight,
        subscriptions=limits.subscriptions_per_connection,
        nesting_depth=limits.nesting_depth,
        content_characters=limits.content_characters,
        metadata_bytes=limits.metadata_bytes,
        queued_turns=limits.queued_turns,
        output_bytes=limits.output_bytes,
        outbox_bytes=limits.outbox_bytes,
    )


async def _reload_when(asked: asyncio.Event, gateway: Gateway, read: Callable[[], Settings]) -> None:
    """Take the settings as they are then; broken ones change nothing."""
    while True:
        await asked.wait()
        asked.clear()
        try:
            await gateway.reload(read())
        except (ConfigError, ValueError) as error:
            log.error("reload_refused", problem=str(error))
        else:
            log.info("reloaded", agents=gateway.roster.ids())


async def _go_on(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do it until cancelled, also after a bug: a clock that stops unseen would be worse."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("task_broke", task=name)
            await asyncio.sleep(BROKEN_S)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _prune(store: Store, tokens: Tokens, clock: Clock) -> None:
    """Forget stored answers once they are old; write down when tokens were used."""
    while True:
        try:
            await store.prune_answers(clock.now_ms() - KEPT_MS)
        except StoreFault as error:
            log.warning("prune_failed", error=str(error))
        await _save_uses(tokens)
        await asyncio.sleep(PRUNE_EVERY_S)


async def _save_uses(tokens: Tokens) -> None:
    try:
        await tokens.save_uses()
    except StoreFault as error:
        log.warning("token_uses_not_saved", error=str(error))
