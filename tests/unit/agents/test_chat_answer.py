"""Tool calls, put together from whatever pieces servers make of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.agents.base import AgentFailure, Finish
from gateway.agents.chat_answer import Answer
from gateway.agents.chat_failures import ChatFailures
from tests.chat_completions import call_piece, chunk
from tests.recording import RecordingOutput


async def read(*chunks: Any) -> tuple[RecordingOutput, Finish]:
    out = RecordingOutput()
    answer = Answer(out, ChatFailures(key="", key_env=""))
    for payload in chunks:
        answer.take(json.dumps(payload).encode())
    return out, await answer.end()


def calls_chunk(*calls: Any) -> Any:
    return chunk(tool_calls=list(calls))


async def test_parallel_calls() -> None:
    """Arguments are shown as they come; the calls are made at the end, in the order of their index."""
    out, finish = await read(
        chunk(content="let me see"),
        call_piece("", index=1, id="b", type="function", name="sum"),
        call_piece("", index=0, id="a", type="function", name="find"),
        call_piece('{"x"', index=1),
        call_piece('{"q":', index=0),
        call_piece(":1}", index=1),
        call_piece('"é"}', index=0),
        chunk("tool_calls"),
    )
    assert finish == "tool_use"
    assert out.entries == [
        ("text", "let me see"),
        ("tool_input", "b", '{"x"'),
        ("tool_input", "a", '{"q":'),
        ("tool_input", "b", ":1}"),
        ("tool_input", "a", '"é"}'),
        ("tool_call", "a", "find", {"q": "é"}),
        ("tool_call", "b", "sum", {"x": 1}),
    ]


WHOLE = {"name": "f", "arguments": '{"n":1}'}
OTHER = {"name": "f", "arguments": '{"n":2}'}
TWO = [("f", {"n": 1}), ("f", {"n": 2})]
VARIANTS: dict[str, tuple[list[Any], list[Any]]] = {
    "whole calls in one chunk": (
        [calls_chunk({"index": 0, "id": "a", "function": WHOLE}, {"index": 1, "id": "b", "function": OTHER})],
        TWO,
    ),
    "without index": ([calls_chunk({"id": "a", "function": WHOLE}, {"id": "b", "function": OTHER})], TWO),
    "without index and id": ([calls_chunk({"function": WHOLE}, {"function": OTHER})], TWO),
    "the same index for all": (
        [
            calls_chunk({"index": 0, "id": "a", "function": WHOLE}),
            calls_chunk({"index": 0, "id": "b", "function": OTHER}),
        ],
        TWO,
    ),
    "the same id for all": (
        [calls_chunk({"index": 0, "id": "a", "function": WHOLE}, {"index": 1, "id": "a", "function": OTHER})],
        TWO,
    ),
    "empty ids": (
        [calls_chunk({"index": 0, "id": "", "function": WHOLE}, {"index": 1, "id": "", "function": OTHER})],
        TWO,
    ),
    "in pieces without index": (
        [
            call_piece('{"n"', name="f", id="a"),
            call_piece(":1}"),
            call_piece('{"n":', name="f", id="b"),
            call_piece("2}", id="b"),
        ],
        TWO,
    ),
    "id and name in every piece": (
        [call_piece('{"n"', name="f", index=0, id="a"), call_piece(":1}", name="f", index=0, id="a")],
        TWO[:1],
    ),
    "another id in every piece": (
        [call_piece('{"n"', name="f", index=0, id="x1"), call_piece(":1}", index=0, id="x2")],
        TWO[:1],
    ),
    "id after the arguments": (
        [call_piece('{"n"', name="f", index=0), call_piece(":1}", index=0, id="late")],
        TWO[:1],
    ),
    "arguments as an object": ([call_piece({"n": 1}, name="f", index=0, id="a")], TWO[:1]),
    "no arguments": ([call_piece(None, name="f", index=0, id="a")], [("f", {})]),
    "blank arguments": ([call_piece(" ", name="f", index=0, id="a")], [("f", {})]),
    "arguments that are no JSON": ([call_piece('{"n":', name="f", index=0, id="a")], [("f", '{"n":')]),
    "nulls": (
        [calls_chunk({"index": None, "id": None, "type": None, "function": {"name": "f", "arguments": None}})],
        [("f", {})],
    ),
    "the old way": (
        [chunk(function_call={"name": "f", "arguments": ""}), chunk(function_call={"arguments": '{"n":1}'})],
        TWO[:1],
    ),
}


@pytest.mark.parametrize(("chunks", "expected"), VARIANTS.values(), ids=VARIANTS)
async def test_variants(chunks: list[Any], expected: list[Any]) -> None:
    """However a server numbers and names its calls: the same calls, each with an id of its own, shown with that id."""
    out, finish = await read(*chunks)
    calls = out.of("tool_call")
    assert [call[1:] for call in calls] == expected
    ids = [call[0] for call in calls]
    assert all(ids)
    assert len(set(ids)) == len(ids)
    assert {shown[0] for shown in out.of("tool_input")} <= set(ids)
    assert finish == "tool_use"


async def test_ids_of_the_server_are_kept() -> None:
    """Also beside calls that have none; ours make way."""
    out, _ = await read(calls_chunk({"index": 0, "function": WHOLE}, {"index": 1, "id": "call_2", "function": OTHER}))
    assert [call[0] for call in out.of("tool_call")] == ["call_1", "call_2"]
    out, _ = await read(calls_chunk({"index": 0, "id": "call_1", "function": WHOLE}, {"index": 1, "function": OTHER}))
    assert [call[0] for call in out.of("tool_call")] == ["call_1", "call_2"]


async def test_call_without_a_name() -> None:
    """Nobody could make it."""
    with pytest.raises(AgentFailure, match="without a name"):
        await read(call_piece("{}", index=0, id="a"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(inputs=st.lists(JSON, min_size=1, max_size=4), data=st.data())
async def test_any_interleaving(inputs: list[Any], data: st.DataObject) -> None:
    """Calls written at the same time, in pieces of any size, arrive whole and in order."""
    rest = [json.dumps(value) for value in inputs]
    chunks = [
        calls_chunk(*({"index": n, "id": f"id{n}", "function": {"name": f"f{n}"}} for n in reversed(range(len(rest)))))
    ]
    while any(rest):
        n = data.draw(st.sampled_from([n for n, text in enumerate(rest) if text]))
        size = data.draw(st.integers(1, 5))
        chunks.append(call_piece(rest[n][:size], index=n))
        rest[n] = rest[n][size:]
    out, _ = await read(*chunks)
    assert out.of("tool_call") == [(f"id{n}", f"f{n}", value) for n, value in enumerate(inputs)]
