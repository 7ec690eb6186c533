"""Exporting: which sessions, one after the other, and what of them is the next piece."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from msgspec import UNSET

from gateway.hub.hub import Topic
from gateway.services import Call
from gateway.sessions import chat_list, export, markdown
from gateway.sessions.export import Piece, Place
from gateway.sessions.lanes import Lane
from gateway.sessions.state import SessionState
from rpc_schema import errors
from rpc_schema.directory import ExportParams, ExportResult, ListParams, Sort

_AT_A_TIME = 50
_MEDIA = {
    "jsonl": ("application/jsonl", "jsonl"),
    "markdown": ("text/markdown; charset=utf-8", "md"),
    "openai": ("application/json", "json"),
}


async def next_piece(call: Call, params: ExportParams) -> ExportResult:
    """Some more of the file, and the cursor of the rest."""
    _check_asked(call, params)
    cursors, question = call.services.cursors, _question(call, params)
    if params.cursor is not UNSET:
        place: Place | None = export.unpack(cursors.open(question, params.cursor)[0])
    else:
        place = await _next_session(call, params, None)
    data, rest = b"", None
    if place is not None:
        piece = await _piece(call, params, place)
        data, rest = piece.data, piece.next or await _next_session(call, params, place)
    media_type, extension = _media(params)
    return ExportResult(
        data=data.decode(),
        media_type=media_type,
        filename=f"{_filename(params)}.{extension}",
        next_cursor=cursors.make(question, [export.pack(rest)]) if rest is not None else None,
    )


def _check_asked(call: Call, params: ExportParams) -> None:
    """Refuse what says nothing or two things, and to find sessions without the scope for it; a key is asked later."""
    if sum(given is not UNSET for given in (params.key, params.keys, params.filter)) != 1:
        raise errors.InvalidParams(path="$.key", reason="give one of `key`, `keys` and `filter`")
    if params.filter is not UNSET:
        call.require_scope("sessions:read")
        if params.tenant is not UNSET:
            raise errors.InvalidParams(path="$.tenant", reason="with a filter, name the tenant in it")


def _question(call: Call, params: ExportParams) -> bytes:
    """What a cursor belongs to: who asks, for what and how; the size of a piece may change."""
    who = (call.principal.tenant, call.principal.user, call.tenant)
    asked = [None if part is UNSET else part for part in (params.key, params.keys, params.filter)]
    return msgspec.json.encode(["export", params.format, who, asked], order="deterministic")


async def _piece(call: Call, params: ExportParams, place: Place) -> Piece:
    """What comes next of the session at a place; a match that went before its turn has nothing."""
    try:
        async with _session(call, _topic(call, params, place)) as lane:
            export.check_log(lane.session, place)
            return await _read(call, lane.session, place, params)
    except (errors.SessionNotFound, errors.SessionDeleted):
        if params.filter is UNSET or place.after or place.given:
            raise
        return Piece(b"", None)


async def _read(call: Call, state: SessionState, place: Place, params: ExportParams) -> Piece:
    transcript = call.services.transcript
    match params.format:
        case "jsonl":
            return await export.lines(transcript, state, place, params.max_bytes)
        case "markdown":
            name = call.services.roster.name(state.agent)
            return await export.page(transcript, state, place, params.max_bytes, name)
        case "openai":
            return await chat_list.piece(transcript, state, place, params.max_bytes)


async def _next_session(call: Call, params: ExportParams, last: Place | None) -> Place | None:
    """Where the next session's part begins; None after the last one."""
    if params.filter is not UNSET:
        return await _next_match(call, params, last)
    index = last.index + 1 if last is not None else 0
    keys = _keys(params)
    if index == len(keys):
        return None
    async with call.session(keys[index], "read") as lane:
        place = _begin(call, params, lane.session)
    place.index = index
    return place


async def _next_match(call: Call, params: ExportParams, last: Place | None) -> Place | None:
    """The same for a filter: sessions in the order they were made; what is gone meanwhile matches no more."""
    waiting, more = (last.waiting[1:], last.more) if last is not None else ([], "")
    while waiting or more is not None:
        if not waiting:
            waiting, more = await _matches(call, params, more or "")
            continue
        try:
            async with _session(call, waiting[0]) as lane:
                place = _begin(call, params, lane.session)
        except (errors.SessionNotFound, errors.SessionDeleted):
            waiting = waiting[1:]
            continue
        place.waiting, place.more = waiting, more
        return place
    return None


async def _matches(call: Call, params: ExportParams, cursor: str) -> tuple[list[Topic], str | None]:
    question = ListParams(
        view="all",
        filter=params.filter,
        sort=Sort(by="createdAt", direction="asc"),
        cursor=cursor or UNSET,
        limit=_AT_A_TIME,
        include_empty=True,
    )
    found = await call.services.directory.list(question, call.visibility)
    return [(state.tenant, state.key) for state in found.sessions], found.next_cursor


def _begin(call: Call, params: ExportParams, state: SessionState) -> Place:
    services = call.services
    match params.format:
        case "jsonl":
            policy = services.rules.policy_of(state)
            header = export.header(services.summary(state), policy, state.details.metadata)
        case "markdown":
            header = markdown.header(services.summary(state))
        case "openai":
            header = chat_list.LIST if params.key is not UNSET else chat_list.LINE
    return Place(epoch=state.epoch, cleared_to=state.cleared_to, after=0, to=state.head, header=header)


@asynccontextmanager
async def _session(call: Call, topic: Topic) -> AsyncIterator[Lane]:
    """As `Call.session`, for one whose tenant is known."""
    async with call.services.lanes.enter(topic) as lane:
        await call.inside(lane, "read")
        yield lane


def _topic(call: Call, params: ExportParams, place: Place) -> Topic:
    """The session at a place."""
    return place.waiting[0] if place.waiting else call.topic(_keys(params)[place.index])


def _keys(params: ExportParams) -> list[str]:
    """The keys asked for, duplicates once."""
    if params.key is not UNSET:
        return [params.key]
    return list(dict.fromkeys(params.keys)) if params.keys is not UNSET else []


def _media(params: ExportParams) -> tuple[str, str]:
    """Media type and extension; lists of several sessions are lines."""
    is_list = params.format == "openai" and params.key is not UNSET
    return _MEDIA["jsonl" if params.format == "openai" and not is_list else params.format]


def _filename(params: ExportParams) -> str:
    """A name that every file system takes."""
    keys = _keys(params)
    if len(keys) != 1:
        return f"{len(keys)}-sessions" if keys else "sessions"
    safe = "".join(character if character.isalnum() or character in "-_." else "-" for character in keys[0])
    return safe.strip(".-")[:80] or "session"
