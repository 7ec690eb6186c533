"""The rules a session lives by: which level counts, what is in range, when it ends."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from gateway.sessions.deadlines import cap_ms, deadline_ms, moments
from gateway.sessions.policy import clamp, effective, merge
from gateway.sessions.state import SessionState
from gateway.settings import AgentPolicySettings, PolicySettings
from rpc_schema.errors import InvalidPolicy, InvalidTimeout
from rpc_schema.naming import camel
from rpc_schema.types import ContextPolicyPatch, Policy, PolicyPatch
from tests.fakes import BEGINNING_MS
from tests.unit.sessions.logs import born, patiently

MINUTE_MS = 60_000
GATEWAY = PolicySettings()
NO_AGENT = AgentPolicySettings()
FIELDS = set(AgentPolicySettings.__struct_fields__)


def policy(agent: AgentPolicySettings = NO_AGENT, session: dict[str, Any] | None = None, **gateway: Any) -> Policy:
    return effective(PolicySettings(**gateway), agent, session or {}).policy


def test_defaults() -> None:
    """As lifecycle.md says them, all from the gateway."""
    found = effective(GATEWAY, NO_AGENT)
    assert found.policy.timeout_minutes == 30
    assert found.policy.max_duration_minutes == 720
    assert found.policy.warning_threshold_minutes == 5
    assert found.policy.idle_after_minutes == 5
    assert found.policy.auto_renew is True
    assert found.policy.max_concurrent_per_user is None
    assert found.policy.auto_archive_days == 30
    assert found.policy.allow_model_override is False
    context = found.policy.context
    assert (context.policy, context.token_budget_ratio, context.keep_recent_turns) == ("summarise", 0.7, 12)
    assert set(found.sources.values()) == {"gateway"}
    assert len(found.sources) == len(FIELDS) + 1


def test_levels() -> None:
    """Session over agent over gateway, field by field; the sources say which."""
    found = effective(
        PolicySettings(timeout_minutes=60, max_duration_minutes=600, auto_renew=False),
        AgentPolicySettings(max_duration_minutes=300, warning_threshold_minutes=2),
        {"warning_threshold_minutes": 1, "context": {"policy": "window"}},
    )
    rules, sources = found.policy, found.sources
    assert (rules.timeout_minutes, sources["timeoutMinutes"]) == (60, "gateway")
    assert (rules.auto_renew, sources["autoRenew"]) == (False, "gateway")
    assert (rules.max_duration_minutes, sources["maxDurationMinutes"]) == (300, "agent")
    assert (rules.warning_threshold_minutes, sources["warningThresholdMinutes"]) == (1, "session")
    assert (rules.context.policy, rules.context.keep_recent_turns, sources["context"]) == ("window", 12, "session")


def test_null_is_a_value() -> None:
    """Where it means unlimited or never, it wins over a level below."""
    below = PolicySettings(max_concurrent_per_user=3, auto_archive_days=1)
    session = {"max_concurrent_per_user": None, "auto_archive_days": None}
    found = effective(below, NO_AGENT, session)
    assert (found.policy.max_concurrent_per_user, found.policy.auto_archive_days) == (None, None)
    assert found.sources["maxConcurrentPerUser"] == found.sources["autoArchiveDays"] == "session"


@pytest.mark.parametrize(
    ("given_fields", "expected"),
    [
        ({"timeout_minutes": 900.0}, {"timeout_minutes": 720}),
        ({"timeout_minutes": 4.0}, {"warning_threshold_minutes": 2, "idle_after_minutes": 2}),
        ({"timeout_minutes": 7.0}, {"warning_threshold_minutes": 3.5, "idle_after_minutes": 3.5}),
        (
            {"max_duration_minutes": 6.0},
            {"timeout_minutes": 6, "warning_threshold_minutes": 3, "idle_after_minutes": 3},
        ),
        ({"warning_threshold_minutes": 100.0}, {"warning_threshold_minutes": 15}),
        ({"warning_threshold_minutes": 0.0}, {"warning_threshold_minutes": 0}),
        ({"idle_after_minutes": 100.0}, {"idle_after_minutes": 30}),
        ({"idle_after_minutes": 0.25}, {"idle_after_minutes": 0.25}),
    ],
)
def test_what_depends_on_the_rest(given_fields: dict[str, float], expected: dict[str, float]) -> None:
    """The longest duration cuts a timeout; warning and idleness stay within the timeout that results."""
    for found in (
        policy(**given_fields),
        policy(AgentPolicySettings(**given_fields)),
        policy(session=given_fields),
    ):
        assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("timeout_minutes", 0.001, 5),
        ("timeout_minutes", -1, 5),
        ("timeout_minutes", 5, 5),
        ("timeout_minutes", 5.5, 5.5),
        ("timeout_minutes", 1440, 1440),
        ("timeout_minutes", 1441, 1440),
        ("max_duration_minutes", 4, 5),
        ("max_duration_minutes", 2880, 2880),
        ("max_duration_minutes", 1e300, 2880),
        ("warning_threshold_minutes", -1, 0),
        ("warning_threshold_minutes", 5000, 1440),
        ("idle_after_minutes", 0, 1 / 60),
        ("idle_after_minutes", 5000, 30),
        ("max_concurrent_per_user", 0, 1),
        ("max_concurrent_per_user", 7, 7),
        ("max_concurrent_per_user", None, None),
        ("auto_archive_days", 0, 1 / 1440),
        ("auto_archive_days", 0.5, 0.5),
        ("auto_archive_days", None, None),
        ("auto_renew", False, False),
        ("allow_model_override", True, True),
    ],
)
def test_clamping(field: str, value: Any, kept: Any) -> None:
    """A new session's own policy is moved into range; what was moved says so."""
    overrides, clamped = clamp(PolicyPatch(**{field: value}), GATEWAY)
    assert overrides == {field: kept}
    found = effective(GATEWAY, NO_AGENT, overrides, clamped)
    name = camel(field)
    assert found.sources[name] == ("session" if kept == value else "session, clamped")
    assert {source for other, source in found.sources.items() if other != name} == {"gateway"}


@pytest.mark.parametrize(
    ("patch", "kept", "is_clamped"),
    [
        ({"token_budget_ratio": 0.5}, {"token_budget_ratio": 0.5}, False),
        ({"token_budget_ratio": 0.0}, {"token_budget_ratio": 0.1}, True),
        ({"token_budget_ratio": 7.0}, {"token_budget_ratio": 0.95}, True),
        ({"keep_recent_turns": 0}, {"keep_recent_turns": 1}, True),
        ({"policy": "window", "keep_recent_turns": None}, {"policy": "window"}, False),
        ({}, {}, False),
    ],
)
def test_clamping_the_context(patch: dict[str, Any], kept: dict[str, Any], is_clamped: bool) -> None:
    """It has ranges of its own; null says nothing."""
    overrides, clamped = clamp(PolicyPatch(context=ContextPolicyPatch(**patch)), GATEWAY)
    assert overrides == {"context": kept}
    assert clamped == (("context",) if is_clamped else ())


def test_the_gateways_own_bounds() -> None:
    """Ranges are settings."""
    narrow = PolicySettings(min_timeout_minutes=1, max_timeout_minutes=2)
    overrides, _ = clamp(PolicyPatch(timeout_minutes=9, max_duration_minutes=9), narrow)
    assert overrides == {"timeout_minutes": 2, "max_duration_minutes": 4}
    assert clamp(PolicyPatch(), narrow) == ({}, ())
    assert clamp(PolicyPatch(timeout_minutes=UNSET), narrow) == ({}, ())


def test_deadlines() -> None:
    """The last activity plus the timeout with auto-renew, the creation without; never past the longest duration."""
    state = born(last_activity_at=BEGINNING_MS + 10 * MINUTE_MS)
    renewing, fixed = policy(), policy(auto_renew=False)
    assert deadline_ms(state, renewing) == BEGINNING_MS + 40 * MINUTE_MS
    assert deadline_ms(state, fixed) == BEGINNING_MS + 30 * MINUTE_MS
    short = policy(max_duration_minutes=35)
    assert deadline_ms(state, short) == cap_ms(state, short) == BEGINNING_MS + 35 * MINUTE_MS
    assert moments(state, renewing, BEGINNING_MS).warn_at == BEGINNING_MS + 35 * MINUTE_MS


def test_fractions_of_minutes() -> None:
    """A timeout of 0.005 minutes is 300 ms."""
    state = born()
    assert deadline_ms(state, policy(timeout_minutes=0.005)) == BEGINNING_MS + 300


minutes = st.floats(0.01, 10_000)


@patiently
@given(minutes, minutes, st.floats(0, 10_000), minutes, st.booleans(), st.integers(0, 10**9))
def test_any_policy(
    timeout: float, longest: float, warning: float, idle: float, auto_renew: bool, active_ms: int
) -> None:
    """Created, warned, ended: always in this order, and never later than the longest duration."""
    rules = policy(
        timeout_minutes=timeout,
        max_duration_minutes=longest,
        warning_threshold_minutes=warning,
        idle_after_minutes=idle,
        auto_renew=auto_renew,
    )
    assert 0 < rules.idle_after_minutes <= rules.timeout_minutes <= rules.max_duration_minutes
    assert rules.warning_threshold_minutes <= rules.timeout_minutes / 2
    state: SessionState = born(last_activity_at=BEGINNING_MS + active_ms)
    deadline = deadline_ms(state, rules)
    assert BEGINNING_MS < deadline <= cap_ms(state, rules)
    kept = moments(state, rules, BEGINNING_MS)
    assert kept.warn_at is not None
    assert kept.warn_at <= deadline == kept.expires_at


INHERITED = effective(GATEWAY, NO_AGENT).policy


@pytest.mark.parametrize(
    ("own", "patch", "merged"),
    [
        ({}, {"timeout_minutes": 60.0}, {"timeout_minutes": 60}),
        ({"timeout_minutes": 60}, {"auto_renew": False}, {"timeout_minutes": 60, "auto_renew": False}),
        ({"timeout_minutes": 60, "auto_renew": False}, {"timeout_minutes": None}, {"auto_renew": False}),
        ({"auto_archive_days": None}, {}, {"auto_archive_days": None}),
        ({"auto_archive_days": None}, {"auto_archive_days": None}, {}),
        ({}, {"timeout_minutes": None}, {}),
        ({}, {"warning_threshold_minutes": 1000.0}, {"warning_threshold_minutes": 1000}),
        ({}, {"timeout_minutes": 60.0, "idle_after_minutes": 60.0}, {"timeout_minutes": 60, "idle_after_minutes": 60}),
        (
            {"context": {"policy": "window"}},
            {"context": ContextPolicyPatch(keep_recent_turns=3)},
            {"context": {"policy": "window", "keep_recent_turns": 3}},
        ),
        ({"context": {"policy": "window"}}, {"context": ContextPolicyPatch(policy=None)}, {}),
        ({"context": {"policy": "window"}}, {"context": None}, {}),
    ],
)
def test_merging(own: dict[str, Any], patch: dict[str, Any], merged: dict[str, Any]) -> None:
    """What is not said stays, null clears."""
    assert merge(own, PolicyPatch(**patch), GATEWAY, INHERITED) == merged
    assert merge(own, None, GATEWAY, INHERITED) == {}


@pytest.mark.parametrize(
    ("patch", "error", "path"),
    [
        ({"timeout_minutes": 0.0}, InvalidTimeout, "$.policy.timeoutMinutes"),
        ({"timeout_minutes": -5.0}, InvalidTimeout, "$.policy.timeoutMinutes"),
        ({"timeout_minutes": 1e308}, InvalidTimeout, "$.policy.timeoutMinutes"),
        ({"timeout_minutes": 1441.0}, InvalidTimeout, "$.policy.timeoutMinutes"),
        ({"max_duration_minutes": 2881.0}, InvalidTimeout, "$.policy.maxDurationMinutes"),
        ({"warning_threshold_minutes": -1.0}, InvalidTimeout, "$.policy.warningThresholdMinutes"),
        ({"idle_after_minutes": 31.0}, InvalidTimeout, "$.policy.idleAfterMinutes"),
        ({"idle_after_minutes": 0.0}, InvalidTimeout, "$.policy.idleAfterMinutes"),
        ({"max_concurrent_per_user": 0}, InvalidPolicy, "$.policy.maxConcurrentPerUser"),
        ({"auto_archive_days": 0.0}, InvalidPolicy, "$.policy.autoArchiveDays"),
        (
            {"context": ContextPolicyPatch(token_budget_ratio=0.99)},
            InvalidPolicy,
            "$.policy.context.tokenBudgetRatio",
        ),
    ],
)
def test_what_an_update_refuses(patch: dict[str, Any], error: type[Exception], path: str) -> None:
    """What is out of range, by its name on the wire, with what is allowed."""
    with pytest.raises(error) as refused:
        merge({}, PolicyPatch(**patch), GATEWAY, INHERITED)
    assert (refused.value.path, "give" in refused.value.reason) == (path, True)  # type: ignore[attr-defined]


def test_what_was_set_for_an_agent() -> None:
    """It wins over the agent's settings, and a session's own over it."""
    agent = AgentPolicySettings(timeout_minutes=60, auto_renew=False)
    found = effective(GATEWAY, agent, {"auto_renew": True}, stored={"timeout_minutes": 90, "auto_renew": False})
    assert (found.policy.timeout_minutes, found.sources["timeoutMinutes"]) == (90, "agent, set")
    assert (found.policy.auto_renew, found.sources["autoRenew"]) == (True, "session")


patches = st.fixed_dictionaries(
    {},
    optional={
        "timeout_minutes": st.floats(allow_nan=False, allow_infinity=False),
        "max_duration_minutes": st.floats(allow_nan=False, allow_infinity=False),
        "warning_threshold_minutes": st.floats(allow_nan=False, allow_infinity=False),
        "idle_after_minutes": st.floats(allow_nan=False, allow_infinity=False),
        "max_concurrent_per_user": st.none() | st.integers(),
        "auto_archive_days": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    },
)


@patiently
@given(patches)
def test_any_wish(patch: dict[str, Any]) -> None:
    """Clamped once is clamped for good: what was kept would be taken as it is."""
    overrides, _ = clamp(PolicyPatch(**patch), GATEWAY)
    assert clamp(PolicyPatch(**overrides), GATEWAY) == (overrides, ())
    assert overrides.keys() == patch.keys()
