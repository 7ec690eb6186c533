"""What subscriptions were told and their consumers have not taken yet.

One reader serves all subscriptions and all calls of a connection, so a full
mailbox must neither grow for ever nor keep an answer from anyone:

- Up to FULL_BYTES waiting, everything is kept; neighbouring pieces of text are
  joined when they pile up.
- Past it the reader stops reading, which slows the gateway down, but only while
  no call waits for its answer: a consumer that calls is always answered.
- A mailbox that nobody empties for STALL_S while it holds up the reader, or
  that grows past LAGGED_BYTES, is given up: its consumer gets what it holds and
  then SubscriptionLagged, and all others go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from msgspec import structs

from rpc_schema.notifications import ClosedParams, DeltaParams

from .frames import Notice

FULL_BYTES: Final = 1024 * 1024
LAGGED_BYTES: Final = 8 * FULL_BYTES
STALL_S: Final = 5.0
_EARLY: Final = 256  # as many as a connection may have subscriptions
_JOIN_FROM: Final = 16
_JOINED_CHARACTERS: Final = 4096


class Mailbox:
    """What one subscription was told, in order; one task takes from it.

    `room` is set whenever there is more of it.
    """

    def __init__(self, room: asyncio.Event) -> None:
        self.bytes = 0
        self.is_lagged = False
        self._room = room
        self._waiting: deque[Notice] = deque()
        self._sizes: deque[int] = deque()
        self._has_ended = False
        self._changed = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Whether it asks the reader to wait."""
        return self.bytes > FULL_BYTES and not self._has_ended

    def put(self, notice: Notice, size: int) -> None:
        """Keep a notice of `size` bytes, unless nothing may come any more."""
        if self._has_ended:
            return
        if joined := self._joined(notice):
            size = len(joined.delta.text) - len(self._last_text())
            self._waiting[-1] = joined
            self._sizes[-1] += size
        else:
            self._waiting.append(notice)
            self._sizes.append(size)
        self.bytes += size
        self._changed.set()
        if self.bytes > LAGGED_BYTES:
            self.lag()

    async def take(self) -> Notice | None:
        """Wait for the next notice; None when there will be no more."""
        while not self._waiting:
            if self._has_ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        self.bytes -= self._sizes.popleft()
        self._room.set()
        return self._waiting.popleft()

    def end(self) -> None:
        """Take in no more; what waits can still be taken."""
        self._has_ended = True
        self._changed.set()
        self._room.set()

    def lag(self) -> None:
        """Give up: the consumer is too slow."""
        self.is_lagged = True
        self.end()

    def _joined(self, notice: Notice) -> DeltaParams | None:
        if len(self._waiting) < _JOIN_FROM or not isinstance(notice, DeltaParams):
            return None
        last = self._waiting[-1]
        if not isinstance(last, DeltaParams) or len(last.delta.text) > _JOINED_CHARACTERS:
            return None
        head, tail = last.delta, notice.delta
        if (head.turn, head.kind, head.call_id) != (tail.turn, tail.kind, tail.call_id):
            return None
        return structs.replace(last, delta=structs.replace(head, text=head.text + tail.text))

    def _last_text(self) -> str:
        last = self._waiting[-1]
        return last.delta.text if isinstance(last, DeltaParams) else ""


class Mailboxes:
    """The mailboxes of one connection, by subscription.

    What comes before its subscription was opened here waits in an early
    mailbox, of which the newest 256 are kept, up to FULL_BYTES each.
    """

    def __init__(self, room: asyncio.Event) -> None:
        self._room = room
        self._open: dict[str, Mailbox] = {}
        self._early: dict[str, Mailbox] = {}

    def open(self, subscription: str) -> Mailbox:
        """The mailbox of a subscription, with what came early."""
        mailbox = self._early.pop(subscription, None) or Mailbox(self._room)
        self._open[subscription] = mailbox
        return mailbox

    def close(self, subscription: str) -> None:
        """Forget a subscription of which nothing comes any more."""
        self._open.pop(subscription, None)
        self._early.pop(subscription, None)

    def end(self) -> None:
        """Nothing comes any more, to nobody."""
        for mailbox in (*self._open.values(), *self._early.values()):
            mailbox.end()

    def put(self, notice: Notice, size: int) -> Mailbox | None:
        """Keep a notice; give its mailbox if that is full now."""
        mailbox = self._open.get(notice.subscription) or self._early_for(notice)
        if mailbox is None:
            return None
        mailbox.put(notice, size)
        if mailbox.is_full and notice.subscription in self._early:
            mailbox.lag()
        return mailbox if mailbox.is_full else None

    def _early_for(self, notice: Notice) -> Mailbox | None:
        if isinstance(notice, ClosedParams) and notice.reason == "unsubscribed":
            return None  # the echo of our own unsubscribe
        mailbox = self._early.setdefault(notice.subscription, Mailbox(self._room))
        if len(self._early) > _EARLY:
            self._early.pop(next(iter(self._early)))
        return mailbox
