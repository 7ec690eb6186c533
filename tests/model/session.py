"""One session as lifecycle.md and protocol.md describe it, written anew; knows nothing of the gateway's code.

Where the gateway reckons from what happened, this keeps what follows from it:
two bases that the end counts from, which a pause moves along.
"""

from collections.abc import Iterator
from typing import Any

from gateway.clock import instant
from tests.model.refusals import Refused

MINUTE_MS, DAY_MS = 60_000, 24 * 60 * 60_000
TALKING = ("live", "idle")
Json = Any


def ms(minutes: float) -> int:
    return round(minutes * MINUTE_MS)


class Session:
    """What is known of a session; `rules` is what it lives by, set anew whenever that may have changed."""

    def __init__(self, number: int, key: str, agent: str, user: str, now: int) -> None:
        self.number, self.key, self.agent, self.user, self.now = number, key, agent, user, now
        self.own: dict[str, Any] = {}
        self.clamped: set[str] = set()
        self.rules: dict[str, Any] = {}
        self.state, self.is_deleted = "live", False
        self.end_reason: str | None = None
        self.ended_at = self.over_at = self.archived_at = self.restored_at = None
        self.warned_of = self.paused_at = None
        self.created_at = self.active_at = self.awake_at = now
        self.base_by_activity = self.base_by_hand = now
        self.title: str | None = None
        self.titled_by: str | None = None
        self.labels: dict[str, str] = {}
        self.metadata: Json = {}
        self.is_pinned = False
        self.messages = self.tool_calls = self.resets = self.renewals = self.head = 0
        self.revision = 1
        self.turn: str | None = None
        self.said = ""
        self.queue: list[str] = []
        self.log: list[Json] = []
        self.told: list[Json] = []

    # What follows from time.

    @property
    def is_busy(self) -> bool:
        return self.turn is not None or bool(self.queue)

    @property
    def is_empty(self) -> bool:
        return not self.messages and not self.resets

    @property
    def timeout_at(self) -> int:
        base = self.base_by_activity if self.rules["autoRenew"] else self.base_by_hand
        return base + ms(self.rules["timeoutMinutes"])

    @property
    def cap_at(self) -> int:
        return self.created_at + ms(self.rules["maxDurationMinutes"])

    @property
    def deadline(self) -> int:
        return min(self.timeout_at, self.cap_at)

    @property
    def threshold(self) -> int:
        return ms(self.rules["warningThresholdMinutes"])

    @property
    def idle_at(self) -> int:
        return self.awake_at + ms(self.rules["idleAfterMinutes"])

    @property
    def end_ahead(self) -> int:
        """The end that people are warned of: a turn that runs or waits renews, but not past the longest duration."""
        is_held = self.is_busy and (self.rules["autoRenew"] or self.deadline <= self.now)
        return self.cap_at if is_held else self.deadline

    @property
    def archive_at(self) -> int | None:
        if self.state != "ended" or self.archived_at or self.is_pinned or self.rules["autoArchiveDays"] is None:
            return None
        return max(self.ended_at, self.restored_at or 0) + round(self.rules["autoArchiveDays"] * DAY_MS)

    @property
    def is_near_end(self) -> bool:
        return self.left is not None and 0 < self.left <= self.threshold

    def moments(self) -> Iterator[int]:
        """When something may happen to it: what a clock is turned to."""
        if self.is_deleted:
            return
        if self.state == "ended":
            yield from () if self.archive_at is None else (self.archive_at,)
            return
        yield self.cap_at
        if self.state in TALKING:
            yield from (self.timeout_at, self.idle_at, self.end_ahead - self.threshold)

    def elapse(self, now: int) -> None:
        """What time alone does."""
        self.now = now
        if self.is_deleted:
            return
        if self.state == "ended":
            if self.archive_at is not None and self.archive_at <= now:
                self.archive(by=None)
            return
        is_inactive = self.state in TALKING and not self.is_busy and self.timeout_at <= now
        if is_inactive and self.timeout_at < self.cap_at:
            self.over_at = self.timeout_at
            self.change("ended", "idle_timeout" if self.rules["autoRenew"] else "expired")
        elif self.cap_at <= now:
            self.over_at = self.cap_at
            self.stop_all(by="gateway", reason="ended")
            self.change("ended", "max_duration")
        elif self.state in TALKING:
            if self.state == "live" and not self.is_busy and self.idle_at <= now:
                self.change("idle", "idle")
            self._warn()

    def _warn(self) -> None:
        left = self.end_ahead - self.now
        if 0 < left <= self.threshold and self.warned_of != self.end_ahead:
            self.warned_of = self.end_ahead
            self.emit(
                "session.expiring",
                cause="max_duration" if self.end_ahead == self.cap_at else "timeout",
                expiresAt=instant(self.end_ahead),
                minutesRemaining=round(left / MINUTE_MS, 3),
                timeRemainingMs=left,
            )

    # What happens to it.

    def emit(self, type: str, **fields: Any) -> Json:
        """The next event of its log; what is None is not there."""
        self.head += 1
        event = {"seq": self.head, "at": instant(self.now), "type": type}
        event |= {name: value for name, value in fields.items() if value is not None}
        self.log.append(event)
        self.told.append(event)
        return event

    def swap(self, place: int, types: set[str]) -> None:
        """Of two events of these types in a row, either may come first."""
        one, other = self.told[place : place + 2]
        if {one["type"], other["type"]} == types:
            one_seq, other_seq = one["seq"], other["seq"]
            (one_was, other_was) = dict(one), dict(other)
            one.clear(), other.clear()
            one.update(other_was | {"seq": one_seq}), other.update(one_was | {"seq": other_seq})

    def active(self) -> None:
        self.active_at = self.awake_at = self.base_by_activity = self.now

    def change(self, to: str, reason: str, by: str | None = None) -> None:
        """Go to another state."""
        self.emit("session.state", **{"from": self.state, "to": to, "reason": reason, "author": by})
        if self.state == "paused":
            paused = self.now - self.paused_at
            self.base_by_activity, self.base_by_hand = self.base_by_activity + paused, self.base_by_hand + paused
            self.paused_at, self.awake_at = None, self.now
        self.state = to
        self.revision += 1
        if to == "paused":
            self.paused_at = self.now
        if to == "ended":
            self.end_reason, self.ended_at = reason, self.now

    def archive(self, by: str | None) -> None:
        self.archived_at = self.now
        self.emit("session.updated", archivedAt=instant(self.now), author=by)
        self.revision += 1

    def restore(self, by: str) -> None:
        self.emit("session.updated", author=by)["archivedAt"] = None
        self.archived_at, self.restored_at = None, self.now
        self.revision += 1

    def touch(self) -> bool:
        """A sign of life; whether it renewed."""
        is_renewal = self.rules["autoRenew"] and self.deadline < self.cap_at
        self._wake()
        self.active()
        if is_renewal:
            self.renewals += 1
            self.take_back_warning(auto=True)
        return is_renewal

    def renew(self, by: str) -> None:
        self._wake()
        self.active()
        self.base_by_hand = self.now
        self.renewals += 1
        self._renewed(self.deadline, auto=False, by=by)

    def take_back_warning(self, *, auto: bool) -> None:
        """Where the end that was warned of has moved out."""
        if self.warned_of is not None and self.state in TALKING and self.end_ahead > self.warned_of:
            self._renewed(self.end_ahead, auto=auto)

    def _renewed(self, end: int, *, auto: bool, by: str | None = None) -> None:
        self.warned_of = None
        self.emit("session.renewed", expiresAt=instant(end), renewalCount=self.renewals, auto=auto, author=by)

    def _wake(self) -> None:
        if self.state == "idle":
            self.change("live", "activity")

    def hear(self, turn: str, content: str, by: str) -> None:
        """A message, whose turn waits until it is started."""
        self.emit("message.user", turn=turn, author=by, content=content)
        self.messages += 1
        self.active()
        if self.title is None:
            self.title, self.titled_by = content, "first_message"

    def start(self, turn: str) -> None:
        self.queue = [waiting for waiting in self.queue if waiting != turn]
        self.turn, self.said = turn, ""
        self.emit("turn.started", turn=turn, model="fake-1")

    def advance(self) -> None:
        """The next turn begins, if one waits and may."""
        if self.turn is None and self.queue and self.state in TALKING:
            self.start(self.queue[0])

    def end_turn(self, type: str, finish: str, **fields: Any) -> None:
        """The running turn is over; its last message is what it said since the one before."""
        turn, self.turn = self.turn, None
        self._answer(turn, finish)
        self.emit(type, turn=turn, **fields)

    def _answer(self, turn: str, finish: str) -> None:
        is_partial = finish in ("stopped", "failed", "interrupted")
        self.emit("message.assistant", turn=turn, content=self.said, finishReason=finish, partial=is_partial)
        self.said = ""
        self.messages += 1
        self.active()

    def work(self, call: str) -> None:
        """A tool, and what it gave back; what was said before is a message of its own."""
        if self.said:
            self._answer(self.turn, "tool_use")
        self.emit("tool.call", turn=self.turn, callId=call, name="look", input={})
        self.emit("tool.result", turn=self.turn, callId=call, output=1, durationMs=0)
        self.tool_calls += 1
        self.active()

    def stop(self, turn: str | None, by: str, reason: str) -> str | None:
        """The running turn, or one that waits; None: the first of them."""
        if turn is None:
            turn = self.turn or (self.queue[0] if self.queue else None)
        if turn is None or turn not in (self.turn, *self.queue):
            return None
        if turn == self.turn:
            self.end_turn("turn.stopped", "stopped", by=by, reason=reason)
        else:
            self.queue.remove(turn)
            self.emit("turn.stopped", turn=turn, by=by, reason=reason)
        return turn

    def stop_all(self, by: str, reason: str) -> None:
        while self.stop(None, by, reason) is not None:
            pass

    def reset(self, by: str) -> int:
        """The history is gone; how many messages that were."""
        self.stop_all(by, "reset")
        self.log.clear()
        messages, self.messages = self.messages, 0
        self.emit("reset", author=by, messagesCleared=messages, clearedTo=self.head)
        self.resets += 1
        self.revision += 1
        if self.titled_by != "user":
            self.title = self.titled_by = None
        return messages

    # Who may do what.

    def check_open(self) -> None:
        """Raises Refused: ended or archived."""
        if self.state == "ended":
            if self.over_at is not None:
                raise Refused(410, "session_expired", expiresAt=instant(self.over_at), reason=self.end_reason)
            raise Refused(410, "session_ended", endedAt=instant(self.ended_at), reason=self.end_reason)
        if self.archived_at:
            raise Refused(409, "session_archived")

    def check_talking(self) -> None:
        """Raises Refused: ended, archived or paused."""
        self.check_open()
        if self.state == "paused":
            raise Refused(409, "session_paused")

    def check_revision(self, revision: int | None) -> None:
        """Raises Refused: it is at another."""
        if revision not in (None, self.revision):
            raise Refused(409, "revision_mismatch", revision=self.revision)

    # What is shown.

    @property
    def shown_end(self) -> int | None:
        if self.state == "ended":
            return None
        if self.state == "paused":
            left = self.timeout_at - self.paused_at
            return self.cap_at if self.now + left >= self.cap_at else None
        if self.deadline > self.now or not self.is_busy:
            return self.deadline
        return self.cap_at

    @property
    def left(self) -> int | None:
        if self.state == "ended":
            return None
        if self.state != "paused":
            return max(self.shown_end - self.now, 0)
        return max(min(self.timeout_at - self.paused_at, self.cap_at - self.now), 0)

    def summary(self) -> Json:
        """The whole of it, as protocol.md §3 has it."""
        shown = {
            "key": self.key,
            "title": self.title,
            "titleSource": self.titled_by,
            "agent": self.agent,
            "agentName": self.agent,
            "provider": "fake",
            "model": "fake-1",
            "user": self.user,
            "tenant": "default",
            "channel": "api",
            "source": "manual",
            "state": self.state,
            "endReason": self.end_reason,
            "pinned": self.is_pinned,
            "archivedAt": _instant(self.archived_at),
            "labels": self.labels,
            "turn": self.turn and {"id": self.turn, "state": "running"},
            "queued": len(self.queue),
            "messageCount": self.messages,
            "inputTokens": 0,
            "outputTokens": 0,
            "cacheReadTokens": 0,
            "cacheWriteTokens": 0,
            "toolCalls": self.tool_calls,
            "compactions": 0,
            "resets": self.resets,
            "costUsd": 0,
            "renewalCount": self.renewals,
            "createdAt": instant(self.created_at),
            "lastActivityAt": instant(self.active_at),
            "endedAt": _instant(self.ended_at),
            "expiresAt": _instant(self.shown_end),
            "timeRemainingMs": self.left,
            "isNearExpiration": self.is_near_end,
            "revision": self.revision,
            "head": self.head,
        }
        return {name: value for name, value in shown.items() if value is not None}


def _instant(at: int | None) -> str | None:
    return None if at is None else instant(at)
