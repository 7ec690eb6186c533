"""Beginning, changing, clearing and deleting a session.

Who asks is read once, before the first effect: a token that is revoked while a
turn is being stopped does not leave the call half done.
"""

from msgspec import UNSET

from gateway.rpc.handlers import bind
from gateway.services import Call
from gateway.sessions import lifecycle, policy
from gateway.sessions.idempotency import Repeatable, answer_to
from gateway.sessions.lanes import Lane
from gateway.sessions.state import SessionState
from gateway.storage.base import Answer
from rpc_schema import errors
from rpc_schema import lifecycle as wire
from rpc_schema.naming import camel

from .births import check_metadata, check_model, give_birth, made_key
from .bulk import one_or_many
from .following import subscribe_at


async def create(call: Call, params: wire.CreateParams) -> wire.CreateResult:
    """Make a session; the key must be free, a deleted session's may be used again."""
    services = call.services
    key = params.key if params.key is not UNSET else ""
    once = call.repeatable(wire.CREATE.name, key, params)
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
            if not lane.is_free:
                raise errors.SessionExists
            if params.subscribe:
                call.check_subscriptions()

            def answer(state: SessionState) -> Answer | None:
                nonlocal result
                result = wire.CreateResult(session=services.summary(state))
                return answer_to(once, result, has_words=True)

            await give_birth(call, lane, params, answer)
        assert result is not None
        if params.subscribe:
            result.subscription = subscribe_at(call, lane, lane.session.head)
    return result


async def update(call: Call, params: wire.UpdateParams) -> wire.SessionResult:
    """Change what people decide about a session: all that is asked for, or nothing."""
    check_metadata(call, params.metadata)
    async with call.session(params.key, "write") as lane:
        lifecycle.check_revision(lane.session, params.if_revision)
        change = _checked(call, lane.session, params)
        decision = lifecycle.update(
            lane.session, change, call.principal.user, call.services.rules.policy_of, call.services.clock.now_ms()
        )
        return await _carry_out(call, lane, decision)


async def renew(call: Call, params: wire.RenewParams) -> wire.SessionResult:
    """Give it its whole timeout again."""
    services = call.services
    once = call.repeatable(wire.RENEW.name, params.key, params)
    async with call.session(params.key, "write") as lane:
        earlier = await services.idempotency.earlier(
            once, wire.SessionResult, lambda: wire.SessionResult(session=services.summary(lane.session))
        )
        if earlier is not None:
            return earlier
        rules = services.rules.policy_of(lane.session)
        decision = lifecycle.renew(lane.session, rules, call.principal.user, services.clock.now_ms())
        return await _carry_out(call, lane, decision, once)


async def heartbeat(call: Call, params: wire.HeartbeatParams) -> wire.SessionResult:
    """Count as activity."""
    services = call.services
    async with call.session(params.key, "write") as lane:
        rules = services.rules.policy_of(lane.session)
        return await _carry_out(call, lane, lifecycle.touch(lane.session, rules, services.clock.now_ms()))


async def end(call: Call, key: str, params: wire.ManyParams) -> wire.SessionResult:
    """End it for good; its history stays."""
    async with call.session(key, "write") as lane:
        by = call.principal.user
        if lane.session.lifecycle != "ended":
            await call.services.turns.stop_all(lane, by=by, reason="ended")
        return await _carry_out(call, lane, lifecycle.end(lane.session, by, _who(by, lane)))


async def pause(call: Call, key: str, params: wire.ManyParams) -> wire.SessionResult:
    """Stop its running turn and its clock of inactivity."""
    async with call.session(key, "write") as lane:
        by = call.principal.user
        lifecycle.check_open(lane.session)
        if (turn := lane.session.turn) is not None:
            await call.services.turns.stop(lane, turn.id, by=by, reason="paused")
        return await _carry_out(call, lane, lifecycle.pause(lane.session, by, _who(by, lane)))


async def resume(call: Call, key: str, params: wire.ManyParams) -> wire.SessionResult:
    """Go on with the time that was left."""
    async with call.session(key, "write") as lane:
        by = call.principal.user
        lifecycle.check_open(lane.session)
        return await _carry_out(call, lane, lifecycle.resume(lane.session, by, _who(by, lane)))


async def archive(call: Call, key: str, params: wire.ManyParams) -> wire.SessionResult:
    """Put it away, read-only."""
    async with call.session(key, "write") as lane:
        now_ms = call.services.clock.now_ms()
        return await _carry_out(call, lane, lifecycle.archive(lane.session, call.principal.user, now_ms))


async def restore(call: Call, key: str, params: wire.ManyParams) -> wire.SessionResult:
    """Take it out of the archive."""
    async with call.session(key, "write") as lane:
        return await _carry_out(call, lane, lifecycle.restore(lane.session, call.principal.user))


async def reset(call: Call, key: str, params: wire.ClearParams) -> wire.ResetResult:
    """Clear its history and its queue."""
    services = call.services
    once = call.repeatable(wire.RESET.name, key, params)
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
        by = call.principal.user
        await services.turns.stop_all(lane, by=by, reason="reset")
        cleared = lifecycle.clear(lane.session, by)
        result: wire.ResetResult | None = None

        def answer(after: SessionState) -> Answer | None:
            nonlocal result
            result = wire.ResetResult(session=services.summary(after), previous_messages=cleared.messages_cleared)
            return answer_to(once, result, has_words=True)

        await services.journal.append(lane, cleared, answer=answer, purge_to=lane.session.head)
        assert result is not None
        return result


async def delete(call: Call, key: str, params: wire.ClearParams) -> wire.DeleteResult:
    """Delete it and all that was said in it."""
    services = call.services
    once = call.repeatable(wire.DELETE.name, key, params)
    deleted = wire.DeleteResult(deleted=True)
    async with services.lanes.enter(call.topic(key)) as lane:
        earlier = await services.idempotency.earlier(once, wire.DeleteResult, lambda: deleted)
        if earlier is not None:
            return earlier
        state = call.check(lane.state, "write")
        lifecycle.check_revision(state, params.if_revision)
        await services.turns.stop_all(lane, by=call.principal.user, reason="deleted")
        await services.journal.delete(lane, answer_to(once, deleted, has_words=False))
        return deleted


async def _carry_out(
    call: Call, lane: Lane, decision: lifecycle.Decision, once: Repeatable | None = None
) -> wire.SessionResult:
    """Write down what was decided, if anything was, and show the session."""
    services = call.services

    def answer(state: SessionState) -> Answer | None:
        result = wire.SessionResult(session=services.summary(state))
        return answer_to(once, result, has_words=True)

    if decision.events or decision.onto is not lane.session:
        await services.journal.append(lane, *decision.events, onto=decision.onto, answer=answer)
    return wire.SessionResult(session=services.summary(await services.expiry.settle(lane)))


def _who(by: str, lane: Lane) -> lifecycle.Who:
    """As what the caller acts on the session."""
    return "user" if by == lane.session.user else "admin"


def _checked(call: Call, state: SessionState, params: wire.UpdateParams) -> lifecycle.Change:
    """What an update comes to, with the model and policy as they would be."""
    services, own = call.services, state.details.policy
    overrides, clamped = own, state.clamped
    if params.policy is not UNSET:
        inherited = services.rules.of_agent(state.agent).policy
        overrides = policy.merge(own, params.policy, services.rules.settings, inherited)
        said = policy.overrides_of(params.policy) if params.policy is not None else own
        clamped = tuple(name for name in clamped if name not in map(camel, said))
    model, is_override = state.model, state.is_model_override
    if params.model is not UNSET:
        usual = services.roster.agent(state.agent).model
        model = params.model or usual
        is_override = model != usual
        if model != state.model:
            resource = call.resource(state.tenant, state.user, state.agent)
            check_model(call, resource, services.rules.with_overrides(state.agent, overrides))
    return lifecycle.Change(asked=params, model=model, is_model_override=is_override, policy=overrides, clamped=clamped)


HANDLERS = (
    bind(wire.CREATE, create),
    bind(wire.UPDATE, update),
    bind(wire.END, one_or_many(end)),
    bind(wire.PAUSE, one_or_many(pause)),
    bind(wire.RESUME, one_or_many(resume)),
    bind(wire.RENEW, renew),
    bind(wire.HEARTBEAT, heartbeat),
    bind(wire.ARCHIVE, one_or_many(archive)),
    bind(wire.RESTORE, one_or_many(restore)),
    bind(wire.RESET, one_or_many(reset)),
    bind(wire.DELETE, one_or_many(delete)),
)
