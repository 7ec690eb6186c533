"""Taking sessions home: pieces joined are the file, and the file can be trusted."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from gateway.sessions import export as export_file
from tests.e2e.calls import code_of
from tests.e2e.inside import client_of, gateway_of
from tests.raw import Json, RawClient

ECHO = {"agent": "echo"}
MEDIA = {"jsonl": "application/jsonl", "markdown": "text/markdown", "openai": "application/json"}


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
        assert piece["mediaType"].startswith(MEDIA[params.get("format", "jsonl")])
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


async def test_cursors_outlive_the_gateway(tmp_path: Path) -> None:
    """The same secret seals them from the start on, in the next gateway too."""
    async with gateway_of(tmp_path) as gateway, client_of(gateway) as client:
        await say(client, "a", "x" * 3000)
        first = await client.call("session.export", key="a", maxBytes=1024)
        await client.call("session.list")
        rest = await client.call("session.export", key="a", cursor=first["nextCursor"])
    async with gateway_of(tmp_path) as gateway, client_of(gateway) as client:
        assert await client.call("session.export", key="a", cursor=first["nextCursor"]) == rest


async def test_export_of_one_or_many(client: RawClient) -> None:
    """Either `key` or `keys`; one that is not there fails the export."""
    await say(client, "a")
    assert await code_of(client, "session.export") == (-32602, "invalid_params")
    assert await code_of(client, "session.export", key="a", keys=["a"]) == (-32602, "invalid_params")
    assert await code_of(client, "session.export", keys=["nobody", "a"]) == (404, "session_not_found")
    assert await code_of(client, "session.export", key="a", format="pdf") == (-32602, "invalid_params")


async def test_a_page_for_people(client: RawClient) -> None:
    """All that was said, in pieces of any size; whatever is in it stands in a fence that it cannot end."""
    content = '# Not a heading\n```\n</details><script>x</script>\n```\n\x1b[31m\n/tool look {"q": 1}\nbye'
    await say(client, "a/b", content, title="=1+1")
    for n in range(10):
        await say(client, "a/b", f"message {n}")
    whole = await export(client, key="a/b", format="markdown")
    assert await export(client, key="a/b", format="markdown", maxBytes=1024) == whole
    assert whole.startswith("# \\=1\\+1\n\n- Session: a\\/b\n")
    assert whole.count("\n## local, 2026-11-20 09:30:00 UTC\n\n") == 11
    assert (
        '\n````\n# Not a heading\n```\n</details><script>x</script>\n```\n[31m\n/tool look {"q": 1}\nbye\n````\n'
        in whole
    )
    assert "<details><summary>Tool call: look (call_1)</summary>\n\n```\n{" in whole
    assert whole.index("message 3") < whole.index("message 4")
    assert "\x1b" not in whole
    first = await client.call("session.export", key="a/b", format="markdown")
    assert first["filename"] == "a-b.md"


async def test_messages_for_a_model(client: RawClient) -> None:
    """A list of one session, lines of several; each tool call with its result."""
    await say(client, "a", '/tool look {"q": 1}\nü')
    await say(client, "b", "hello")
    whole = await export(client, key="a", format="openai")
    asked, calls, result, answer = json.loads(whole)
    assert asked == {"role": "user", "content": '/tool look {"q": 1}\nü'}
    assert (calls["role"], calls["content"], calls["tool_calls"][0]["function"]["name"]) == ("assistant", None, "look")
    assert (result["role"], result["tool_call_id"]) == ("tool", calls["tool_calls"][0]["id"])
    assert answer == {"role": "assistant", "content": "ü"}
    lines = await export(client, keys=["b", "a"], format="openai", maxBytes=1024)
    assert [json.loads(line)["messages"][0]["content"] for line in lines.splitlines()] == ["hello", asked["content"]]
    assert json.loads(lines.splitlines()[1])["messages"] == json.loads(whole)
    assert (await client.call("session.export", keys=["a"], format="openai"))["filename"] == "a.jsonl"


async def test_all_that_match(client: RawClient) -> None:
    """In the order they were made, empty ones too, more than one page of them; cursors belong to their filter."""
    for n in range(60):
        await client.call("session.create", agent="echo", key=f"k{n}", labels={"n": "even" if n % 2 == 0 else "odd"})
    await say(client, "k4", "x" * 3000)
    even = {"label": {"n": "even"}}
    whole = await export(client, filter=even)
    assert [header["key"] for header, *_ in files(whole)] == [f"k{n}" for n in range(0, 60, 2)]
    assert await export(client, filter=even, maxBytes=1024) == whole
    assert len(files(await export(client, filter={}))) == 60
    assert await export(client, filter={"agent": "nobody"}) == ""
    first = await client.call("session.export", filter=even)
    assert first["filename"] == "sessions.jsonl"
    for other in ({"filter": {"label": {"n": "odd"}}}, {"key": "k0"}, {"filter": even, "format": "markdown"}):
        assert await code_of(client, "session.export", cursor=first["nextCursor"], **other) == (400, "invalid_cursor")


async def test_what_goes_while_all_are_exported(client: RawClient) -> None:
    """A session that is deleted before its turn is not in the file, and the rest is."""
    for n in range(4):
        await client.call("session.create", agent="echo", key=f"k{n}")
    first = await client.call("session.export", filter={})
    await client.call("session.delete", keys=["k1", "k2"])
    rest = await client.call("session.export", filter={}, cursor=first["nextCursor"])
    whole = first["data"] + rest["data"]
    while "nextCursor" in rest:
        rest = await client.call("session.export", filter={}, cursor=rest["nextCursor"])
        whole += rest["data"]
    assert [header["key"] for header, *_ in files(whole)] == ["k0", "k3"]


def changed(cursor: str) -> list[str]:
    """A cursor cut short, with other bytes in it, with another seal, with another place; and what is none at all."""
    seal, last = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    place = export_file.unpack(last[0])
    places = [
        structs.replace(place, **changes) for changes in ({"header": b"\xff"}, {"index": 9}, {"waiting": [("x", "y")]})
    ]
    forged = [[seal, [export_file.pack(other)]] for other in places]
    forged += [["0" * 32, last], [seal, []], [seal, [1]], [seal, ["x"]], [seal, [*last, 0]], {}, [seal]]
    texts = [base64.urlsafe_b64encode(json.dumps(other).encode()).decode() for other in forged]
    return [*texts, cursor[:-8], cursor[8:], cursor.swapcase(), "", "x", "====", "\u043a", "\x00"]


@pytest.mark.parametrize("asked", [{"key": "a"}, {"filter": {"agent": "echo"}}])
@pytest.mark.parametrize("format", MEDIA)
async def test_cursors_made_up(client: RawClient, format: str, asked: dict[str, Any]) -> None:
    """Whatever somebody wrote instead of a cursor is refused, before it leads anywhere."""
    await say(client, "a", "x" * 3000)
    await say(client, "a", "x" * 3000)
    params = asked | {"format": format, "maxBytes": 1024}
    cursor = (await client.call("session.export", **params))["nextCursor"]
    for wrong in changed(cursor):
        assert await code_of(client, "session.export", cursor=wrong, **params) == (400, "invalid_cursor"), wrong
    await client.call("session.export", cursor=cursor, **params | {"maxBytes": 4096})
