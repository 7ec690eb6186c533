"""Turns: one at a time per session, the rest queued; run, stopped, ended exactly once.

The log is the truth and `Turns` follows it: a turn that the log says has
started is given to its agent, one that it says is over is let go, and the next
begins. Whoever ends a turn does it inside the session's lane; the first one
decides how.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Literal, get_args

import structlog

from gateway.agents.base import AgentFailure, Finish, Turn
from gateway.agents.roster import Roster
from gateway.clock import Clock
from gateway.hub.hub import Hub, Topic
from gateway.storage.base import EventRow
from rpc_schema import events as ev
from rpc_schema.errors import AgentNotFound, StoreUnavailable
from rpc_schema.types import FinishReason

from .journal import Journal
from .lanes import Lane, Lanes
from .running import ENDING, NO_USAGE, Events, Outcome, TurnRun, outcome_of
from .state import SessionState
from .transcript import Transcript, decode_event

StopReason = Literal["stopped", "interrupted", "reset", "deleted", "ended", "paused"]
RETRY_FIRST_S, RETRY_MOST_S = 0.1, 5.0
log = structlog.get_logger(__name__)


class Turns:
    """All turns of this process. `async with turns:` bounds their tasks; a Follower of the journal."""

    def __init__(
        self, *, lanes: Lanes, transcript: Transcript, hub: Hub, roster: Roster, clock: Clock, output_bytes: int
    ) -> None:
        self._lanes, self._transcript, self._hub, self._roster, self._clock = lanes, transcript, hub, roster, clock
        self._output_bytes = output_bytes
        self._journal: Journal
        self._runs: dict[Topic, TurnRun] = {}
        self._awaited: dict[str, list[asyncio.Future[Outcome | None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closing = False

    async def __aenter__(self) -> "Turns":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.drain(0)
        tasks = {*self._tasks, *(run.task for run in self._runs.values() if run.task is not None)}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def write_with(self, journal: Journal) -> None:
        """Take the journal, which in turn has this as a follower."""
        self._journal = journal

    @property
    def running(self) -> int:
        """How many agents are at work."""
        return len(self._runs)

    def run_of(self, topic: Topic) -> TurnRun | None:
        """The turn that runs in this session."""
        return self._runs.get(topic)

    async def outcome(self, lane: Lane, turn: str, seq: int) -> "asyncio.Future[Outcome | None]":
        """Done when the turn whose message has this seq ends; at once when it has. The caller is in the lane.

        None where a reset has taken away how it ended.
        """
        future: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        state = lane.session
        if (state.turn is not None and state.turn.id == turn) or any(waiting.id == turn for waiting in state.queue):
            self._awaited.setdefault(turn, []).append(future)
        else:
            future.set_result(await self._past(state, turn, seq))
        return future

    async def _past(self, state: SessionState, turn: str, seq: int) -> Outcome | None:
        """How a turn ended, from the log."""
        if seq <= state.cleared_to:
            return None
        rows = await self._transcript.everything(state.id, seq, state.head, ENDING)
        return outcome_of(event for event in map(decode_event, (row.body for row in rows)) if event.turn == turn)

    def committed(self, lane: Lane, before: SessionState | None, after: SessionState, rows: Sequence[EventRow]) -> None:
        """Do what the log says has been decided."""
        was = before.turn.id if before is not None and before.turn is not None else None
        now = after.turn.id if after.turn is not None else None
        if before is not None:
            still = {waiting.id for waiting in after.queue} | {now, was}
            for waiting in before.queue:
                if waiting.id not in still:
                    self._tell(waiting.id, Outcome(finish_reason="stopped", usage=NO_USAGE))
        if was is not None and was != now and (run := self._runs.pop(lane.topic, None)) is not None:
            self._let_go(run, lane)
        if now is not None and now != was:
            self._begin(lane, now)
        elif now is None and after.queue:
            self._spawn(self._insist(lambda: self._advance(lane.topic)), f"next turn of {lane.topic[1]}")

    async def stop(self, lane: Lane, turn: str | None, *, by: str, reason: StopReason) -> str | None:
        """End a turn now and keep what it said: that one, or the running, else the first that waits.

        Returns its id, None when there was nothing to stop. Never waits for the
        agent, which is cancelled. Where the store cannot take the end now, the
        turn is silent already and the end is written as soon as it can be.

        Raises:
            StoreUnavailable: the end is not written yet.
        """
        state = lane.session
        if turn is None:
            turn = state.turn.id if state.turn is not None else state.queue[0].id if state.queue else None
        end = ev.TurnStopped(turn=turn, by=by, reason=reason)
        if state.turn is not None and state.turn.id == turn:
            await self._finish(lane, self._runs[lane.topic], "stopped", end)
        elif any(waiting.id == turn for waiting in state.queue):
            await self._journal.append(lane, end)
        else:
            return None
        return turn

    async def stop_all(self, lane: Lane, *, by: str, reason: StopReason) -> None:
        """End the running turn and every one that waits."""
        while await self.stop(lane, None, by=by, reason=reason) is not None:
            pass

    async def advance(self, lane: Lane) -> None:
        """Start the first turn that waits, if none runs and the session is not paused."""
        state = lane.state
        if not self._is_closing and state is not None and state.is_timed and state.turn is None and state.queue:
            await self._journal.append(lane, ev.TurnStarted(turn=state.queue[0].id, model=state.model))

    async def drain(self, grace_s: float) -> None:
        """Start no more turns, let those that run finish; after the grace write down what the rest has said."""
        self._is_closing = True
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            for run in list(self._runs.values()):
                with contextlib.suppress(StoreUnavailable):  # the next start ends it
                    await self._interrupt(run)

    def _begin(self, lane: Lane, turn: str) -> None:
        """Give a turn that has started in the log to its agent."""
        state = lane.session
        run = TurnRun(
            lane.topic,
            state.id,
            turn,
            hub=self._hub,
            clock=self._clock,
            record=self._record,
            save=self._journal.save_chunk,
            price=self._roster.price_of(state.agent),
            output_bytes=self._output_bytes,
        )
        self._runs[lane.topic] = run
        self._idle.clear()
        self._lanes.pin(lane)
        run.task = asyncio.create_task(self._ask(run, state), name=f"agent of {turn}")
        self._spawn(self._see_through(run), f"turn {turn}")
        log.info("turn_started", session=state.key, turn=turn, agent=state.agent, model=state.model)

    def _let_go(self, run: TurnRun, lane: Lane) -> None:
        if not self._runs:
            self._idle.set()
        self._lanes.unpin(lane)
        outcome = run.outcome()
        ms = round((self._clock.monotonic() - run.started) * 1000)
        log.info("turn_ended", session=lane.topic[1], turn=run.turn, finish=outcome.finish_reason, ms=ms)
        self._tell(run.turn, outcome)

    async def _see_through(self, run: TurnRun) -> None:
        """Wait for the agent, then end its turn, unless somebody did before."""
        assert run.task is not None
        await asyncio.wait((run.task,))
        finish, end = _verdict(run, run.task)
        await self._insist(lambda: self._conclude(run, finish, end))

    async def _ask(self, run: TurnRun, state: SessionState) -> Finish:
        """Show the agent the conversation; its answer comes through `run`."""
        messages = await self._transcript.conversation(state.id, state.head)
        turn = Turn(session=state.key, turn=run.turn, user=state.user, model=state.model, messages=messages)
        try:
            async with self._roster.lend(state.agent) as agent:
                if (why := agent.unavailable()) is not None:
                    raise AgentFailure("agent_unavailable", why)
                return await agent.run(turn, run)
        except AgentNotFound as error:
            raise AgentFailure("agent_unavailable", error.message) from error

    async def _record(self, run: TurnRun, build: Callable[[], Events]) -> None:
        """Write what the agent did, as long as its turn is not over."""

        async def write() -> None:
            async with self._lanes.enter(run.topic) as lane:
                if run.ending is not None or lane.state is None:
                    return
                events, head = build(), lane.session.head
                has_message = any(isinstance(event, ev.MessageAssistant) for event in events)
                try:
                    await self._journal.append(lane, *events, drop_chunks=has_message)
                finally:  # a cancelled append may have happened
                    if lane.session.head > head:
                        run.recorded(events)

        await self._insist(write)

    async def _conclude(self, run: TurnRun, finish: FinishReason, end: ev.AnyEvent) -> None:
        async with self._lanes.enter(run.topic) as lane:
            if self._runs.get(run.topic) is run:
                await self._finish(lane, run, finish, end)

    async def _finish(self, lane: Lane, run: TurnRun, finish: FinishReason, end: ev.AnyEvent) -> None:
        """Write the end of the running turn; the first `finish` is the one that counts."""
        run.seal(finish, end)
        await self._journal.append(lane, *run.closing(), drop_chunks=True)

    async def _advance(self, topic: Topic) -> None:
        async with self._lanes.enter(topic) as lane:
            await self.advance(lane)

    async def _interrupt(self, run: TurnRun) -> None:
        end = ev.TurnFailed(
            turn=run.turn, code="gateway_restarted", message="The gateway was shut down while the agent was answering."
        )
        await self._conclude(run, "interrupted", end)

    async def _insist(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """Try again while the store is unavailable: what has happened must be written."""
        delay = RETRY_FIRST_S
        while True:
            try:
                return await attempt()
            except StoreUnavailable:
                log.warning("store_unavailable", retry_in_s=delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_MOST_S)

    def _tell(self, turn: str, outcome: Outcome) -> None:
        for future in self._awaited.pop(turn, ()):
            if not future.done():
                future.set_result(outcome)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _verdict(run: TurnRun, task: "asyncio.Task[Finish]") -> tuple[FinishReason, ev.AnyEvent]:
    """How a turn ends by itself, from how its agent did."""
    if run.is_cut:
        return "length", ev.TurnCompleted(turn=run.turn)
    if task.cancelled():
        return "failed", ev.TurnFailed(turn=run.turn, code="agent_failed", message="The agent gave up.")
    error = task.exception()
    if error is None and (finish := task.result()) in get_args(Finish):
        return finish, ev.TurnCompleted(turn=run.turn)
    if isinstance(error, AgentFailure):
        log.warning("agent_failed", session=run.topic[1], turn=run.turn, code=error.code)
        message = error.message.encode("utf-8", "replace").decode()
        failed = ev.TurnFailed(turn=run.turn, code=error.code, message=message, retry_after_ms=error.retry_after_ms)
        return "failed", failed
    if error is None:
        error = TypeError(f"The agent returned {finish!r}, which is no Finish.")
    error_id = uuid.uuid4().hex[:12]
    log.error("agent_broke", session=run.topic[1], turn=run.turn, error_id=error_id, exc_info=error)
    message = f"The agent failed unexpectedly; the gateway's log has the details under {error_id}."
    return "failed", ev.TurnFailed(turn=run.turn, code="agent_failed", message=message)
