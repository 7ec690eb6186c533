"""After a start: turns that the last process left running end, queues go on."""

import msgspec
import structlog

from gateway.clock import Clock
from gateway.storage.base import Store
from rpc_schema import events as ev

from . import state as states
from .expiry import Expiry
from .journal import Journal
from .lanes import Lane, Lanes
from .running import NO_USAGE, Chunk, rest_of, unanswered
from .state import RunningTurn, SessionState
from .transcript import Transcript, decode_event
from .turns import Turns

log = structlog.get_logger(__name__)
_decode_chunk = msgspec.json.Decoder(Chunk).decode


async def recover(*, store: Store, lanes: Lanes, journal: Journal, turns: Turns, expiry: Expiry, clock: Clock) -> int:
    """End every turn that was cut, with what it had said; begin what waits. Returns how many were cut.

    What became due meanwhile comes first: no turn begins in a session whose time is up.
    """
    cut = 0
    for stored in await store.busy():
        state = states.decode(stored.state, stored.details)
        async with lanes.enter((state.tenant, state.key)) as lane:
            if lane.state is None or lane.state.id != state.id:
                continue
            if lane.state.turn is not None:
                await _end_cut(store, journal, lane, lane.state.turn, clock)
                cut += 1
            await expiry.settle(lane)
            await turns.advance(lane)
    if cut:
        log.info("turns_recovered", turns=cut)
    return cut


async def _end_cut(store: Store, journal: Journal, lane: Lane, turn: RunningTurn, clock: Clock) -> None:
    said = await _unlogged(store, lane.session, turn)
    events = unanswered(turn.id, turn.open_calls, lambda _: 0)
    if turn.generation_started_at is not None:
        duration = max(clock.now_ms() - turn.generation_started_at, 0)
        events.append(ev.GenerationEnd(turn=turn.id, usage=NO_USAGE, duration_ms=duration))
    events.append(ev.MessageAssistant(turn=turn.id, content=said, finish_reason="interrupted", partial=True))
    message = "The gateway was restarted while the agent was answering."
    events.append(ev.TurnFailed(turn=turn.id, code="gateway_restarted", message=message))
    await journal.append(lane, *events, drop_chunks=True)


async def _unlogged(store: Store, state: SessionState, turn: RunningTurn) -> str:
    """What the turn had said after its last message."""
    rows = await Transcript(store).everything(state.id, turn.seq, state.head, ("message.assistant",))
    messages = [event for event in map(decode_event, (row.body for row in rows)) if event.turn == turn.id]
    logged = sum(len(message.content) for message in messages if isinstance(message, ev.MessageAssistant))
    return rest_of(map(_decode_chunk, await store.chunks(state.id)), turn.id, logged)
