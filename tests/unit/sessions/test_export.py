"""Sessions as JSON Lines: pieces joined are the whole, and a cursor is good for nothing else."""

import asyncio
import hashlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.sessions import export
from gateway.sessions.export import Place
from gateway.sessions.policy import effective
from gateway.sessions.state import Details, SessionState
from gateway.sessions.summary import summary
from gateway.sessions.transcript import Transcript
from gateway.settings import AgentPolicySettings, PolicySettings
from gateway.storage.base import Commit
from rpc_schema.errors import InvalidCursor
from tests.contract.stores import event
from tests.fakes import BEGINNING_MS, MemoryStore
from tests.unit.sessions.logs import born, patiently

POLICY = effective(PolicySettings(), AgentPolicySettings()).policy
HEADER = export.header(summary(born(details=Details(title="ünï")), POLICY, "Echo", BEGINNING_MS), POLICY, {"m": 1})


def place(state: SessionState, **fields: Any) -> Place:
    """The beginning of an export."""
    usual = {
        "epoch": state.epoch,
        "cleared_to": state.cleared_to,
        "after": 0,
        "to": state.head,
        "header": HEADER,
    }
    return Place(**usual | fields)


async def log_of(texts: list[str]) -> tuple[Transcript, SessionState]:
    """A session whose log says these."""
    store = MemoryStore()
    await store.commit(Commit(session=1, events=[event(seq, text) for seq, text in enumerate(texts, 1)]))
    return Transcript(store), born(head=len(texts))


async def pieces(transcript: Transcript, state: SessionState, max_bytes: int) -> list[bytes]:
    """All of them, each from the cursor that the one before gave."""
    found, here = [], place(state)
    while True:
        piece = await export.lines(transcript, state, here, max_bytes)
        found.append(piece.data)
        if piece.next is None:
            return found
        here = export.unpack(export.pack(piece.next))


def checked(whole: bytes) -> list[Any]:
    """The lines of a file whose end line is true."""
    assert whole.endswith(b"\n")
    lines = whole.splitlines(keepends=True)
    end = json.loads(lines[-1])
    assert end == {"type": "end", "events": len(lines) - 2, "sha256": hashlib.sha256(b"".join(lines[:-1])).hexdigest()}
    return [json.loads(line) for line in lines]


@patiently
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=40), min_size=1, max_size=30), st.integers(1, 2000))
def test_pieces_joined_are_the_whole(texts: list[str], max_bytes: int) -> None:
    """However small the pieces: the same bytes, each piece whole lines and about as big as asked for."""

    async def export_twice() -> tuple[list[bytes], list[bytes]]:
        transcript, state = await log_of(texts)
        return await pieces(transcript, state, 2**30), await pieces(transcript, state, max_bytes)

    (whole,), cut = asyncio.run(export_twice())
    assert b"".join(cut) == whole
    assert [line.get("content") for line in checked(whole)[1:-1]] == texts
    assert all(piece.endswith(b"\n") for piece in cut)
    for piece in cut[1:-1]:
        assert len(piece) <= max_bytes + len(piece.splitlines()) or len(piece.splitlines()) == 1


async def test_the_header_and_the_end() -> None:
    """The first line is the session as it was asked for, the last counts and seals."""
    transcript, state = await log_of(["a", "b"])
    first, *_, last = checked((await pieces(transcript, state, 2**20))[0])
    assert (first["type"], first["version"], first["key"], first["title"]) == ("session", 1, "k", "ünï")
    assert first["metadata"] == {"m": 1}
    assert first["policy"]["timeoutMinutes"] == 30
    assert not {"timeRemainingMs", "isNearExpiration"} & first.keys()
    assert last["events"] == 2


async def test_what_comes_meanwhile() -> None:
    """Is not in the file: it ends where the log ended when the export began."""
    transcript, state = await log_of(["a", "b", "c", "d"])
    assert [line.get("seq") for line in checked(b"".join(await pieces(transcript, replace(state, head=3), 1)))] == [
        *(None, 1, 2, 3, None)
    ]


@pytest.mark.parametrize("change", [{"epoch": "other"}, {"cleared_to": 2}])
async def test_another_log(change: dict[str, Any]) -> None:
    """A reset, or a key that was used again, ends the export."""
    _, state = await log_of(["a", "b", "c"])
    export.check_log(state, place(state))
    with pytest.raises(InvalidCursor):
        export.check_log(replace(state, **change), place(state))


def test_places() -> None:
    """Come out of a cursor as what they were, in a word that JSON does not lengthen."""
    here = place(born(head=7), after=3, waiting=[("default", "k")], more="c", given=2, skip=1)
    assert export.unpack(export.pack(here)) == here
    assert len(msgspec.json.encode(export.pack(here))) == len(export.pack(here)) + 2
