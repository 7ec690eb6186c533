"""Beginning, changing, clearing and deleting a session."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec import UNSET

from gateway.rpc.handlers import bind
from gateway.services import Call
from gateway.sessions import lifecycle
from gateway.sessions.state import SessionState
from gateway.storage.base import Answer
from rpc_schema import errors
from rpc_schema import lifecycle as wire
from rpc_schema.types import BulkItem, BulkResult, Wire

from .births import check_metadata, give_birth, made_key
from .following import subscribe_at

R = TypeVar("R", bound=Wire)


async def create(call: Call, params: wire.CreateParams) -> wire.CreateResult:
    """Make a session; the key must be free, a deleted session's may be used again."""
    services = call.services
    key = params.key if params.key is not UNSET else ""
    once = services.idempotency.repeatable(call.principal, wire.CREATE.name, key, params)
    if params.key is UNSET:
        key = made_key(params.agent, once, services.clock.now_ms())
    topic = call.topic(key)
    call.hold(topic)
    async with services.lanes.enter(topic) as lane:
        result = await services.idempotency.earlier(
            once, wire.CreateResult, lambda: wire.CreateResult(session=services.summary(call.check(lane.state, "read")))
        )
        if result is not None:
            call.check(lane.state, "read")
        else:
            if lane.state is not None and lane.state.deleted_at is None:
                raise errors.SessionExists
            if params.subscribe:
                call.check_subscriptions()

            def answer(state: SessionState) -> Answer | None:
                nonlocal result
                result = wire.CreateResult(session=services.summary(state))
                return once.answer(result, has_words=True) if once is not None else None

            await give_birth(call, lane, params, answer)
        assert result is not None
        if params.subscribe:
            result.subscription = subscribe_at(call, lane, lane.session.head)
    return result


async def update(call: Call, params: wire.UpdateParams) -> wire.SessionResult:
    """Change what people decide about a session."""
    check_metadata(call, params.metadata)
    async with call.session(params.key, "write") as lane:
        lifecycle.check_revision(lane.session, params.if_revision)
        if events := lifecycle.update(lane.session, params, call.principal.user):
            await call.services.journal.append(lane, *events)
        return wire.SessionResult(session=call.services.summary(lane.session))


async def reset(call: Call, params: wire.ManyParams) -> wire.ResetResult | BulkResult:
    """Clear one session or many."""
    return await _each(call, params, _reset)


async def delete(call: Call, params: wire.ManyParams) -> wire.DeleteResult | BulkResult:
    """Delete one session or many."""
    return await _each(call, params, _delete)


async def _reset(call: Call, key: str, params: wire.ManyParams) -> wire.ResetResult:
    services = call.services
    once = services.idempotency.repeatable(call.principal, wire.RESET.name, key, params)
    async with call.session(key, "write") as lane:
        earlier = await services.idempotency.earlier(
            once,
            wire.ResetResult,
            lambda: wire.ResetResult(session=services.summary(lane.session), previous_messages=0),
        )
        if earlier is not None:
            return earlier
        lifecycle.check_revision(lane.session, params.if_revision)
        if lane.session.archived_at is not None:
            raise errors.SessionArchived
        await services.turns.stop_all(lane, by=call.principal.user, reason="reset")
        cleared = lifecycle.clear(lane.session, call.principal.user)

        result: wire.ResetResult | None = None

        def answer(after: SessionState) -> Answer | None:
            nonlocal result
            result = wire.ResetResult(session=services.summary(after), previous_messages=cleared.messages_cleared)
            return once.answer(result, has_words=True) if once is not None else None

        await services.journal.append(lane, cleared, answer=answer, purge_to=lane.session.head)
        assert result is not None
        return result


async def _delete(call: Call, key: str, params: wire.ManyParams) -> wire.DeleteResult:
    services = call.services
    once = services.idempotency.repeatable(call.principal, wire.DELETE.name, key, params)
    deleted = wire.DeleteResult(deleted=True)
    async with services.lanes.enter(call.topic(key)) as lane:
        earlier = await services.idempotency.earlier(once, wire.DeleteResult, lambda: deleted)
        if earlier is not None:
            return earlier
        state = call.check(lane.state, "write")
        lifecycle.check_revision(state, params.if_revision)
        await services.turns.stop_all(lane, by=call.principal.user, reason="deleted")
        await services.journal.delete(lane, once.answer(deleted, has_words=False) if once is not None else None)
        return deleted


async def _each(
    call: Call, params: wire.ManyParams, one: Callable[[Call, str, wire.ManyParams], Awaitable[R]]
) -> R | BulkResult:
    """Do it to the one session named, or to each of many: what fails for one is its own result."""
    if (params.key is UNSET) == (params.keys is UNSET):
        raise errors.InvalidParams(path="$.key", reason="give either `key` or `keys`")
    if params.key is not UNSET:
        return await one(call, params.key, params)
    assert params.keys is not UNSET
    results = []
    for key in dict.fromkeys(params.keys):
        try:
            results.append(BulkItem(key=key, ok=True, result=await one(call, key, params)))
        except errors.RpcError as error:
            results.append(BulkItem(key=key, ok=False, error=error.to_wire()))
    succeeded = sum(item.ok for item in results)
    return BulkResult(results=results, succeeded=succeeded, failed=len(results) - succeeded)


HANDLERS = (
    bind(wire.CREATE, create),
    bind(wire.UPDATE, update),
    bind(wire.RESET, reset),
    bind(wire.DELETE, delete),
)
