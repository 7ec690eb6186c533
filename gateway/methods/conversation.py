"""Talking with an agent: send a message, stop the answer."""

import msgspec
from msgspec import UNSET, Raw

from gateway.ids import new_id
from gateway.rpc.handlers import bind
from gateway.services import Call
from gateway.sessions import lifecycle
from gateway.sessions.idempotency import Repeatable, answer_to
from gateway.sessions.lanes import Lane
from gateway.sessions.running import Outcome
from gateway.sessions.state import SessionState
from gateway.sessions.summary import session_status
from gateway.storage.base import Answer
from rpc_schema import conversation as wire
from rpc_schema import errors
from rpc_schema import events as ev

from .births import check_metadata, give_birth
from .following import subscribe_at


async def send(call: Call, params: wire.SendParams) -> wire.SendResult:
    """Make the message durable, give it a turn, and, when asked to, wait for the answer."""
    _check_content(call, params)
    call.acting_for(params.on_behalf_of)
    services = call.services
    topic = call.topic(params.key)
    if not params.wait:
        call.hold(topic)
    once = call.repeatable(wire.SEND.name, params.key, params)
    async with services.lanes.enter(topic) as lane:
        result = await services.idempotency.earlier(once, wire.SendResult, _never)
        # Read before the first effect: a token may be revoked while a turn is being stopped.
        by, author = call.principal.user, call.acting_for(params.on_behalf_of)
        if params.subscribe:
            call.check_subscriptions()
        if result is None and lane.is_free:
            state = await _make(call, lane, params)
        else:
            state = await call.inside(lane, "write")
        if result is None:
            result = await _accept(call, lane, params, once, by=by, author=author)
        if params.subscribe:
            result.subscription = subscribe_at(call, lane, state.head)
        ended = await services.turns.outcome(lane, result.turn, result.seq) if params.wait else None
    if ended is not None:
        call.settle()  # it follows from now on, also when the wait is taken back
        call.give_place_back()
        if (outcome := await ended) is not None:
            _conclude(result, outcome)
        await call.caught_up(topic)
    return result


async def stop(call: Call, params: wire.StopParams) -> wire.StopResult:
    """End a turn and keep what it said."""
    async with call.session(params.key, "write") as lane:
        turn = params.turn if params.turn is not UNSET else None
        stopped = await call.services.turns.stop(lane, turn, by=call.principal.user, reason="stopped")
    return wire.StopResult(stopped=stopped is not None, turn=stopped)


def _never() -> wire.SendResult:
    raise AssertionError("an answer of send holds no words and is never erased")


async def _make(call: Call, lane: Lane, params: wire.SendParams) -> SessionState:
    """Make the session of a send that brings one; without `create` there is none, or none any more."""
    if params.create is UNSET:
        call.check(lane.state, "write")
    assert params.create is not UNSET
    call.check_tenant()
    return await give_birth(call, lane, params.create)


async def _accept(
    call: Call, lane: Lane, params: wire.SendParams, once: Repeatable | None, *, by: str, author: str
) -> wire.SendResult:
    """Write the message down with the turn it begins or waits for."""
    services, state = call.services, lane.session
    rules, now_ms = services.rules.policy_of(state), services.clock.now_ms()
    lifecycle.check_talking(state)
    place = lifecycle.admit(state, params.if_busy, services.limits.queued_turns)
    call.check_serving()
    services.roster.agent(state.agent)
    if place == "interrupt" and state.turn is not None:
        await services.turns.stop(lane, state.turn.id, by=by, reason="interrupted")
        state = lane.session
    touched = lifecycle.touch(state, rules, now_ms)
    turn = f"t_{new_id(now_ms)}"
    seq = state.head + len(touched.events) + 1
    position = len(state.queue) + 1 if place == "queue" else None
    was_renewed = touched.onto.renewal_count > state.renewal_count

    def result(after: SessionState) -> wire.SendResult:
        return wire.SendResult(
            turn=turn,
            seq=seq,
            state="running" if position is None else "queued",
            position=position,
            session_status=session_status(after, rules, services.clock.now_ms(), was_renewed=was_renewed),
        )

    def answer(after: SessionState) -> Answer | None:
        return answer_to(once, result(after), has_words=False)

    begun = (
        ev.TurnStarted(turn=turn, model=state.model)
        if position is None
        else ev.TurnQueued(turn=turn, position=position)
    )
    message = _message(params, turn, by, author)
    return result(
        await services.journal.append(lane, *touched.events, message, begun, onto=touched.onto, answer=answer)
    )


def _message(params: wire.SendParams, turn: str, by: str, author: str) -> ev.MessageUser:
    """The message by its author; who acts for another is kept beside."""
    return ev.MessageUser(
        turn=turn,
        author=author,
        via=by if author != by else None,
        content=params.content,
        metadata=params.metadata if params.metadata is not UNSET else None,
    )


def _check_content(call: Call, params: wire.SendParams) -> None:
    limit = call.services.limits.content_characters
    if len(params.content) > limit:
        raise errors.ContentTooLarge(length=len(params.content), limit=limit)
    check_metadata(call, params.metadata)


def _conclude(result: wire.SendResult, outcome: Outcome) -> None:
    """Add how the turn ended."""
    if outcome.message is not None:
        result.message = Raw(msgspec.json.encode(outcome.message))
    result.usage, result.cost_usd = outcome.usage, outcome.cost_usd
    result.finish_reason, result.failure = outcome.finish_reason, outcome.failure


HANDLERS = (bind(wire.SEND, send), bind(wire.STOP, stop))
