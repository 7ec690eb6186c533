"""How an answer looks while it comes."""

from typing import Any

import pytest

from gateway.cli import output
from gateway.cli.answer import Screen
from gateway.client import ChatUpdate
from rpc_schema.events import MessageAssistant, MessageUser, ToolCall, ToolResult, TurnCompleted
from rpc_schema.notifications import Delta

SAID = MessageAssistant(turn="t", content="…", finish_reason="stop", partial=False)
UPDATES: list[ChatUpdate] = [
    MessageUser(turn="t", content="question"),
    Delta(turn="t", kind="reasoning", offset=0, text="hmm"),
    Delta(turn="t", kind="text", offset=0, text="one "),
    Delta(turn="t", kind="text", offset=4, text="two"),
    SAID,
    ToolCall(turn="t", call_id="c", name="weather", input={"city": "\x1b]0;x\x07" + "L" * 200}),
    ToolResult(turn="t", call_id="c", output=None, error="no\nnet", duration_ms=1),
    Delta(turn="t", kind="tool_input", offset=0, text="{}"),
    Delta(turn="t", kind="text", offset=7, text="\x1b[2Jthree\n"),
    SAID,
    TurnCompleted(turn="t"),
]


def shown(capsys: pytest.CaptureFixture[str], **how: Any) -> str:
    screen = Screen(**how)
    for update in UPDATES:
        screen.show(update)
    return capsys.readouterr().out


def test_a_pipe_gets_the_answers_text_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """Each message ends its line; control characters are gone here too."""
    assert shown(capsys, is_for_people=False) == "one two\n[2Jthree\n"


def test_people_see_reasoning_and_tools_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reasoning dimmed, a line for a tool call, another if it failed."""
    monkeypatch.setattr(output, "is_terminal", lambda stream=None: True)
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_: False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    reasoning, one, call, failed, three = shown(capsys, is_for_people=True).splitlines()
    assert reasoning == "\x1b[2mhmm\x1b[0m"
    assert one == "one two"
    assert call.startswith('\x1b[2m→ weather {"city":"\\u001b]0;x\\u0007LLL')
    assert len(call) < 130
    assert failed == "\x1b[2m→ failed: no net\x1b[0m"
    assert three == "[2Jthree"
