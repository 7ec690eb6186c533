"""Finding sessions and reading what is in them."""

import msgspec
from msgspec import UNSET, Raw

from gateway.rpc.handlers import bind
from gateway.services import Call
from gateway.sessions.state import SessionState
from gateway.storage.base import EventQuery
from rpc_schema import directory as wire
from rpc_schema.types import Usage

from .exporting import next_piece

_MESSAGES = ("message.user", "message.assistant", "message.system")
_NO_END = 2**62


async def list_sessions(call: Call, params: wire.ListParams) -> wire.ListResult:
    """One page of summaries of what the caller may see."""
    found = await call.services.directory.list(params, call.visibility)
    return wire.ListResult(
        sessions=[call.services.summary(state) for state in found.sessions],
        next_cursor=found.next_cursor,
        total=found.total,
        total_is_lower_bound=found.total_is_lower_bound,
    )


async def search(call: Call, params: wire.SearchParams) -> wire.SearchResult:
    """One page of what was said, of what the caller may see."""
    matches = await call.services.search.search(params, call.visibility)
    return wire.SearchResult(
        matches=[wire.Match(**msgspec.structs.asdict(hit)) for hit in matches.hits],
        next_cursor=matches.next_cursor,
        incomplete=matches.is_incomplete,
    )


async def status(call: Call, params: wire.StatusParams) -> wire.StatusResult:
    """Everything about a session, with its newest messages."""
    services = call.services
    async with call.session(params.key, "read") as lane:
        state = lane.session
        messages = await _newest_messages(call, state, params.messages) if params.messages else []
    effective = services.rules.of(state)
    cached, read = state.cache_read_tokens, state.input_tokens
    return wire.StatusResult(
        session=services.summary(state),
        metadata=state.details.metadata,
        policy=effective.policy,
        policy_sources=effective.sources,
        messages=messages,
        usage=Usage(
            input_tokens=state.input_tokens,
            output_tokens=state.output_tokens,
            cache_read_tokens=state.cache_read_tokens,
            cache_write_tokens=state.cache_write_tokens,
        ),
        cache=wire.CacheUse(
            hit_rate=round(cached / read, 4) if read else 0.0,
            read_tokens=cached,
            write_tokens=state.cache_write_tokens,
        ),
    )


async def history(call: Call, params: wire.HistoryParams) -> wire.HistoryResult:
    """A page of the log."""
    async with call.session(params.key, "read") as lane:
        state = lane.session
        before = params.before if params.before is not UNSET else _NO_END
        page = await call.services.transcript.page(
            EventQuery(
                session=state.id,
                after=params.after if params.after is not UNSET else 0,
                before=min(before, state.head + 1),
                limit=params.limit,
                max_bytes=params.max_bytes,
                types=params.types if params.types is not UNSET else (),
                newest=params.after is UNSET,
            )
        )
    return wire.HistoryResult(
        events=[Raw(row.body) for row in page.events], has_more=page.has_more, head=state.head, epoch=state.epoch
    )


async def _newest_messages(call: Call, state: SessionState, count: int) -> list[Raw]:
    page = await call.services.transcript.page(
        EventQuery(
            session=state.id,
            after=0,
            before=state.head + 1,
            limit=count,
            max_bytes=4 * 1024 * 1024,
            types=_MESSAGES,
            newest=True,
        )
    )
    return [Raw(row.body) for row in page.events]


HANDLERS = (
    bind(wire.LIST, list_sessions),
    bind(wire.SEARCH, search),
    bind(wire.STATUS, status),
    bind(wire.HISTORY, history),
    bind(wire.EXPORT, next_piece),
)
