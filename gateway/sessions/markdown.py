"""A session as a page for people: Markdown that says what was said, and nothing else. Pure.

Whatever people, agents and tools wrote stands in a fence that is longer than
any inside, so none of it is taken for a heading, a link, an image or the end of
its place. Names and titles are escaped. There are no control characters.
"""

import html
import re
from typing import Any

import msgspec

from rpc_schema import events as ev
from rpc_schema.types import Session

SHOWN = (
    "message.user",
    "message.assistant",
    "message.system",
    "tool.call",
    "tool.result",
    "turn.failed",
    "reset",
    "session.state",
    "session.transferred",
)
"""The types of events that are seen on the page."""

_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&:@/$=])")
_TICKS = re.compile("`+")
_CUT = {"stopped": "Stopped here.", "interrupted": "Cut off here.", "failed": "Failed here.", "length": "Cut here."}


def header(session: Session) -> bytes:
    """The top of the page: title and facts."""
    origin = session.forked_from
    facts = {
        "Session": session.key,
        "Agent": f"{session.agent_name} ({session.model})" if session.model else session.agent_name,
        "User": session.user,
        "Began": _time(session.created_at),
        "Last activity": _time(session.last_activity_at),
        "State": f"{session.state} ({session.end_reason})" if session.end_reason else session.state,
        "Messages": str(session.message_count),
        "Forked from": f"{origin.key}, event {origin.seq}" if origin is not None else None,
        "Transferred from": session.transferred_from,
        "Transferred to": session.transferred_to,
    }
    lines = [f"- {name}: {_inline(value)}" for name, value in facts.items() if value is not None]
    return "\n".join([f"# {_inline(session.title or session.key)}", "", *lines, "", ""]).encode()


def block(event: ev.AnyEvent, agent_name: str) -> str:  # noqa: PLR0911  # one arm an event
    """An event on the page, with an empty line behind it; nothing where there is nothing to see."""
    match event:
        case ev.MessageUser():
            via = f" (sent by {event.via})" if event.via else ""
            return _heading(f"{event.author or 'User'}{via}", event.at) + _fenced(event.content)
        case ev.MessageAssistant():
            return _answer(event, agent_name)
        case ev.MessageSystem():
            return _heading("Note", event.at) + _fenced(event.content)
        case ev.ToolCall():
            return _folded(f"Tool call: {event.name} ({event.call_id})", _as_text(event.input))
        case ev.ToolResult(error=None):
            return _folded(f"Tool result ({event.call_id})", _as_text(event.output))
        case ev.ToolResult():
            return _folded(f"Tool failed ({event.call_id})", event.error or "")
        case ev.TurnFailed():
            return _mark(f"No answer: {event.message}", event.at)
        case ev.Reset():
            return _mark(f"The history was cleared: {event.messages_cleared} messages.", event.at)
        case ev.SessionStateChanged(to="ended"):
            return _mark(f"The session ended: {event.reason}.", event.at)
        case ev.SessionTransferred():
            return _mark(f"Transferred to {event.to}." if event.to else f"Transferred from {event.from_}.", event.at)
        case _:
            return ""


def _answer(message: ev.MessageAssistant, agent_name: str) -> str:
    cut = _CUT.get(message.finish_reason)
    if not message.content and cut is None:
        return ""
    said = _fenced(message.content) if message.content else ""
    return _heading(agent_name, message.at) + said + (f"*{cut}*\n\n" if cut is not None else "")


def _heading(who: str, at: str) -> str:
    return f"## {_inline(who)}, {_time(at)}\n\n"


def _mark(text: str, at: str) -> str:
    return f"---\n\n*{_time(at)}: {_inline(text)}*\n\n"


def _folded(summary: str, text: str) -> str:
    return f"<details><summary>{html.escape(_one_line(summary))}</summary>\n\n{_fenced(text)}</details>\n\n"


def _fenced(text: str) -> str:
    cleaned = _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    fence = "`" * max(3, 1 + max(map(len, _TICKS.findall(cleaned)), default=0))
    return f"{fence}\n{cleaned}\n{fence}\n\n"


def _inline(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", _one_line(text))


def _one_line(text: str) -> str:
    return _INVISIBLE.sub("", " ".join(text.split()))


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value)).decode()


def _time(at: str) -> str:
    return f"{at[:10]} {at[11:19]} UTC"
