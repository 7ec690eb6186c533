"""Scripts mean what their notation says, and a gateway that does otherwise is found out."""

from pathlib import Path
from typing import Any

import pytest

from tests.wire.pattern import Mismatch, read
from tests.wire.play import play, strict
from tests.wire.script import Closed, Do, Hear, Later, Say, SayBytes, ScriptError, Silence, Step, expand, parse

LIST = '--> {"jsonrpc":"2.0","id":1,"method":"agent.list"}\n'


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("--> {}", Say("{}")),
        ("-->  two spaces ", Say(" two spaces ")),
        ("-->", Say("")),
        ("--> ⟨3 * [⟩", Say("[[[")),
        ("-->b64 AAEC", SayBytes(b"\0\1\2", is_text=False)),
        ("-->b64", SayBytes(b"", is_text=False)),
        ("-->utf8 FF 00", SayBytes(b"\xff\0", is_text=True)),
        ('<-- {"a":1}', Hear((read('{"a":1}'),))),
        ("<~~ 1", Hear((read("1"),))),
        ("<-- silence", Silence()),
        ("<== close 1009", Closed(1009)),
        ("=== 1 minute later", Later(1)),
        ("=== 31 minutes later", Later(31)),
        ("=== reconnect", Do("reconnect")),
        ("=== drain", Do("drain")),
        ("=== stop", Do("stop")),
    ],
)
def test_a_line(line: str, step: Step) -> None:
    """Each kind of line is one step, which knows its line."""
    assert parse(f"# why\n\n{line}").steps == ((3, step),)


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "-> {}",
        "-->{}",
        "<-- {",
        "<== close",
        "<== close 1009 too big",
        "=== later",
        "=== restart",
        "-->b64 *",
        "-->utf8 F",
        " --> {}",
    ],
)
def test_a_line_that_makes_no_sense(line: str) -> None:
    """It is named by its number."""
    with pytest.raises(ScriptError, match=r"^line 2: "):
        parse(f"--> {{}}\n{line}")


def test_frames_in_any_order() -> None:
    """Neighbouring lines belong together, others do not."""
    one, two = read("1"), read("2")
    steps = parse("<~~ 1\n# why\n<~~ 2\n<-- 1\n<~~ 1\n--> 3\n<~~ 2").steps
    assert [step for _, step in steps] == [Hear((one, two)), Hear((one,)), Hear((one,)), Say("3"), Hear((two,))]


def test_settings() -> None:
    """They come first and are TOML; later `===` is something else."""
    script = parse("=== limits.batch_items = 2\n=== server.allowed_origins = ['a']\n--> {}")
    assert script.settings == {"limits.batch_items": 2, "server.allowed_origins": ["a"]}
    with pytest.raises(ScriptError, match=r"^line 2: "):
        parse("--> {}\n=== limits.batch_items = 2")


def test_what_is_written_out() -> None:
    """Repetitions number themselves; characters may stand in them."""
    assert expand('[⟨2 * {"id":№},⟩⟨U+FEFF⟩]') == '[{"id":1},{"id":2},\ufeff]'
    assert expand("⟨turn⟩ ⟨2 * ⟩") == "⟨turn⟩ ⟨2 * ⟩"


def test_names_in_a_frame() -> None:
    """What was heard can be said."""
    assert Say('{"turn":"⟨turn⟩"}').frame({"turn": "t_1"}) == '{"turn":"t_1"}'


@pytest.mark.parametrize("text", ["NaN", '{"a":-Infinity}', '{"a":1,"a":1}', '[{"a":{"b":1,"b":2}}]'])
def test_what_the_gateway_may_not_send(text: str) -> None:
    """It is held to JSON more strictly than Python's reader."""
    with pytest.raises(Mismatch):
        strict(text)


@pytest.mark.parametrize(
    ("lines", "failure"),
    [
        (f'{LIST}<-- {{"jsonrpc":"2.0","id":2, …}}', "line 2: $.id: expected 2, heard 1"),
        (f'{LIST}<-- {{"jsonrpc":"2.0","id":1,"result":{{}}}}', "line 2: $.result.agents: expected no such member"),
        (f"{LIST}<-- silence", "line 2: $: expected silence"),
        (LIST, "line 1: $: expected silence"),
        (f"{LIST}<-- …\n<== close 1009", "line 3: nothing was heard"),
        (f"{LIST}<== close 1009", "line 2: $: expected close 1009"),
        ("-->utf8 FF\n<== close 1009", "line 2: $: expected close 1009, heard 1007"),
        ("-->utf8 FF\n<-- …", "line 2: "),
        (f"{LIST}<~~ …\n<~~ …", "line 2: nothing was heard"),
    ],
)
async def test_a_script_that_is_not_kept(
    lines: str, failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails, with the line and what was heard instead; so it does when something is left over."""
    monkeypatch.setattr("tests.wire.play.PATIENCE_S", 0.2)
    recording = await play(parse(lines), tmp_path)
    assert (recording.failure or "").startswith(failure)


async def test_a_script_that_is_kept(tmp_path: Path) -> None:
    """It is written down, frame by frame."""
    recording = await play(parse(f"{LIST}<-- …"), tmp_path)
    said: list[Any] = [(frame.by, frame.text[:33]) for frame in recording.frames]
    assert recording.failure is None
    assert said[:3] == [("connection", ""), ("client", LIST[4:37]), ("gateway", '{"jsonrpc":"2.0","id":1,"result":')]
