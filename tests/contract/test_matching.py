"""Whether a session is in a list: the predicate, the stores and the states of the journal agree."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sessions.journal import Journal
from gateway.sessions.lanes import Lanes
from gateway.sessions.state import Details, SessionState, decode
from gateway.sessions.watching import View
from gateway.storage.base import SessionQuery, Store
from gateway.storage.matching import may_be_newest
from tests.contract.stores import STORES
from tests.fakes import BEGINNING_MS, FakeClock
from tests.unit.sessions.logs import born
from tests.unit.sessions.watchhouse import POLICY

WORDS = st.sampled_from(["Weather in Ulm", "weather", "Straße", "we", "%", "a b", "İ", "x_y", ""])
LABELS = st.dictionaries(st.sampled_from(["team", "a.b\"c'd $"]), st.sampled_from(["red", "blue", "ü"]), max_size=2)
POOLS: dict[str, st.SearchStrategy[Any]] = {
    "tenant": st.sampled_from(["default", "other"]),
    "user": st.sampled_from(["ann", "bob"]),
    "agent": st.sampled_from(["echo", "coder"]),
    "channel": st.sampled_from(["api", "web", "weather"]),
    "model": st.sampled_from(["echo", "m"]),
    "source": st.sampled_from(["manual", "manual", "scheduled"]),
    "lifecycle": st.sampled_from(["live", "idle", "ended"]),
    "pinned": st.booleans(),
}


@st.composite
def crowds(draw: st.DrawFn) -> list[SessionState]:
    """Sessions that tie in much."""
    return [
        born(
            id=id,
            key=f"{draw(st.sampled_from(['k', 'we/', 'x:weather']))}{id}",
            **{name: draw(pool) for name, pool in POOLS.items()},
            project=draw(st.sampled_from([None, "p"])),
            message_count=draw(st.integers(0, 1)),
            resets=draw(st.sampled_from([0, 0, 1])),
            last_activity_at=BEGINNING_MS + draw(st.integers(0, 2)),
            archived_at=draw(st.sampled_from([None, None, 5])),
            deleted_at=draw(st.sampled_from([None, None, None, 5])),
            details=Details(title=draw(WORDS) or None, labels=draw(LABELS)),
        )
        for id in range(1, draw(st.integers(1, 12)) + 1)
    ]


@st.composite
def queries(draw: st.DrawFn) -> SessionQuery:
    """Anything that a list may ask for."""
    columns = draw(st.lists(st.sampled_from([*POOLS, "project"]), max_size=2, unique=True))
    pools = POOLS | {"project": st.just("p")}
    archived = draw(st.sampled_from([None, False, False, True]))
    return SessionQuery(
        tenant=draw(st.sampled_from([None, "default"])),
        visible_to=draw(st.sampled_from([None, "ann", "bob"])),
        owned_agents=draw(st.sampled_from([(), ("coder",)])),
        columns={name: draw(st.lists(pools[name], max_size=2)) for name in columns},
        labels=draw(st.sampled_from([{}, {}, {"team": "red"}, {"a.b\"c'd $": "ü"}])),
        archived=archived,
        updated_since=draw(st.sampled_from([None, None, BEGINNING_MS + 1])),
        search=draw(st.none() | WORDS.filter(bool)),
        search_agents=draw(st.sampled_from([(), ("coder",)])),
        include_empty=archived is not False or draw(st.booleans()),
        limit=100,
    )


async def keep(store: Store, states: Sequence[SessionState]) -> None:
    """Write them as the gateway does."""
    lanes, journal = Lanes(store), Journal(store, FakeClock(), lambda state: POLICY, ())
    for state in states:
        async with lanes.enter((state.tenant, state.key)) as lane:
            await journal.append(lane, onto=state)


async def found(store: Store, query: SessionQuery) -> list[int]:
    page = await store.sessions(query)
    assert page.total == len(page.sessions)
    return sorted(decode(stored.state, stored.details).id for stored in page.sessions)


def expected(states: Sequence[SessionState], query: SessionQuery) -> list[int]:
    """As a watch decides it, for each session alone."""
    view = View(query, lambda: query)
    newest: dict[tuple[str, str], int] = {}
    for state in states:
        if may_be_newest(state):
            newest[state.tenant, state.user] = state.id
    return [state.id for state in states if view.has(state, newest.get((state.tenant, state.user)))]


@pytest.mark.parametrize("name", STORES)
@settings(deadline=None, max_examples=60)
@given(states=crowds(), asked=st.lists(queries(), min_size=8, max_size=8))
def test_the_predicate_and_the_stores_agree(name: str, states: list[SessionState], asked: list[SessionQuery]) -> None:
    """Every filter, view, search and caller, with and without empty sessions; who is newest, too."""

    async def compare() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with STORES[name](Path(folder)) as store:
                await keep(store, states)
                for query in asked:
                    assert await found(store, query) == expected(states, query), query
                for limit in (1, 20):
                    candidates = [s.id for s in states if may_be_newest(s) and (s.tenant, s.user) == ("default", "ann")]
                    empty = [decode(s.state, s.details).id for s in await store.empty("default", "ann", limit)]
                    assert empty == candidates[::-1][:limit]

    asyncio.run(compare())
