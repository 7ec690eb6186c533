"""A session as the wire shows it."""

from typing import Any

import msgspec
import pytest

from gateway.sessions.policy import effective
from gateway.sessions.state import Details, RunningTurn, WaitingTurn
from gateway.sessions.summary import session_status, summary
from gateway.settings import AgentPolicySettings, PolicySettings
from tests.fakes import BEGINNING_MS
from tests.unit.sessions.logs import born

POLICY = effective(PolicySettings(), AgentPolicySettings()).policy
MINUTE_MS = 60_000


def shown(now_ms: int = BEGINNING_MS, **fields: Any) -> dict[str, Any]:
    return msgspec.to_builtins(summary(born(**fields), POLICY, "Echo", now_ms))


def test_what_is_not_there_is_left_out() -> None:
    """No nulls for a session of which little is known."""
    session = shown()
    assert None not in session.values()
    absent = {"title", "titleSource", "project", "turn", "endReason", "endedAt", "archivedAt", "modelOverride"}
    assert not absent & session.keys()


def test_everything() -> None:
    """What is known is shown by its name on the wire."""
    session = shown(
        details=Details("mine", "user", {"a": "b"}, {"secret": 1}),
        project="p",
        pinned=True,
        is_model_override=True,
        model="other",
        turn=RunningTurn("t1", 2),
        queue=(WaitingTurn("t2", 4), WaitingTurn("t3", 5)),
        input_tokens=7,
        cost_usd=None,
        archived_at=BEGINNING_MS,
        head=9,
    )
    assert (
        session.items()
        >= {
            "title": "mine",
            "titleSource": "user",
            "labels": {"a": "b"},
            "project": "p",
            "pinned": True,
            "model": "other",
            "modelOverride": "other",
            "turn": {"id": "t1", "state": "running"},
            "queued": 2,
            "inputTokens": 7,
            "archivedAt": "2026-11-20T09:30:00.123Z",
            "head": 9,
        }.items()
    )
    assert "costUsd" not in session
    assert "secret" not in str(session)


@pytest.mark.parametrize(
    ("minutes", "remaining_ms", "is_near"),
    [
        (0, 30 * MINUTE_MS, False),
        (24.99, None, False),
        (25, 5 * MINUTE_MS, True),
        (29.9, None, True),
        (30, 0, False),
        (99, 0, False),
    ],
)
def test_its_time(minutes: float, remaining_ms: int | None, is_near: bool) -> None:
    """What remains is never below nothing; near the end is inside the threshold and before the end."""
    session = shown(BEGINNING_MS + round(minutes * MINUTE_MS))
    assert session["expiresAt"] == "2026-11-20T10:00:00.123Z"
    assert session["isNearExpiration"] is is_near
    assert remaining_ms in (None, session["timeRemainingMs"])


def test_without_a_deadline() -> None:
    """A session that has ended has none; a paused one has what was left."""
    later = BEGINNING_MS + 29 * MINUTE_MS
    over = shown(later, lifecycle="ended")
    assert not {"expiresAt", "timeRemainingMs"} & over.keys()
    paused = shown(later, lifecycle="paused", paused_at=BEGINNING_MS + MINUTE_MS)
    assert "expiresAt" not in paused
    assert paused["timeRemainingMs"] == 29 * MINUTE_MS
    assert (over["isNearExpiration"], paused["isNearExpiration"]) == (False, False)
    status = session_status(born(lifecycle="ended"), POLICY, BEGINNING_MS, was_renewed=False)
    assert (status.expires_at, status.is_near_expiration) == (None, False)


def test_paused_near_its_end() -> None:
    """What was left decides, not the clock."""
    paused = shown(BEGINNING_MS + 60 * MINUTE_MS, lifecycle="paused", paused_at=BEGINNING_MS + 26 * MINUTE_MS)
    assert (paused["timeRemainingMs"], paused["isNearExpiration"]) == (4 * MINUTE_MS, True)


@pytest.mark.parametrize(("minutes", "end"), [(29, "10:00:00"), (30, "21:30:00"), (700, "21:30:00")])
def test_a_turn_that_says_nothing(minutes: int, end: str) -> None:
    """The end that it holds off is never in the past: then it is the longest duration that ends the session."""
    session = shown(BEGINNING_MS + minutes * MINUTE_MS, turn=RunningTurn("t1", 2))
    assert session["expiresAt"] == f"2026-11-20T{end}.123Z"
    assert session["timeRemainingMs"] > 0


def test_what_a_message_did() -> None:
    """The end it has now, how often it was renewed, whether this message did."""
    status = session_status(born(renewal_count=3), POLICY, BEGINNING_MS, was_renewed=True)
    assert (status.expires_at, status.renewal_count, status.was_renewed) == ("2026-11-20T10:00:00.123Z", 3, True)
