"""What a Chat Completions server complains of, as an AgentFailure. Pure.

The sentences are shown to users: they never hold the API key, a line break,
a library's words, or more than 300 characters of what the server said.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
from msgspec import Struct

from gateway.agents.base import AgentFailure

MAX_QUOTED = 300
MAX_RETRY_MS = 86_400_000

_UNAVAILABLE = (401, 403, 404, 429)
_TOO_LONG = re.compile(
    r"context[_ ](length|size|window)|maximum context|prompt is too long|input is too long|too many tokens"
    r"|reduce the length",
    re.IGNORECASE,
)
_FILTERED = re.compile(r"content_filter|content_policy|ResponsibleAIPolicy", re.IGNORECASE)
_LIMITED = re.compile(r"rate_?limit|insufficient_quota|too_many_requests", re.IGNORECASE)
_BROKEN = re.compile(r"server_?error|overloaded|unavailable", re.IGNORECASE)


class Complaint(Struct, frozen=True):
    """An error as servers word it: every code, type and status in one string, and a sentence; both may be empty."""

    code: str = ""
    message: str = ""


class ChatFailures:
    """Failures of one turn. Knows the key only to keep it out of them."""

    def __init__(self, *, key: str, key_env: str) -> None:
        self._key, self._key_env = key, key_env

    def of_status(self, status: int, body: bytes, headers: Mapping[str, str]) -> AgentFailure:
        """Read an answer whose status is not 2xx; `headers` must not mind case."""
        return self._of(status, read_complaint(body), retry_after_ms(headers, now=datetime.now(UTC)))

    def in_stream(self, payload: bytes) -> AgentFailure:
        """Read an error that came where a chunk was due."""
        complaint = read_complaint(payload)
        status = next((int(word) for word in complaint.code.split() if re.fullmatch("[45][0-9][0-9]", word)), None)
        if status is None and _LIMITED.search(complaint.code):
            status = 429
        elif status is None and _BROKEN.search(complaint.code):
            status = 503
        return self._of(status or 400, complaint, None)

    def _of(self, status: int, complaint: Complaint, retry_ms: int | None) -> AgentFailure:
        if _FILTERED.search(complaint.code):
            return filtered()
        if status in (400, 413, 422) and _TOO_LONG.search(f"{complaint.code} {complaint.message}"):
            return AgentFailure("context_too_long", "The conversation is longer than the model can take.")
        if 400 <= status < 500 and status not in _UNAVAILABLE:
            reason = self._quoted(complaint.message) or f"HTTP {status}"
            return AgentFailure("agent_failed", f"The model's server reports: {reason}")
        return AgentFailure("agent_unavailable", self._why_unavailable(status), retry_after_ms=retry_ms)

    def _why_unavailable(self, status: int) -> str:
        match status:
            case 401 | 403:
                return f"The model's server refused the API key; {self._where_to_look()}."
            case 404:
                return "The model's server knows no such model or address; check model and base_url."
            case 429:
                return "The model's server takes no more requests for now."
        if status >= 500:
            return f"The model's server failed (HTTP {status})."
        return f"The model's server is elsewhere (HTTP {status}); check base_url."

    def _where_to_look(self) -> str:
        return f"check the key in {self._key_env}" if self._key_env else "name the key's variable in api_key_env"

    def _quoted(self, message: str) -> str:
        if self._key:
            message = message.replace(self._key, "***")
        printable = "".join(char if char.isprintable() else " " for char in message)
        return " ".join(printable.split())[:MAX_QUOTED]


def filtered() -> AgentFailure:
    """The provider's filter cut the answer, or refused to give one."""
    return AgentFailure("content_filtered", "The model's provider filtered the answer.")


def read_complaint(body: bytes) -> Complaint:
    """Find code and message in any of the shapes that servers use; whatever else it is says nothing."""
    try:
        value: Any = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return Complaint()
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict) and value.get("error"):
        value = value["error"]
    if isinstance(value, str):
        return Complaint(message=value)
    if not isinstance(value, dict):
        return Complaint()
    code = " ".join(str(value[name]) for name in ("code", "type", "status") if value.get(name))
    message = value.get("message") or value.get("detail") or ""
    return Complaint(code, message if isinstance(message, str) else "")


def retry_after_ms(headers: Mapping[str, str], *, now: datetime) -> int | None:
    """Read Retry-After, in seconds or as a date; None when it is absent or makes no sense."""
    said = headers.get("Retry-After", "")
    try:
        seconds = float(said)
    except ValueError:
        try:
            date = parsedate_to_datetime(said)
        except (ValueError, OverflowError):
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    if not math.isfinite(seconds):
        return None
    return min(max(0, math.ceil(seconds * 1000)), MAX_RETRY_MS)
