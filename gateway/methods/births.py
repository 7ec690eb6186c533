"""Making a session: what create and a send with `create` have in common."""

from typing import Any

import msgspec
from msgspec import UNSET

from gateway.services import Call
from gateway.sessions import lifecycle, policy
from gateway.sessions.lifecycle import Birth
from gateway.sessions.state import Details, SessionState
from rpc_schema import errors
from rpc_schema import events as ev
from rpc_schema.lifecycle import NewSession
from rpc_schema.types import PolicyPatch


async def new_session(call: Call, key: str, params: NewSession) -> tuple[SessionState, ev.SessionCreated]:
    """The state and the first event of a session that the caller may make.

    Raises:
        AgentNotFound, Forbidden, InvalidPolicy, MetadataTooLarge.
    """
    services = call.services
    agent = services.roster.agent(params.agent)
    user = call.principal.user if params.user is UNSET else params.user
    resource = call.resource(call.principal.tenant, user, params.agent)
    if user != call.principal.user:
        call.require(resource, "act_for_others")
    call.require(resource, "write")
    check_metadata(call, params.metadata)
    patch = params.policy if params.policy is not UNSET else PolicyPatch()
    overrides, clamped = policy.clamp(patch, services.policy_settings())
    model = agent.model if params.model is UNSET else params.model
    rules = policy.effective(services.policy_settings(), services.roster.policy(params.agent), overrides).policy
    if model != agent.model and not rules.allow_model_override:
        raise errors.Forbidden(required="an agent whose policy has allowModelOverride")
    if model != agent.model:
        call.require(resource, "override_model")
    birth = Birth(
        id=await services.new_session_id(),
        tenant=call.principal.tenant,
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
            title=None if params.title is UNSET else params.title,
            title_source=None if params.title is UNSET else "user",
            labels=params.labels,
            metadata=params.metadata,
            policy=overrides,
        ),
        clamped=clamped,
    )
    return lifecycle.create(birth, call.principal.user, services.clock.now_ms())


def check_metadata(call: Call, metadata: Any) -> None:
    """Refuse more than may be kept."""
    if metadata is None or metadata is UNSET:
        return
    length, limit = len(msgspec.json.encode(metadata)), call.services.limits.metadata_bytes
    if length > limit:
        raise errors.MetadataTooLarge(length=length, limit=limit)
