"""The agent that says a message back."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.agents.base import AgentFailure, AssistantMessage, SystemMessage, UserMessage
from gateway.agents.echo import EchoAgent, Say, steps
from tests.recording import RecordingOutput, turn_of


def echo(delay_ms: float = 0) -> EchoAgent:
    return EchoAgent(id="echo", provider="echo", model="echo", delay_ms=delay_ms)


async def said_to(content: str) -> RecordingOutput:
    out = RecordingOutput()
    async with asyncio.timeout(5):
        assert await echo().run(turn_of(content), out) == "stop"
    return out


async def test_hello_world() -> None:
    """Exactly what the protocol shows."""
    out = await said_to("hello world")
    assert out.entries == [
        ("generation", "echo", "echo"),
        ("usage", 2, 0, 0, 0),
        ("text", "hello "),
        ("usage", 2, 1, 0, 0),
        ("text", "world"),
        ("usage", 2, 2, 0, 0),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "one\ntwo",
        "  padded\t line  ",
        "a\n\n\nb\n",
        "\n lead",
        "   ",
        "ends\r\nas on Windows\r\n",
        "žluťoučký 🐎\u00a0kůň",
        "/unknown stays",
        "/words",
        "/words x",
        "/words -1",
        "/words 1.5",
        "/words ²",
        "/words 1000001",
        "/words " + "9" * 5000,
        "/sleep",
        "/sleep -5",
        "/sleep 1e3",
        "/sleep 999999999999",
        "/think",
        "/tool",
        "/tools x {}",
        " /words 3",
        "//words 3",
        "/",
    ],
)
async def test_plain_text_comes_back_as_typed(content: str) -> None:
    """Whitespace, newlines, unknown slash words and slash words with senseless arguments included."""
    out = await said_to(content)
    assert out.joined("text") == content
    assert out.last_usage == (len(content.split()), len(content.split()), 0, 0)


@given(st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"])))
def test_any_text_is_one_step(content: str) -> None:
    """Without slashes there is nothing to do but say it."""
    assert steps(content) == [Say(content)]


async def test_empty_message() -> None:
    """An empty message gets an empty answer."""
    assert (await said_to("")).of("text") == []


async def test_words() -> None:
    """`/words N` counts."""
    out = await said_to("/words 3")
    assert out.of("text") == [("w1 ",), ("w2 ",), ("w3",)]
    assert out.last_usage == (2, 3, 0, 0)
    assert (await said_to("/words 0")).of("text") == []


async def test_think() -> None:
    """`/think TEXT` is reasoning, counts as output and adds nothing to the answer."""
    out = await said_to("/think let me  see\nyes")
    assert out.of("reasoning") == [("let ",), ("me  ",), ("see",)]
    assert out.joined("text") == "yes"
    assert out.last_usage == (5, 4, 0, 0)


async def test_lines_stay_lines() -> None:
    """What other steps come between, each piece of the answer begins on a new line, and so does the thinking."""
    out = await said_to("one\n/words 2\n/think a\n/words 0\n/sleep 0\n/think b\ntwo\nthree")
    assert out.joined("text") == "one\nw1 w2\ntwo\nthree"
    assert out.joined("reasoning") == "a\nb"


async def test_tool() -> None:
    """Arguments as they are written, then the call, then the same JSON as its result; then the answer goes on anew."""
    out = await said_to('before\n/tool lookup {"city": "Brno"}\n/tool now\nafter')
    assert [entry for entry in out.entries if entry[0] not in ("usage", "generation")] == [
        ("text", "before"),
        ("tool_input", "call_1", '{"city": '),
        ("tool_input", "call_1", '"Brno"}'),
        ("tool_call", "call_1", "lookup", {"city": "Brno"}),
        ("tool_result", "call_1", {"city": "Brno"}, None),
        ("tool_input", "call_2", "{}"),
        ("tool_call", "call_2", "now", {}),
        ("tool_result", "call_2", {}, None),
        ("text", "after"),
    ]
    assert out.last_usage[1] == 2


@pytest.mark.parametrize("json", ["7", "null", '"text"', '[1, {"a": []}]'])
async def test_tool_takes_any_json(json: str) -> None:
    """Not only objects."""
    out = await said_to(f"/tool t {json}")
    assert out.joined("tool_input") == json
    assert out.of("tool_result")[0][2] is None


@pytest.mark.parametrize("json", ["{broken", "NaN", "{} {}", "[" * 65 + "]" * 65, "[" * 5000 + "]" * 5000])
async def test_tool_with_broken_json(json: str) -> None:
    """The call has the raw text, its result says why it failed, and the rest of the message is served."""
    out = await said_to(f"/tool t {json}\ndone")
    assert out.of("tool_call") == [("call_1", "t", json)]
    assert out.of("tool_result") == [("call_1", None, "The input is not valid JSON.")]
    assert out.joined("text") == "done"


async def test_fail() -> None:
    """`/fail TEXT` keeps what was said before and says nothing after."""
    out = RecordingOutput()
    with pytest.raises(AgentFailure) as caught:
        await echo().run(turn_of("so far\n/fail out of luck\nnever"), out)
    assert (caught.value.code, caught.value.message) == ("agent_failed", "out of luck")
    assert out.joined("text") == "so far"
    with pytest.raises(AgentFailure, match="asked for a failure"):
        await echo().run(turn_of("/fail"), out)


async def test_newest_user_message() -> None:
    """Only that is answered, whatever else is in the conversation."""
    out = RecordingOutput()
    messages = (UserMessage("old"), AssistantMessage("old"), UserMessage("new one"), SystemMessage("a note"))
    await echo().run(turn_of("", messages=messages, model="parrot"), out)
    assert out.joined("text") == "new one"
    assert out.of("generation") == [("echo", "parrot")]


async def test_delay() -> None:
    """A word waits for its delay; nothing else does."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    await echo(delay_ms=20).run(turn_of("a b c"), RecordingOutput())
    assert loop.time() - started >= 0.059  # a loop's clock has its grain


async def test_cancelled_at_full_speed() -> None:
    """Even without a delay a turn can be stopped, and its usage is that of what was said."""
    out = RecordingOutput()
    task = asyncio.create_task(echo().run(turn_of("/words 1000000"), out))
    async with asyncio.timeout(5):
        await out.until("text")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    said = len(out.of("text"))
    assert 0 < said < 1_000_000
    assert out.last_usage == (2, said, 0, 0)
