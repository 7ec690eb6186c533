"""Several steps joined are told as one and leave a table as all of them would."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.sessions.changes import Line, Step, join, unsure
from gateway.sessions.state import SessionState
from gateway.sessions.summary import summary
from rpc_schema.types import Session
from tests.fakes import BEGINNING_MS
from tests.unit.sessions.logs import born, patiently
from tests.unit.sessions.watchhouse import POLICY


def shown(state: SessionState) -> Session:
    return summary(state, POLICY, "Echo", BEGINNING_MS)


def line(id: int = 1, revision: int = 1, *, is_deleted: bool = False) -> Line:
    return Line(born(id=id, revision=revision, deleted_at=1 if is_deleted else None), shown)


@st.composite
def walks(draw: st.DrawFn) -> tuple[bool, list[Step]]:
    """One key: whether a session with it is in the list at first, and what then becomes of it and its successors."""
    was_there = is_there = draw(st.booleans())
    id, revision, steps = 1, 1, list[Step]()
    for _ in range(draw(st.integers(0, 8))):
        revision += 1
        is_deleted = draw(st.integers(0, 4)) == 0
        will_be = not is_deleted and draw(st.booleans())
        if is_there or will_be:
            steps.append(Step(line(id, revision, is_deleted=is_deleted), is_there, will_be))
        is_there = will_be
        id += is_deleted
    return was_there, steps


Row = tuple[int, int] | None


def after(row: Row, steps: Sequence[Step]) -> Row:
    """What a client has that does as the changes say."""
    for step in steps:
        row = (step.line.id, step.line.revision) if step.change in ("entered", "updated") else None
    return row


def joined(steps: Sequence[Step]) -> list[Step]:
    """All of it as at most one step."""
    waiting: Step | None = None
    for step in steps:
        waiting = step if waiting is None else join(waiting, step)
    return [] if waiting is None else [waiting]


@patiently
@given(walks(), st.lists(st.booleans(), min_size=8, max_size=8))
def test_joined_or_not(walk: tuple[bool, list[Step]], cuts: list[bool]) -> None:
    """Wherever the client has caught up in between, it has the same in the end; the words fit what it has."""
    was_there, steps = walk
    row: Row = (1, 1) if was_there else None
    told, waiting = row, list[Step]()
    for step, cut in zip(steps, cuts, strict=False):
        waiting.append(step)
        if cut:
            told, waiting = tell(told, joined(waiting)), []
    assert tell(told, joined(waiting)) == after(row, steps)


def tell(row: Row, steps: list[Step]) -> Row:
    """As `after`, minding the words: only who is there leaves, only who is not, or a successor, enters."""
    for step in steps:
        assert (step.change == "entered") == (step.has and (row is None or row[0] != step.line.id))
        assert step.has or row is not None
        row = after(row, [step])
    return row


@patiently
@given(walks(), st.integers(0, 8))
def test_a_list_read_in_the_middle(walk: tuple[bool, list[Step]], when: int) -> None:
    """What was told while a list was read is joined unsurely: right for whichever state the list shows."""
    was_there, steps = walk
    snapshot = after((1, 1) if was_there else None, steps[:when])
    final = after((1, 1) if was_there else None, steps)
    assert after(snapshot, joined([unsure(step) for step in steps])) == final


@pytest.mark.parametrize(
    ("first", "then", "change"),
    [
        ((False, True), (True, True), "entered"),
        ((False, True), (True, False), None),
        ((True, True), (True, True), "updated"),
        ((True, True), (True, False), "left"),
        ((True, False), (False, True), "updated"),
    ],
)
def test_the_words(first: tuple[bool, bool], then: tuple[bool, bool], change: str | None) -> None:
    """Of one session."""
    step = join(Step(line(), *first), Step(line(revision=2), *then))
    assert (step.change if step else None) == change
    assert step is None or step.line.revision == 2


def test_a_successor_enters() -> None:
    """Also when its predecessor is still in the table; when it goes, the table is rid of both."""
    deleted, entered = Step(line(is_deleted=True), True, False), Step(line(2), False, True)
    assert deleted.change == "deleted"
    both = join(deleted, entered)
    assert both is not None
    assert both.change == "entered"
    updated = join(both, Step(line(2, 2), True, True))
    assert updated is not None
    assert updated.change == "entered"
    gone = join(updated, Step(line(2, 3), True, False))
    assert gone is not None
    assert gone.change == "left"


def test_on_the_wire() -> None:
    """The whole summary while it is there; else the key, and the tenant where it is not the client's own."""
    state = born(key='k"ü', tenant='t"ü', revision=7)
    made = Line(state, shown)
    told = json.loads(made.frame(bytes, "s1", "updated", names_tenant=True))
    assert told["jsonrpc"] == "2.0"
    assert told["method"] == "session.changed"
    params = told["params"]
    assert list(params) == ["subscription", "change", "key", "session", "revision"]
    assert (params["key"], params["session"]["tenant"], params["revision"]) == ('k"ü', 't"ü', 7)
    usual = {"subscription": "s1", "change": "left", "key": 'k"ü', "revision": 7}
    assert json.loads(made.frame(bytes, "s1", "left", names_tenant=False))["params"] == usual
    assert json.loads(made.frame(bytes, "s1", "left", names_tenant=True))["params"] == usual | {"tenant": 't"ü'}


def test_encoded_once() -> None:
    """However many are told, and not at all when nobody is told more than the key."""
    count = 0

    def counted(state: SessionState) -> Session:
        nonlocal count
        count += 1
        return shown(state)

    made = Line(replace(born()), counted)
    made.frame(bytes, "s1", "left", names_tenant=False)
    assert count == 0
    frames = [made.frame(bytes, id, "updated", names_tenant=False) for id in ("s1", "s2", "s1")]
    assert count == 1
    assert frames[0] is frames[2]
