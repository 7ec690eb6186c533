"""What a watched list is told of a session: one step, and several steps joined to one. Pure.

A step is where the session was and is, as seen from the list. While a client
is slow, its steps are joined, so that what waits for it is at most one for
each session; applied to its table, the joined step gives what all of them
would have given.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from gateway.hub.hub import head_of
from rpc_schema.notifications import CHANGED, Change
from rpc_schema.types import Session

from .state import SessionState

_encode = msgspec.json.encode
_HEAD = head_of(CHANGED.name)


class Line:
    """A session after a commit, encoded once for all that are told of it."""

    __slots__ = ("_frames", "_summary", "id", "is_deleted", "revision", "topic")

    def __init__(self, state: SessionState, summary: Callable[[SessionState], Session]) -> None:
        self.id, self.topic, self.revision = state.id, (state.tenant, state.key), state.revision
        self.is_deleted = state.deleted_at is not None
        self._summary: bytes | Callable[[], bytes] = lambda: _encode(summary(state))
        self._frames: dict[tuple[str, Change, bool], bytes] = {}

    def frame(self, frame: Callable[[bytes], bytes], subscription: str, change: Change, *, names_tenant: bool) -> bytes:
        """The notification; subscriptions of the same id share the very bytes."""
        shared = (subscription, change, names_tenant)
        made = self._frames.get(shared)
        if made is None:
            made = self._frames[shared] = frame(self._notification(*shared))
        return made

    def _notification(self, subscription: str, change: Change, names_tenant: bool) -> bytes:
        tenant, key = self.topic
        parts = [_HEAD, b'{"subscription":%b,"change":"%b"' % (_encode(subscription), change.encode())]
        parts.append(b',"key":%b' % _encode(key))
        if change in ("entered", "updated"):
            parts.append(b',"session":%b' % self._encoded())
        elif names_tenant:
            parts.append(b',"tenant":%b' % _encode(tenant))
        parts.append(b',"revision":%d}}' % self.revision)
        return b"".join(parts)

    def _encoded(self) -> bytes:
        if not isinstance(self._summary, bytes):
            self._summary = self._summary()
        return self._summary


class Step(NamedTuple):
    """From `had` (the list had it) to `has`; `is_anew`: say entered even where the client may have it."""

    line: Line
    had: bool
    has: bool
    is_anew: bool = False

    @property
    def change(self) -> Change:
        """The word for it."""
        if self.has:
            return "updated" if self.had and not self.is_anew else "entered"
        return "deleted" if self.line.is_deleted else "left"


def unsure(step: Step) -> Step:
    """The same for a client that may or may not have seen it in its list already."""
    return step._replace(had=True, is_anew=not step.had)


def join(first: Step, then: Step) -> Step | None:
    """Both as one; None where nothing is left to tell.

    A key that is used again is another session, so it enters, though its
    predecessor is still in the table.
    """
    if not first.had and not then.has:
        return None
    return Step(then.line, first.had, then.has, first.is_anew or then.is_anew or first.line.id != then.line.id)
