"""Stand-ins: a clock turned by hand, a store in memory, a store that fails, agents that do as they are told."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec.structs import replace

from gateway.agents.base import Finish, Output, Turn
from gateway.storage.base import (
    COUNT_LIMIT,
    Commit,
    EventPage,
    EventQuery,
    EventRow,
    Retimed,
    SearchHit,
    SearchPage,
    SearchQuery,
    SessionPage,
    SessionQuery,
    SessionRow,
    StoredAnswer,
    StoredSession,
    StoreFault,
    Tally,
    TokenRow,
)
from gateway.storage.matching import is_asked_for, is_hidden, may_be_newest
from gateway.storage.words import SEARCHED, Matcher, spoken

BEGINNING_MS = 1_795_167_000_123  # 2026-11-20T09:30:00.123Z


class FakeClock:
    """Time that passes when it is told to; `up_s` is how long the machine has been up."""

    def __init__(self, now_ms: int = BEGINNING_MS, up_s: float = 0) -> None:
        self._now_ms = now_ms
        self._up_s = up_s
        self._passed_ms = 0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return self._up_s + self._passed_ms / 1000

    def advance(self, *, minutes: float = 0, seconds: float = 0, ms: int = 0) -> None:
        """Let time pass."""
        passed_ms = round(minutes * 60_000 + seconds * 1000) + ms
        self._now_ms += passed_ms
        self._passed_ms += passed_ms

    def set_wall(self, *, by_ms: int) -> None:
        """Turn the wall clock alone, as people do and as the sleep of a laptop does."""
        self._now_ms += by_ms


Script = Callable[[Turn, Output], Awaitable[Finish | None]]


class ScriptedAgent:
    """An agent whose turns are a function of the test's; keeps what it was shown in `turns`."""

    kind = "echo"
    provider = "fake"
    model = "fake-1"

    def __init__(self, id: str, script: Script) -> None:
        self.id, self.script = id, script
        self.turns: list[Turn] = []
        self.why_not: str | None = None

    def unavailable(self) -> str | None:
        return self.why_not

    async def run(self, turn: Turn, out: Output) -> Finish:
        self.turns.append(turn)
        return await self.script(turn, out) or "stop"

    async def close(self) -> None:
        """Nothing is held."""


async def forever() -> None:
    """Wait for the end of the test, or a cancellation."""
    await asyncio.Event().wait()


class MemoryStore:
    """A Store that forgets everything with the process; `failing` makes it refuse."""

    def __init__(self) -> None:
        self._rows: dict[int, SessionRow] = {}
        self._details: dict[int, bytes] = {}
        self._events: dict[int, dict[int, EventRow]] = {}
        self._seqs: dict[int, set[int]] = {}
        self._order: list[tuple[int, int]] = []
        self._chunks: dict[int, list[bytes]] = {}
        self._answers: dict[bytes, tuple[StoredAnswer, int, bool]] = {}
        self._notes: dict[tuple[str, str], bytes] = {}
        self._tokens: dict[str, TokenRow] = {}
        self._last_session = 0
        self._is_failing = self._is_closed = False

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Meanwhile every call is a StoreFault."""
        self._is_failing = True
        try:
            yield
        finally:
            self._is_failing = False

    async def next_session_id(self) -> int:
        self._last_session += 1
        return self._last_session

    def commit(self, commit: Commit) -> "asyncio.Future[None]":
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        try:
            self._apply(commit)
        except StoreFault as fault:
            loop.call_soon(_settle, done, fault)
        else:
            loop.call_soon(_settle, done, None)
        return done

    async def load(self, tenant: str, key: str) -> StoredSession | None:
        await self._answer()
        ids = [row.id for row in self._rows.values() if (row.tenant, row.key) == (tenant, key)]
        return self._stored(max(ids)) if ids else None

    async def events(self, query: EventQuery) -> EventPage:
        await self._answer()
        log = self._events.get(query.session, {})
        found = [log[seq] for seq in sorted(log, reverse=query.newest) if query.after < seq < query.before]
        found = [event for event in found if not query.types or event.type in query.types]
        page, size = list[EventRow](), 0
        for event in found[: query.limit]:
            size += len(event.body)
            if page and size > query.max_bytes:
                break
            page.append(event)
        return EventPage(page[::-1] if query.newest else page, len(page) < len(found))

    async def chunks(self, session: int) -> list[bytes]:
        await self._answer()
        return list(self._chunks.get(session, ()))

    async def sessions(self, query: SessionQuery) -> SessionPage:
        await self._answer()
        there = [row for row in self._rows.values() if row.deleted_at is None]
        found = [row for row in there if self._is_asked_for(row, query) and not self._is_hidden(row, there, query)]
        places = sorted(((self._place(row, query), row.id) for row in found), reverse=query.descending)
        if query.after is not None:
            limit = tuple(query.after)
            places = [p for p in places if (p[0] < limit if query.descending else p[0] > limit)]
        page = places[: query.limit]
        last = page[-1][0] if len(places) > len(page) else None
        return SessionPage([self._stored(id) for _, id in page], last, min(len(found), COUNT_LIMIT + 1))

    async def empty(self, tenant: str, user: str, limit: int) -> list[StoredSession]:
        await self._answer()
        mine = [row for row in self._rows.values() if (row.tenant, row.user) == (tenant, user)]
        ids = sorted((row.id for row in mine if may_be_newest(row)), reverse=True)
        return [self._stored(id) for id in ids[:limit]]

    async def search(self, query: SearchQuery) -> SearchPage:
        await self._answer()
        matcher, found = Matcher(query.terms), list[tuple[int, SearchHit]]()
        for place, (id, seq) in reversed(list(enumerate(self._order[: query.before]))):
            row, event = self._rows.get(id), self._events[id].get(seq)
            if row is None or event is None or event.type not in SEARCHED or row.deleted_at is not None:
                continue
            text, at = spoken(event.body)
            if matcher.matches(text) and self._is_asked_for(row, query.sessions):
                hit = SearchHit(key=row.key, seq=seq, type=event.type, snippet=matcher.snippet(text), at=at)
                found.append((place, hit))
        page = found[: query.limit]
        return SearchPage([hit for _, hit in page], page[-1][0] if len(found) > len(page) else None)

    async def busy(self) -> list[StoredSession]:
        await self._answer()
        return [self._stored(id) for id in sorted(self._rows) if self._rows[id].is_busy]

    async def counts(self) -> dict[str, int]:
        await self._answer()
        states = [row.lifecycle for row in self._rows.values() if row.deleted_at is None]
        return {state: states.count(state) for state in states}

    async def count_open(self, tenant: str, user: str, agent: str) -> int:
        await self._answer()
        there = [row for row in self._rows.values() if row.deleted_at is None and row.lifecycle != "ended"]
        return sum((row.tenant, row.user, row.agent) == (tenant, user, agent) for row in there)

    async def expiring(self, now_ms: int) -> int:
        await self._answer()
        spans = [(row.warn_at, row.expires_at) for row in self._rows.values()]
        return sum(warn is not None and end is not None and warn <= now_ms < end for warn, end in spans)

    async def tally(self, tenant: str | None, user: str | None, owned_agents: Sequence[str], now_ms: int) -> Tally:
        await self._answer()
        there = [row for row in self._rows.values() if row.deleted_at is None and tenant in (None, row.tenant)]
        seen = [row for row in there if user in (None, row.user) or row.agent in owned_agents]
        states = [row.lifecycle for row in seen]
        ends = [(row.warn_at, row.expires_at) for row in seen if row.warn_at is not None and row.expires_at is not None]
        near = sum(warn <= now_ms < end for warn, end in ends)
        busy = sum(row.is_busy and row.lifecycle != "paused" for row in seen)
        return Tally({state: states.count(state) for state in states}, near, busy)

    async def load_many(self, topics: Sequence[tuple[str, str]]) -> dict[tuple[str, str], StoredSession]:
        found = {topic: await self.load(*topic) for topic in topics}
        return {topic: stored for topic, stored in found.items() if stored is not None}

    async def topics(self, sessions: Sequence[int]) -> dict[int, tuple[str, str]]:
        await self._answer()
        return {id: (self._rows[id].tenant, self._rows[id].key) for id in sessions if id in self._rows}

    async def due(self, after: tuple[int, int], until_ms: int, limit: int) -> list[tuple[int, int, int | None]]:
        await self._answer()
        rows = sorted(self._rows.values(), key=lambda row: (row.due_at or 0, row.id))
        places = [(row.due_at, row.id, row.expires_at) for row in rows if row.due_at is not None]
        return [place for place in places if place[:2] > after and place[0] <= until_ms][:limit]

    async def timed(self, agent: str | None, after: int, limit: int) -> list[tuple[int, StoredSession]]:
        await self._answer()
        there = [row for row in self._rows.values() if agent in (None, row.agent) and row.deleted_at is None]
        timed = [row.id for row in there if row.lifecycle != "ended" or row.archived_at is None]
        return [(id, self._stored(id)) for id in sorted(timed) if id > after][:limit]

    async def retime(self, sessions: Sequence[Retimed]) -> None:
        await self._answer()
        for new in sessions:
            row = self._rows.get(new.id)
            if row is not None and row.state == new.state:
                row.due_at, row.warn_at, row.expires_at = new.due_at, new.warn_at, new.expires_at

    async def notes(self, kind: str) -> dict[str, bytes]:
        await self._answer()
        return {name: value for (of, name), value in self._notes.items() if of == kind}

    async def note(self, kind: str, name: str, value: bytes | None) -> None:
        await self._answer()
        self._notes.pop((kind, name), None)
        if value is not None:
            self._notes[kind, name] = value

    async def answer(self, scope: bytes) -> StoredAnswer | None:
        await self._answer()
        return self._answers[scope][0] if scope in self._answers else None

    async def prune_answers(self, before_ms: int) -> None:
        await self._answer()
        self._answers = {scope: kept for scope, kept in self._answers.items() if kept[1] >= before_ms}

    async def tokens(self) -> list[TokenRow]:
        await self._answer()
        return list(self._tokens.values())

    async def add_token(self, token: TokenRow) -> None:
        await self._answer()
        if token.id in self._tokens or token.hash in {row.hash for row in self._tokens.values()}:
            raise StoreFault("there already")
        self._tokens[token.id] = token

    async def revoke_token(self, id: str, at_ms: int) -> None:
        await self._answer()
        if id in self._tokens and self._tokens[id].revoked_at is None:
            self._tokens[id] = replace(self._tokens[id], revoked_at=at_ms)

    async def touch_tokens(self, used_ms: Mapping[str, int]) -> None:
        await self._answer()
        for id in used_ms.keys() & self._tokens.keys():
            self._tokens[id] = replace(self._tokens[id], last_used_at=used_ms[id])

    async def writable(self) -> bool:
        return not self._is_failing and not self._is_closed

    async def close(self) -> None:
        self._is_closed = True

    async def _answer(self) -> None:
        """Take a moment, as a real store does."""
        await asyncio.sleep(0)
        if self._is_failing or self._is_closed:
            raise StoreFault("told to fail")

    def _apply(self, commit: Commit) -> None:
        """Refuse first, then do all of it, and what belongs to it."""
        self._check(commit)
        if commit.also is not None:
            self._check(commit.also)
            self._do(commit.also)
        self._do(commit)

    def _check(self, commit: Commit) -> None:
        id, seqs = commit.session, [event.seq for event in commit.events]
        is_repeated = len(set(seqs)) < len(seqs) or bool(self._seqs.get(id, set()) & set(seqs))
        is_answered = commit.answer is not None and commit.answer.scope in self._answers
        if self._is_failing or self._is_closed or is_repeated or is_answered:
            raise StoreFault("told to fail, or already there")

    def _do(self, commit: Commit) -> None:
        id, seqs = commit.session, [event.seq for event in commit.events]
        log = self._events.setdefault(id, {})
        if commit.purge_to is not None:
            self._events[id] = log = {seq: event for seq, event in log.items() if seq > commit.purge_to}
        if commit.forget:
            self._forget(id)
        if commit.drop_chunks:
            self._chunks.pop(id, None)
        log |= {event.seq: event for event in commit.events}
        self._seqs.setdefault(id, set()).update(seqs)
        self._order += [(id, seq) for seq in seqs]
        self._chunks.setdefault(id, []).extend(commit.chunks)
        if commit.row is not None:
            self._rows[id] = commit.row
        if commit.details is not None:
            self._details[id] = commit.details
        if (new := commit.answer) is not None:
            self._answers[new.scope] = StoredAnswer(new.fingerprint, id, new.result), new.at, new.has_words

    def _forget(self, id: int) -> None:
        self._details.pop(id, None)
        self._chunks.pop(id, None)
        for scope, (stored, at, has_words) in self._answers.items():
            if has_words and stored.session == id:
                self._answers[scope] = StoredAnswer(stored.fingerprint, id, None), at, has_words

    def _stored(self, id: int) -> StoredSession:
        return StoredSession(self._rows[id].state, self._details.get(id))

    def _words(self, row: SessionRow) -> Any:
        return msgspec.json.decode(self._details.get(row.id, b"{}"))

    def _is_asked_for(self, row: SessionRow, query: SessionQuery) -> bool:
        words = self._words(row)
        return is_asked_for(query, row, words.get("title") or "", words.get("labels", {}))

    def _is_hidden(self, row: SessionRow, there: Sequence[SessionRow], query: SessionQuery) -> bool:
        if query.include_empty:
            return False
        mine = (other for other in there if (other.tenant, other.user) == (row.tenant, row.user))
        return is_hidden(row, max((other.id for other in mine if may_be_newest(other)), default=None))

    def _place(self, row: SessionRow, query: SessionQuery) -> tuple[Any, ...]:
        by: dict[str, tuple[Any, ...]] = {
            "default": (int(row.pinned), row.last_activity_at),
            "lastActivityAt": (row.last_activity_at,),
            "createdAt": (row.created_at,),
            "title": ((self._words(row).get("title") or "").casefold(),),
            "key": (row.key,),
            "agent": (row.agent,),
            "channel": (row.channel,),
            "state": (row.lifecycle,),
            "messageCount": (row.message_count,),
            "tokens": (row.tokens,),
            "costUsd": (-1.0 if row.cost_usd is None else row.cost_usd,),
        }
        return (*by[query.by], row.id)


def _settle(done: "asyncio.Future[None]", fault: StoreFault | None) -> None:
    if done.done():
        return
    if fault is None:
        done.set_result(None)
    else:
        done.set_exception(fault)
