"""A page for people: all that was said, and nothing that is said gets out of its place."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.sessions import markdown
from gateway.sessions.policy import effective
from gateway.sessions.state import Details
from gateway.sessions.summary import summary
from gateway.settings import AgentPolicySettings, PolicySettings
from rpc_schema import events as ev
from rpc_schema.types import Lineage
from tests.fakes import BEGINNING_MS
from tests.unit.sessions.logs import assistant, born, call, numbered, patiently, result, user

POLICY = effective(PolicySettings(), AgentPolicySettings()).policy
WHEN = "2026-11-20 09:30:00 UTC"


def page_of(event: Any, agent: str = "Echo") -> str:
    (event,) = numbered(born(), [event])
    return markdown.block(event, agent)


def top(**fields: Any) -> str:
    return markdown.header(summary(born(**fields), POLICY, "Echo", BEGINNING_MS)).decode()


def test_the_top() -> None:
    """Title, facts, where it comes from and where it went."""
    state = {"details": Details(title="My talk", title_source="user"), "key": "a/b", "message_count": 3}
    assert top(**state) == (
        "# My talk\n\n- Session: a\\/b\n- Agent: Echo \\(echo\\)\n- User: ann\n"
        "- Began: 2026\\-11\\-20 09\\:30\\:00 UTC\n- Last activity: 2026\\-11\\-20 09\\:30\\:00 UTC\n"
        "- State: live\n- Messages: 3\n\n"
    )
    gone = top(lifecycle="ended", end_reason="transferred", transferred_to="new", forked_from=Lineage(key="k", seq=7))
    assert "- State: ended \\(transferred\\)\n" in gone
    assert "- Forked from: k, event 7\n- Transferred to: new\n" in gone
    assert top().startswith("# k\n")


@pytest.mark.parametrize(
    "title", ["=1+1", "<script>x</script>", "[x](http://evil)", "![x](y)", "a | b", "`x`", "&lt;", "x\n# y", "\x1b[31m"]
)
def test_a_title_stays_text(title: str) -> None:
    """Whatever it looks like: every character of it that means something is escaped, it is one line."""
    first, second = top(details=Details(title=title, title_source="user")).split("\n")[:2]
    assert second == ""
    assert first.startswith("# ")
    assert not re.search(r"(?<!\\)[<>\[\]`|&=!()#]", first[2:])
    assert "\x1b" not in first


def test_what_is_said() -> None:
    """Who, when, and the words as they are."""
    assert page_of(user("t", "hi\nthere")) == f"## ann, {WHEN}\n\n```\nhi\nthere\n```\n\n"
    assert page_of(replace(user("t"), via="bot")).startswith("## ann \\(sent by bot\\), ")
    assert page_of(assistant("t", "ho")) == f"## Echo, {WHEN}\n\n```\nho\n```\n\n"
    assert page_of(assistant("t", "ho", "stopped")).endswith("```\n\n*Stopped here.*\n\n")
    assert page_of(assistant("t", "", "interrupted")) == f"## Echo, {WHEN}\n\n*Cut off here.*\n\n"
    assert page_of(assistant("t", "", "tool_use")) == ""
    assert page_of(ev.MessageSystem(content="x")) == f"## Note, {WHEN}\n\n```\nx\n```\n\n"


def test_tools_are_folded() -> None:
    """The call and what came of it; JSON is laid out, text is text."""
    assert page_of(call("t", "c<1>", {"q": 1})) == (
        '<details><summary>Tool call: look (c&lt;1&gt;)</summary>\n\n```\n{\n  "q": 1\n}\n```\n\n</details>\n\n'
    )
    assert (
        page_of(result("t", "c")) == "<details><summary>Tool result (c)</summary>\n\n```\nfound\n```\n\n</details>\n\n"
    )
    assert "Tool failed (c)</summary>\n\n```\nno\n```" in page_of(result("t", "c", None, "no"))


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (ev.Reset(messages_cleared=4, cleared_to=9), "The history was cleared\\: 4 messages\\."),
        (ev.TurnFailed(turn="t", code="agent_failed", message="no *luck*"), "No answer\\: no \\*luck\\*\\."),
        (ev.SessionStateChanged(from_="live", to="ended", reason="user"), "The session ended\\: user\\."),
        (ev.SessionTransferred(to="new"), "Transferred to new\\."),
        (ev.SessionTransferred(from_="old"), "Transferred from old\\."),
    ],
)
def test_marks(event: Any, text: str) -> None:
    """What happened to the session, where it happened."""
    assert page_of(event) in (f"---\n\n*{WHEN}: {text}*\n\n", f"---\n\n*{WHEN}: {text.removesuffix('.')[:-1]}*\n\n")


@pytest.mark.parametrize(
    "event", [ev.TurnStarted(model="m"), ev.SessionStateChanged(from_="live", to="idle", reason="idle")]
)
def test_what_is_not_shown(event: Any) -> None:
    """Nothing is nothing, not an empty heading."""
    assert page_of(event) == ""


@patiently
@given(st.text(st.sampled_from("`~#<>\n\r\x1b\u202e -a|")))
def test_nothing_gets_out(text: str) -> None:
    """What stands between the fences is never as long as they are, and has no control characters."""
    heading, empty, fence, *inside, end, last, after = page_of(user("t", text + "x")).split("\n")
    assert (heading, empty, end, last, after) == (f"## ann, {WHEN}", "", fence, "", "")
    assert re.fullmatch("`{3,}", fence)
    assert all(len(run) < len(fence) for line in inside for run in re.findall("`+", line))
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", "\n".join(inside))
    expected = (text + "x").replace("\r\n", "\n").replace("\r", "\n")
    assert "\n".join(inside) == re.sub("[\x1b\u202e]", "", expected)
