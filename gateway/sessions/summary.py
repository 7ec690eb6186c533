"""A session as the wire shows it. Pure."""

from gateway.clock import instant
from rpc_schema.conversation import SessionStatus
from rpc_schema.types import Policy, Session, TurnRef

from .deadlines import is_near_end, remaining_ms, shown_end_ms
from .state import SessionState


def summary(state: SessionState, policy: Policy, agent_name: str, now_ms: int) -> Session:
    """What lists carry: everything about a session but its words' history."""
    end = shown_end_ms(state, policy, now_ms)
    return Session(
        key=state.key,
        title=state.details.title,
        title_source=state.details.title_source,
        agent=state.agent,
        agent_name=agent_name,
        provider=state.provider,
        model=state.model,
        model_override=state.model if state.is_model_override else None,
        user=state.user,
        tenant=state.tenant,
        project=state.project,
        channel=state.channel,
        source=state.source,
        state=state.lifecycle,
        end_reason=state.end_reason,
        transferred_to=state.transferred_to,
        transferred_from=state.transferred_from,
        forked_from=state.forked_from,
        pinned=state.pinned,
        archived_at=instant(state.archived_at) if state.archived_at is not None else None,
        labels=state.details.labels,
        turn=TurnRef(id=state.turn.id, state="running") if state.turn is not None else None,
        queued=len(state.queue),
        message_count=state.message_count,
        input_tokens=state.input_tokens,
        output_tokens=state.output_tokens,
        cache_read_tokens=state.cache_read_tokens,
        cache_write_tokens=state.cache_write_tokens,
        tool_calls=state.tool_calls,
        compactions=state.compactions,
        resets=state.resets,
        cost_usd=state.cost_usd,
        renewal_count=state.renewal_count,
        created_at=instant(state.created_at),
        last_activity_at=instant(state.last_activity_at),
        ended_at=instant(state.ended_at) if state.ended_at is not None else None,
        expires_at=instant(end) if end is not None else None,
        time_remaining_ms=remaining_ms(state, policy, now_ms),
        is_near_expiration=is_near_end(state, policy, now_ms),
        revision=state.revision,
        head=state.head,
    )


def session_status(state: SessionState, policy: Policy, now_ms: int, *, was_renewed: bool) -> SessionStatus:
    """What a message did to the session's lifetime."""
    end = shown_end_ms(state, policy, now_ms)
    return SessionStatus(
        expires_at=instant(end) if end is not None else None,
        renewal_count=state.renewal_count,
        was_renewed=was_renewed,
        is_near_expiration=is_near_end(state, policy, now_ms),
    )
