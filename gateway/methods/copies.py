"""Sessions made from sessions: a fork, a transfer to another agent, a file brought back."""

import asyncio

from msgspec import UNSET

from gateway.rpc.handlers import bind
from gateway.services import Call
from gateway.sessions import copies, imports, lifecycle
from gateway.sessions.idempotency import Repeatable, answer_to
from gateway.sessions.imports import Header
from gateway.sessions.journal import Change, row_of
from gateway.sessions.lanes import Lane
from gateway.sessions.lifecycle import Birth
from gateway.sessions.state import SessionState
from gateway.sessions.transcript import decode_event
from gateway.storage.base import Answer, EventRow
from rpc_schema import copies as wire
from rpc_schema import errors
from rpc_schema.types import Lineage, Session

from .births import check_metadata, made_key

Fork, Transfer, Import = wire.ForkResult, wire.TransferResult, wire.ImportResult


async def fork(call: Call, params: wire.ForkParams) -> wire.ForkResult:
    """Copy a session up to a point; the copy belongs to the same user, whoever asks for it."""
    services = call.services
    once = call.repeatable(wire.FORK.name, params.key, params)
    async with call.session(params.key, "write") as lane:
        source = lane.session
        key = made_key(source.agent, once, services.clock.now_ms())
        call.hold((source.tenant, key))
        async with services.lanes.enter((source.tenant, key)) as target:
            earlier = await services.idempotency.earlier(once, Fork, lambda: Fork(session=_shown(call, target)))
            if earlier is not None:
                return earlier
            _check_free(target)
            return await _fork(call, source, target, params, once)


async def transfer(call: Call, params: wire.TransferParams) -> wire.TransferResult:
    """End a session and go on in another with another agent, both or neither."""
    services = call.services
    once = call.repeatable(wire.TRANSFER.name, params.key, params)
    async with call.session(params.key, "write") as lane:
        source = lane.session
        key = made_key(params.agent, once, services.clock.now_ms())
        call.hold((source.tenant, key))
        async with services.lanes.enter((source.tenant, key)) as target:
            earlier = await services.idempotency.earlier(
                once, Transfer, lambda: Transfer(source=services.summary(source), target=_shown(call, target))
            )
            if earlier is not None:
                _check_there(target)
                return earlier
            lifecycle.check_revision(source, params.if_revision)
            copies.check_transfer(source, params.agent)
            services.roster.agent(params.agent)
            _check_free(target)
            return await _transfer(call, lane, target, params.agent, once)


async def import_(call: Call, params: wire.ImportParams) -> wire.ImportResult:
    """Make a session of a file, under its key or one that is free."""
    services, now_ms = call.services, call.services.clock.now_ms()
    header = imports.header(params.data)
    wanted = params.key if params.key is not UNSET else header.key
    once = call.repeatable(wire.IMPORT.name, wanted, params)
    for key in imports.names(wanted, rename=params.on_conflict == "rename", now_ms=now_ms):
        call.hold(call.topic(key))
        async with services.lanes.enter(call.topic(key)) as lane:
            earlier = await services.idempotency.earlier(once, Import, _erased)
            if earlier is not None:
                return earlier
            if lane.is_free:
                return await _import(call, lane, header, params, once)
    raise errors.SessionExists


async def _fork(
    call: Call, source: SessionState, target: Lane, params: wire.ForkParams, once: Repeatable | None
) -> wire.ForkResult:
    call.check_serving()
    services, by = call.services, call.principal.user
    services.roster.agent(source.agent)
    until = copies.cut(source, params.at_seq)
    copied = await _conversation(call, source, until, params.at_seq is not UNSET)
    birth = copies.heir(
        source,
        id=await services.new_session_id(),
        key=target.topic[1],
        details=copies.titled(source.details, params.title),
    )
    origin = Lineage(key=source.key, seq=until)
    state, log = copies.fork(birth, origin, copied, by, services.clock.now_ms())
    result = Fork(session=services.summary(state))
    answer = answer_to(once, result, has_words=True)
    await services.journal.arrive(Change(target, state, await _rows(log)), answer)
    return result


async def _transfer(
    call: Call, lane: Lane, target: Lane, agent_id: str, once: Repeatable | None
) -> wire.TransferResult:
    call.check_serving()
    services, source, by = call.services, lane.session, call.principal.user
    agent = services.roster.agent(agent_id)
    birth = copies.heir(
        source,
        id=await services.new_session_id(),
        key=target.topic[1],
        agent=agent_id,
        provider=agent.provider,
        model=agent.model,
        is_model_override=False,
        source=source.source,
        pinned=source.pinned,
    )
    copied = await _conversation(call, source, source.head, is_asked=False)
    state, log = copies.succeed(birth, source.key, copied, by, services.clock.now_ms())
    result: wire.TransferResult | None = None

    def answer(after: SessionState) -> Answer | None:
        nonlocal result
        result = Transfer(source=services.summary(after), target=services.summary(state))
        return answer_to(once, result, has_words=True)

    arrival = Change(target, state, await _rows(log))
    limit = services.rules.limit_of(state)
    async with services.admission.room(state.tenant, state.user, agent_id, limit):
        handed_over = copies.hand_over(source, target.topic[1], by)
        await services.journal.append(lane, *handed_over, answer=answer, also=arrival)
    assert result is not None
    return result


async def _import(
    call: Call, lane: Lane, header: Header, params: wire.ImportParams, once: Repeatable | None
) -> wire.ImportResult:
    call.check_serving()
    services, user = call.services, call.principal.user
    check_metadata(call, header.metadata)
    birth = await _birth(call, lane.topic, header)
    rows = await asyncio.to_thread(imports.events, params.data, header)
    born, _ = lifecycle.create(birth, user, services.clock.now_ms())
    state = imports.settle(born, header, rows)
    limit = services.rules.limit_of(state)
    async with services.admission.room(state.tenant, user, state.agent, limit):
        result = Import(session=services.summary(state), events=len(rows))
        answer = answer_to(once, result, has_words=True)
        await services.journal.arrive(Change(lane, state, rows), answer)
    return result


async def _birth(call: Call, topic: tuple[str, str], header: Header) -> Birth:
    """The caller's own session, with the agent as it is configured here."""
    tenant, key = topic
    user, agent = call.principal.user, call.services.roster.agent(header.agent)
    call.require(call.resource(tenant, user, header.agent), "write")
    return Birth(
        id=await call.services.new_session_id(),
        tenant=tenant,
        key=key,
        user=user,
        agent=header.agent,
        provider=agent.provider,
        model=agent.model,
        is_model_override=False,
        channel=header.channel,
        source=header.source,
        project=header.project,
        pinned=header.pinned,
        details=imports.details(header),
        clamped=(),
    )


async def _conversation(call: Call, source: SessionState, until: int, is_asked: bool) -> copies.Events:
    """What is copied of a session up to there."""
    log = call.services.transcript.each(source.id, source.cleared_to, min(until + 1, source.head), copies.COPIED)
    events = [decode_event(row.body) async for row in log]
    if is_asked:
        copies.check_cut(source, until, events)
    running = source.turn.id if source.turn is not None else None
    return await asyncio.to_thread(
        copies.conversation, events, until=until, without=running, model=source.model, by=call.principal.user
    )


async def _rows(log: copies.Events) -> list[EventRow]:
    """A whole log for the store; a long one must not hold up everybody else."""
    return await asyncio.to_thread(lambda: [row_of(event) for event in log])


def _check_free(lane: Lane) -> None:
    if not lane.is_free:
        raise errors.SessionExists


def _check_there(lane: Lane) -> None:
    """Refuse a repeat of what made a session that is gone."""
    if lane.is_free:
        raise errors.SessionDeleted


def _shown(call: Call, lane: Lane) -> Session:
    """The session as it is now, where the answer went with its words."""
    _check_there(lane)
    return call.services.summary(call.check(lane.state, "read"))


def _erased() -> wire.ImportResult:
    """Refuse a repeat of an import whose answer went: how much was imported, and under which key, went with it."""
    raise errors.SessionDeleted


HANDLERS = (bind(wire.FORK, fork), bind(wire.TRANSFER, transfer), bind(wire.IMPORT, import_))
