"""Finding sessions and reading what is in them."""

import msgspec
from msgspec import UNSET, Raw

from gateway.rpc.handlers import bind
from gateway.services import Call
from gateway.sessions import export as exports
from gateway.sessions.directory import Visibility
from gateway.sessions.export import Place
from gateway.sessions.state import SessionState
from gateway.storage.base import EventQuery
from rpc_schema import directory as wire
from rpc_schema import errors
from rpc_schema.types import Usage

_MESSAGES = ("message.user", "message.assistant", "message.system")
_NO_END = 2**62


async def list_sessions(call: Call, params: wire.ListParams) -> wire.ListResult:
    """One page of summaries of what the caller may see."""
    principal = call.principal
    seen = Visibility(
        tenant=None if principal.is_everywhere else principal.home,
        user=None if principal.is_admin else principal.user,
    )
    found = await call.services.directory.list(params, seen)
    return wire.ListResult(
        sessions=[call.services.summary(state) for state in found.sessions],
        next_cursor=found.next_cursor,
        total=found.total,
        total_is_lower_bound=found.total_is_lower_bound,
    )


async def status(call: Call, params: wire.StatusParams) -> wire.StatusResult:
    """Everything about a session, with its newest messages."""
    services = call.services
    async with call.session(params.key, "read") as lane:
        state = lane.session
        messages = await _newest_messages(call, state, params.messages) if params.messages else []
    effective = services.policy(state)
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


async def export(call: Call, params: wire.ExportParams) -> wire.ExportResult:
    """The next piece of the file."""
    if (params.key is UNSET) == (params.keys is UNSET):
        raise errors.InvalidParams(path="$.key", reason="give either `key` or `keys`")
    keys = [params.key] if params.key is not UNSET else list(dict.fromkeys(params.keys or ()))
    place = exports.open_cursor(params.cursor, keys) if params.cursor is not UNSET else None
    index = place.index if place is not None else 0
    async with call.session(keys[index], "read") as lane:
        if place is None:
            place = _begin(call, keys, index, lane.session)
        piece = await exports.piece(call.services.transcript, lane.session, place, params.max_bytes)
    if not piece.is_last:
        place.after, next_place = piece.after, place
    elif index + 1 < len(keys):
        async with call.session(keys[index + 1], "read") as lane:
            next_place = _begin(call, keys, index + 1, lane.session)
    else:
        next_place = None
    return wire.ExportResult(
        data=piece.data.decode(),
        media_type="application/jsonl",
        filename=_filename(keys),
        next_cursor=exports.make_cursor(next_place) if next_place is not None else None,
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


def _begin(call: Call, keys: list[str], index: int, state: SessionState) -> Place:
    summary = msgspec.to_builtins(call.services.summary(state))
    policy = msgspec.to_builtins(call.services.policy(state).policy)
    return Place(
        keys=exports.name_keys(keys),
        index=index,
        epoch=state.epoch,
        cleared_to=state.cleared_to,
        after=0,
        to=state.head,
        header=exports.header({**summary, "policy": policy, "metadata": state.details.metadata}),
    )


def _filename(keys: list[str]) -> str:
    """A name that every file system takes."""
    if len(keys) > 1:
        return f"{len(keys)}-sessions.jsonl"
    safe = "".join(character if character.isalnum() or character in "-_." else "-" for character in keys[0])
    return f"{safe.strip('.-')[:80] or 'session'}.jsonl"


HANDLERS = (
    bind(wire.LIST, list_sessions),
    bind(wire.STATUS, status),
    bind(wire.HISTORY, history),
    bind(wire.EXPORT, export),
)
