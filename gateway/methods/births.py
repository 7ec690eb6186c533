"""Making a session: what create and a send with `create` have in common."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from gateway.auth.permissions import Resource
from gateway.ids import new_id
from gateway.services import Call
from gateway.sessions import lifecycle, policy
from gateway.sessions.idempotency import Repeatable
from gateway.sessions.lanes import Lane
from gateway.sessions.lifecycle import Birth
from gateway.sessions.state import Details, SessionState
from gateway.storage.base import Answer
from rpc_schema import errors
from rpc_schema.lifecycle import NewSession
from rpc_schema.types import Policy, PolicyPatch

MakeAnswer = Callable[[SessionState], Answer | None]


async def give_birth(call: Call, lane: Lane, params: NewSession, answer: MakeAnswer | None = None) -> SessionState:
    """Make the session of a lane that has none. The caller is in the lane.

    Raises:
        AgentNotFound, Forbidden, MetadataTooLarge, SessionLimit, ShuttingDown, StoreUnavailable.
    """
    call.check_serving()
    services = call.services
    birth = await _prepare(call, lane.topic[1], params)
    state, created = lifecycle.create(birth, call.principal.user, services.clock.now_ms())
    limit = services.rules.limit_of(state)
    async with services.admission.room(state.tenant, state.user, state.agent, limit):
        return await services.journal.append(lane, created, onto=state, answer=answer)


def made_key(agent: str, once: Repeatable | None, now_ms: int) -> str:
    """A key nobody has; a repeat of the same call gets the same one."""
    return f"{agent}:{once.scope.hex()[:26] if once is not None else new_id(now_ms)}"


def check_metadata(call: Call, metadata: Any) -> None:
    """Refuse more than may be kept."""
    if metadata is None or metadata is UNSET:
        return
    length, limit = len(msgspec.json.encode(metadata)), call.services.limits.metadata_bytes
    if length > limit:
        raise errors.MetadataTooLarge(length=length, limit=limit)


def check_model(call: Call, resource: Resource, rules: Policy) -> None:
    """Refuse another model than the agent's, unless the policy has the switch and the caller is an admin."""
    if not rules.allow_model_override:
        raise errors.Forbidden(required="a policy with allowModelOverride")
    call.require(resource, "override_model")


async def _prepare(call: Call, key: str, params: NewSession) -> Birth:
    """Check what the caller wants, and that they may want it."""
    services = call.services
    agent = services.roster.agent(params.agent)
    user = call.acting_for(params.user)
    resource = call.resource(call.tenant, user, params.agent)
    call.require(resource, "write")
    check_metadata(call, params.metadata)
    patch = params.policy if params.policy is not UNSET else PolicyPatch()
    overrides, clamped = policy.clamp(patch, services.rules.settings)
    model = agent.model if params.model is UNSET else params.model
    if model != agent.model:
        check_model(call, resource, services.rules.with_overrides(params.agent, overrides))
    title = None if params.title is UNSET else params.title
    return Birth(
        id=await services.new_session_id(),
        tenant=call.tenant,
        key=key,
        user=user,
        agent=params.agent,
        provider=agent.provider,
        model=model,
        is_model_override=model != agent.model,
        channel=params.channel,
        source=params.source,
        project=None if params.project is UNSET else params.project,
        pinned=params.pinned,
        details=Details(
            title=title,
            title_source=None if title is None else "user",
            labels=params.labels,
            metadata=params.metadata,
            policy=overrides,
        ),
        clamped=clamped,
    )
