"""Taking sessions home: pieces joined are the file, and the file can be trusted."""

import hashlib
import json
from typing import Any

import pytest

from tests.e2e.calls import code_of
from tests.raw import Json, RawClient

ECHO = {"agent": "echo"}


@pytest.fixture
def client(still: RawClient) -> RawClient:
    return still


async def say(client: RawClient, key: str, content: str = "hello", **birth: Any) -> None:
    await client.call("session.send", key=key, content=content, create=ECHO | birth, wait=True)


async def export(client: RawClient, **params: Any) -> str:
    """A whole file, from however many pieces."""
    pieces, cursor = [], {}
    while True:
        piece = await client.call("session.export", **params, **cursor)
        assert piece["mediaType"] == "application/jsonl"
        pieces.append(piece["data"])
        if "nextCursor" not in piece:
            return "".join(pieces)
        cursor = {"cursor": piece["nextCursor"]}


def files(exported: str) -> list[list[Json]]:
    """The sessions in a file, each with its header; every checksum is true."""
    found: list[list[Json]] = []
    digest = hashlib.sha256()
    for line in exported.removesuffix("\n").split("\n"):
        said = json.loads(line)
        if said["type"] == "session":
            found.append([])
            digest = hashlib.sha256()
        elif said["type"] == "end":
            assert said == {"type": "end", "events": len(found[-1]) - 1, "sha256": digest.hexdigest()}
            continue
        digest.update(f"{line}\n".encode())
        found[-1].append(said)
    assert exported.endswith("}\n")
    return found


async def test_export(client: RawClient) -> None:
    """Header, every event in order, checksum; the same file in pieces of any size."""
    await say(client, "a/b", 'ü\u2028 line\n/tool look {"q": [1, null]}', labels={"x": "y"}, metadata={"m": 1})
    for n in range(5):
        await say(client, "a/b", f"message {n} " + "x" * 500)
    whole = await export(client, key="a/b")
    assert await export(client, key="a/b", maxBytes=1024) == whole
    ((header, *events),) = files(whole)
    assert events == (await client.call("session.history", key="a/b", limit=500))["events"]
    found = await client.call("session.status", key="a/b")
    of_the_moment = {"timeRemainingMs", "isNearExpiration"}
    assert (
        header.items() >= {name: value for name, value in found["session"].items() if name not in of_the_moment}.items()
    )
    assert not of_the_moment & header.keys()
    assert (header["version"], header["policy"], header["metadata"]) == (1, found["policy"], {"m": 1})


async def test_export_of_many(client: RawClient) -> None:
    """One after the other, in the order asked for, duplicates once."""
    for key in ("a", "b", "c"):
        await say(client, key, "x" * 2000)
    whole = await export(client, keys=["c", "a", "c", "b"])
    assert await export(client, keys=["c", "a", "c", "b"], maxBytes=1024) == whole
    assert [header["key"] for header, *_ in files(whole)] == ["c", "a", "b"]
    assert "".join([await export(client, key=key) for key in "cab"]) == whole


async def test_export_while_a_session_goes_on(client: RawClient) -> None:
    """The file ends where the log ended when it began."""
    await say(client, "a", "x" * 3000)
    first = await client.call("session.export", key="a", maxBytes=1024)
    await say(client, "a", "came later")
    rest = await client.call("session.export", key="a", cursor=first["nextCursor"])
    assert "nextCursor" not in rest
    ((_, *events),) = files(first["data"] + rest["data"])
    assert (events[-1]["type"], len(events)) == ("turn.completed", 7)
    assert "came later" not in rest["data"]


@pytest.mark.parametrize("method", ["session.reset", "session.delete"])
async def test_export_of_what_is_gone(client: RawClient, method: str) -> None:
    """A reset or a delete in the middle ends the export; no erased word comes out."""
    await say(client, "a", "x" * 3000)
    first = await client.call("session.export", key="a", maxBytes=1024)
    await client.call(method, key="a")
    expected = (400, "invalid_cursor") if method == "session.reset" else (410, "session_deleted")
    assert await code_of(client, "session.export", key="a", cursor=first["nextCursor"]) == expected
    if method == "session.delete":
        await say(client, "a", "anew")
        assert await code_of(client, "session.export", key="a", cursor=first["nextCursor"]) == (400, "invalid_cursor")


async def test_cursors_of_other_exports(client: RawClient) -> None:
    """They are for the keys they came from, in that order."""
    for key in ("a", "b"):
        await say(client, key, "x" * 3000)
    cursor = (await client.call("session.export", keys=["a", "b"], maxBytes=1024))["nextCursor"]
    for other in ({"keys": ["b", "a"]}, {"key": "a"}, {"keys": ["a"]}):
        assert await code_of(client, "session.export", cursor=cursor, **other) == (400, "invalid_cursor")
    assert await code_of(client, "session.list", cursor=cursor) == (400, "invalid_cursor")


async def test_export_of_one_or_many(client: RawClient) -> None:
    """Either `key` or `keys`; one that is not there fails the export."""
    await say(client, "a")
    assert await code_of(client, "session.export") == (-32602, "invalid_params")
    assert await code_of(client, "session.export", key="a", keys=["a"]) == (-32602, "invalid_params")
    assert await code_of(client, "session.export", keys=["nobody", "a"]) == (404, "session_not_found")
    assert await code_of(client, "session.export", key="a", format="pdf") == (-32602, "invalid_params")
