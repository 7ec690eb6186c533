"""What every Store guarantees of commits, logs, chunks and answers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.storage.base import Commit, EventPage, EventQuery, Store, StoreFault
from tests.contract.stores import (
    NO_END,
    STORES,
    answer,
    commit_all,
    event,
    ids_of,
    row,
    said,
    seqs_of,
    session,
)


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with asyncio.timeout(30), STORES[request.param](tmp_path) as opened:
        yield opened


async def test_what_was_committed_is_there(store: Store) -> None:
    """The row, the words, the events, the chunks and the answer of one commit, as they were given."""
    whole = session(1, title="hi", key="k")
    whole.events, whole.chunks = [event(1, "one"), event(2, "two")], [b"a", b"b"]
    whole.answer = answer(b"s", b"said", has_words=True)
    await store.commit(whole)
    stored = await store.load("default", "k")
    assert stored is not None
    assert (stored.state, stored.details) == (b"1", whole.details)
    page = await store.events(EventQuery(session=1, after=0, before=NO_END, limit=10, max_bytes=2**20))
    assert page == EventPage(list(whole.events), has_more=False)
    assert await store.chunks(1) == [b"a", b"b"]
    found = await store.answer(b"s")
    assert found is not None
    assert (found.fingerprint, found.session, found.result) == (b"fs", 1, b"said")


async def test_nothing_is_there(store: Store) -> None:
    """What nobody stored is None or empty, not an error."""
    assert await store.load("default", "k") is None
    assert await seqs_of(store, 1) == []
    assert await store.chunks(1) == []
    assert await store.answer(b"s") is None
    assert await store.busy() == []
    assert await ids_of(store) == []
    assert await store.counts() == {}


async def test_two_sessions_in_one_commit(store: Store) -> None:
    """Both changes are stored, or neither, whichever of them cannot be."""
    both = session(1, key="a")
    both.events, both.answer = [event(1, "one")], answer(b"s")
    both.also = session(2, title="hi", key="b")
    both.also.events = [event(1, "two")]
    await store.commit(both)
    assert (sorted(await ids_of(store)), await seqs_of(store, 1), await seqs_of(store, 2)) == ([1, 2], [1], [1])
    stored = await store.load("default", "b")
    assert stored is not None
    assert stored.details == both.also.details
    for own, other in (([event(2)], [event(1)]), ([event(1)], [event(2)])):
        late = session(1, key="a")
        late.events, late.answer = own, answer(b"t")
        late.also = session(3, key="c")
        late.also.session, late.also.events = 2, other
        with pytest.raises(StoreFault):
            await store.commit(late)
        assert (sorted(await ids_of(store)), await seqs_of(store, 1), await seqs_of(store, 2)) == ([1, 2], [1], [1])
        assert await store.load("default", "c") is None
        assert await store.answer(b"t") is None


async def test_all_of_a_commit_or_nothing(store: Store) -> None:
    """A commit with one event that is there already leaves nothing of itself."""
    first = session(1, title="first", key="k")
    first.events, first.chunks = [event(1)], [b"kept"]
    await store.commit(first)
    second = session(1, title="second", key="k", state=b"2")
    second.events, second.chunks = [event(2), event(1)], [b"lost"]
    second.answer, second.purge_to, second.forget = answer(b"lost"), 1, True
    with pytest.raises(StoreFault):
        await store.commit(second)
    stored = await store.load("default", "k")
    assert stored is not None
    assert (stored.state, stored.details) == (b"1", first.details)
    assert await seqs_of(store, 1) == [1]
    assert await store.chunks(1) == [b"kept"]
    assert await store.answer(b"lost") is None


async def test_a_bad_commit_fails_alone(store: Store) -> None:
    """Of 300 queued together only those fail that cannot be stored."""
    await store.commit(said(1, 7))
    commits = [said(1, seq) for seq in range(100, 400)]
    commits[3] = said(1, 7)
    commits[150] = said(1, 120, 150)
    commits[299] = said(1, 100)
    results = await commit_all(store, *commits)
    assert {n for n, result in enumerate(results) if result is not None} == {3, 150, 299}
    assert all(result is None or isinstance(result, StoreFault) for result in results)
    good = [100 + n for n, result in enumerate(results) if result is None]
    assert await seqs_of(store, 1) == [7, *good]
    await store.commit(said(1, 1000))


async def test_commits_take_effect_in_order(store: Store) -> None:
    """The last of many changes of one session, queued at once, is the one that stays."""
    results = await commit_all(store, *(session(1, key="k", state=b"%d" % n) for n in range(500)))
    assert set(results) == {None}
    stored = await store.load("default", "k")
    assert stored is not None
    assert stored.state == b"499"


async def test_a_commit_that_nobody_waits_for(store: Store) -> None:
    """A caller who goes away, from a good commit or a bad one, stops nothing."""
    await store.commit(said(1, 1))
    for abandoned in (said(1, 2), said(1, 1), said(1, 3)):
        store.commit(abandoned).cancel()
    await store.commit(said(1, 4))
    assert await seqs_of(store, 1) == [1, 2, 3, 4]


async def test_reading_a_closed_store(store: Store) -> None:
    """Every read is a StoreFault, and it takes no writes."""
    await store.close()
    query = EventQuery(session=1, after=0, before=9, limit=9, max_bytes=9)
    for read in (store.load("t", "k"), store.events(query), store.chunks(1), ids_of(store), store.prune_answers(1)):
        with pytest.raises(StoreFault):
            await read
    assert not await store.writable()


async def test_session_ids(store: Store) -> None:
    """No number twice, whoever asks at the same time."""
    ids = await asyncio.gather(*(store.next_session_id() for _ in range(100)))
    assert len(set(ids)) == 100
    assert min(ids) > 0


async def test_a_key_used_again(store: Store) -> None:
    """The newest session of a key is the one that is found, a deleted one included; tenants are apart."""
    await commit_all(
        store,
        session(1, key="k", deleted_at=5, state=b"1"),
        session(3, key="k", state=b"3"),
        session(2, key="k", deleted_at=7, state=b"2"),
        session(4, key="k", tenant="other", state=b"4"),
    )
    found = [await store.load("default", "k"), await store.load("other", "k"), await store.load("default", "K")]
    assert [stored and stored.state for stored in found] == [b"3", b"4", None]
    await store.commit(Commit(session=3, row=row(3, key="k", deleted_at=9, state=b"gone"), forget=True))
    stored = await store.load("default", "k")
    assert stored is not None
    assert (stored.state, stored.details) == (b"gone", None)


async def test_words_are_kept_until_replaced(store: Store) -> None:
    """A commit without details leaves those of before."""
    await store.commit(session(1, title="kept", key="k"))
    await store.commit(Commit(session=1, row=row(1, key="k", state=b"new")))
    stored = await store.load("default", "k")
    assert stored is not None
    assert (stored.state, stored.details) == (b"new", session(1, title="kept").details)


@pytest.mark.parametrize(
    ("query", "found", "has_more"),
    [
        ({"limit": 3}, [1, 2, 3], True),
        ({"limit": 3, "newest": True}, [7, 8, 9], True),
        ({"after": 4}, [5, 6, 7, 8, 9], False),
        ({"after": 4, "limit": 5}, [5, 6, 7, 8, 9], False),
        ({"after": 4, "before": 7}, [5, 6], False),
        ({"before": 4, "limit": 2, "newest": True}, [2, 3], True),
        ({"before": 4, "limit": 2}, [1, 2], True),
        ({"before": 1, "newest": True}, [], False),
        ({"after": 9}, [], False),
        ({"types": ["even"]}, [2, 4, 6, 8], False),
        ({"types": ["even", "odd"], "limit": 4}, [1, 2, 3, 4], True),
        ({"types": ["even"], "newest": True, "limit": 2}, [6, 8], True),
        ({"types": ["none"]}, [], False),
        ({"max_bytes": 300}, [1, 2, 3], True),
        ({"max_bytes": 299, "newest": True}, [8, 9], True),
        ({"max_bytes": 1}, [1], True),
        ({"max_bytes": 1, "newest": True, "before": 2}, [1], False),
    ],
)
async def test_pages_of_a_log(store: Store, query: dict[str, Any], found: list[int], has_more: bool) -> None:
    """Ascending, within the bounds, at least one event however large; `has_more` in the query's direction."""
    events = [event(seq, type="odd" if seq % 2 else "even") for seq in range(1, 10)]
    for each in events:
        each.body = b"." * 100
    await store.commit(Commit(session=1, events=events))
    await store.commit(said(2, 1, 2, 3))
    page = await store.events(
        EventQuery(session=1, **{"after": 0, "before": NO_END, "limit": 99, "max_bytes": 9999} | query)
    )
    assert ([event.seq for event in page.events], page.has_more) == (found, has_more)


async def test_purged_events_are_gone(store: Store) -> None:
    """Up to that seq, of that session; the same commit may add the one that marks the place."""
    await commit_all(store, said(1, 1, 2, 3, 4), said(2, 1))
    await store.commit(Commit(session=1, purge_to=3, events=[event(5)]))
    assert (await seqs_of(store, 1), await seqs_of(store, 2)) == ([4, 5], [1])
    with pytest.raises(StoreFault):
        await store.commit(said(1, 2))
    assert await seqs_of(store, 1, limit=1, newest=True) == [5]


async def test_chunks(store: Store) -> None:
    """In the order they came, of one session, until dropped; one commit may drop the old and keep a new."""
    for n in range(5):
        await store.commit(Commit(session=1, chunks=[b"%d" % n]))
    await store.commit(Commit(session=2, chunks=[b"other"]))
    assert await store.chunks(1) == [b"0", b"1", b"2", b"3", b"4"]
    await store.commit(Commit(session=1, drop_chunks=True, chunks=[b"new"]))
    assert (await store.chunks(1), await store.chunks(2)) == ([b"new"], [b"other"])
    await store.commit(Commit(session=1, drop_chunks=True))
    assert await store.chunks(1) == []


async def test_forget(store: Store) -> None:
    """Words beside the log go: details, chunks, answers with words; receipts stay, and so does the log."""
    whole = session(1, title="hi", key="k")
    whole.events, whole.chunks, whole.answer = [event(1)], [b"partial"], answer(b"words", b"hi", has_words=True)
    await commit_all(store, whole, Commit(session=1, answer=answer(b"receipt", b"ok")))
    other = Commit(session=2, answer=answer(b"other", b"hi", has_words=True))
    await store.commit(other)
    await store.commit(Commit(session=1, forget=True, answer=answer(b"reset", b"done", has_words=True)))
    results = [await store.answer(scope) for scope in (b"words", b"receipt", b"other", b"reset")]
    assert [found and found.result for found in results] == [None, b"ok", b"hi", b"done"]
    assert [found is not None for found in results] == [True] * 4
    stored = await store.load("default", "k")
    assert stored is not None
    assert (stored.details, await store.chunks(1), await seqs_of(store, 1)) == (None, [], [1])


async def test_an_answer_is_given_once(store: Store) -> None:
    """A scope that has an answer keeps it."""
    await store.commit(Commit(session=1, answer=answer(b"s", b"first")))
    with pytest.raises(StoreFault):
        await store.commit(Commit(session=1, events=[event(1)], answer=answer(b"s", b"second")))
    found = await store.answer(b"s")
    assert (found and found.result, await seqs_of(store, 1)) == (b"first", [])


async def test_old_answers_are_forgotten(store: Store) -> None:
    """Those older than asked for; their scopes are free again."""
    for at in (10, 20, 30):
        await store.commit(Commit(session=1, answer=answer(b"%d" % at, at=at)))
    await store.prune_answers(20)
    assert [await store.answer(b"%d" % at) is not None for at in (10, 20, 30)] == [False, True, True]
    await store.commit(Commit(session=1, answer=answer(b"10", b"anew", at=40)))
    found = await store.answer(b"10")
    assert (found and found.result) == b"anew"


async def test_writable(store: Store) -> None:
    """It says so, and changes nothing by it."""
    assert await store.writable()
    assert await ids_of(store) == []
