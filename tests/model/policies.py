"""The rules of a session as lifecycle.md has them, written anew. Minutes and days, in the words of the wire."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.model.refusals import Refused

Json = Any
Rules = dict[str, Any]

GATEWAY: Rules = {
    "idleAfterMinutes": None,
    "timeoutMinutes": 30,
    "maxDurationMinutes": 720,
    "warningThresholdMinutes": 5,
    "autoRenew": True,
    "maxConcurrentPerUser": None,
    "autoArchiveDays": 30,
    "allowModelOverride": False,
}
SHORTEST, LONGEST = 5, 1440
TIMES = ("idleAfterMinutes", "timeoutMinutes", "maxDurationMinutes", "warningThresholdMinutes")
NULL_IS_A_VALUE = ("maxConcurrentPerUser", "autoArchiveDays")


def effective(*levels: Mapping[str, Any]) -> Rules:
    """The gateway's, under these."""
    rules = dict(GATEWAY)
    for level in levels:
        rules |= level
    timeout, longest = rules["timeoutMinutes"], rules["maxDurationMinutes"]
    timeout = rules["timeoutMinutes"] = min(timeout, longest)
    rules["warningThresholdMinutes"] = min(rules["warningThresholdMinutes"], timeout / 2, longest / 2)
    idle = rules["idleAfterMinutes"]
    rules["idleAfterMinutes"] = min(5, timeout / 2) if idle is None else min(idle, timeout)
    return rules


def at_birth(patch: Mapping[str, Any]) -> tuple[Rules, set[str]]:
    """A new session's own rules, moved into range, and which of them had to be."""
    own = {name: value for name, value in patch.items() if value is not None or name in NULL_IS_A_VALUE}
    wrong = dict(_misfits(own, own.get("timeoutMinutes", GATEWAY["timeoutMinutes"])))
    for name, (low, high) in wrong.items():
        own[name] = min(max(own[name], low), high)
    return own, set(wrong)


def merged(own: Mapping[str, Any], patch: Mapping[str, Any] | None, inherited: Rules) -> Rules:
    """The rules after an update, which refuses what is out of range; null clears.

    Raises:
        Refused: 400.
    """
    if patch is None:
        return {}
    after = {**own, **patch}
    after = {name: value for name, value in after.items() if value is not None or name not in patch}
    both = {**inherited, **after}
    timeout = min(both["timeoutMinutes"], both["maxDurationMinutes"])
    for name, (low, high) in _misfits({name: after[name] for name in patch if name in after}, timeout):
        code = "invalid_timeout" if name in TIMES else "invalid_policy"
        raise Refused(400, code, path=f"$.policy.{name}", reason=f"give {low:g} to {high:g}")
    return after


def _misfits(values: Mapping[str, Any], timeout: float) -> Iterator[tuple[str, tuple[float, float]]]:
    ranges = {
        "timeoutMinutes": (SHORTEST, LONGEST),
        "maxDurationMinutes": (SHORTEST, 2 * LONGEST),
        "warningThresholdMinutes": (0, LONGEST),
        "idleAfterMinutes": (1 / 60, min(max(timeout, SHORTEST), LONGEST)),
        "maxConcurrentPerUser": (1, 2**31),
        "autoArchiveDays": (1 / 1440, 36500),
    }
    for name, (low, high) in ranges.items():
        if (value := values.get(name)) is not None and not low <= value <= high:
            yield name, (low, high)
