"""The calls of one connection that wait for their answer, and those that no longer do."""

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Final

from msgspec import UNSET, Raw

from rpc_schema.envelope import Message
from rpc_schema.errors import ErrorObject, from_wire

_NULL: Final = Raw(b"null")


class Calls:
    """Every call gets exactly one answer: a result, an error, or the reason why there is none."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._waiting: dict[object, asyncio.Future[Raw]] = {}
        self._abandoned: set[object] = set()

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def begin(self) -> tuple[int, asyncio.Future[Raw]]:
        """A number for the wire, and where the answer will be."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        return number, self._waiting[number]

    def forget(self, number: int) -> None:
        """The caller has its answer or could not ask."""
        self._waiting.pop(number, None)

    def abandon(self, number: int) -> Raw | None:
        """The caller is gone; give the result that it had not seen yet, if there is one."""
        answer = self._waiting.pop(number)
        if answer.cancelled() or not answer.done():
            self._abandoned.add(number)
            return None
        return None if answer.exception() else answer.result()

    def settle(self, message: Message) -> Raw | None:
        """Take an answer in; give its result if nobody waits for it any more.

        An error with id null belongs to a message that the gateway could not
        read, so that nobody can say which: every call that waits gets it.
        """
        if message.error is not UNSET:
            self._settle_error(message.id, message.error)
            return None
        result = _NULL if message.result is UNSET else message.result
        if message.id in self._abandoned:
            self._abandoned.discard(message.id)
            return result
        if answer := self._unanswered(message.id):
            answer.set_result(result)
        return None

    def _settle_error(self, id: object, error: ErrorObject) -> None:
        self._abandoned.discard(id)
        if id is None:
            self.fail(partial(from_wire, error))
        elif answer := self._unanswered(id):
            answer.set_exception(from_wire(error))

    def _unanswered(self, id: object) -> asyncio.Future[Raw] | None:
        answer = self._waiting.get(id)
        return None if answer is None or answer.done() else answer

    def fail(self, reason: Callable[[], Exception]) -> None:
        """No answer comes to any of the calls that wait, for this reason."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(reason())
