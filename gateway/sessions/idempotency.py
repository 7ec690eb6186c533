"""The same call twice is one call: answers kept for 24 hours under the caller's idempotency key.

The answer is stored in the transaction of what it answers, and looked for
inside the session's lane: a repeat that comes while the first runs waits for
the lane, and then finds it.
"""

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct

from gateway.auth.principal import Principal
from gateway.clock import DAY_MS, Clock
from gateway.storage.base import Answer, Store, StoreFault
from rpc_schema.errors import IdempotencyConflict, StoreUnavailable

KEPT_MS = DAY_MS
_NOT_COMPARED = ("meta", "wait", "subscribe", "tenant", "key", "keys")

R = TypeVar("R", bound=Struct)


class Repeatable(Struct, frozen=True):
    """A call that was given an idempotency key; a call without one is None."""

    scope: bytes
    fingerprint: bytes
    at: int

    def answer(self, result: Struct, *, has_words: bool) -> Answer:
        """What to store with the commit."""
        encoded = msgspec.json.encode(result)
        return Answer(scope=self.scope, fingerprint=self.fingerprint, at=self.at, result=encoded, has_words=has_words)


def answer_to(call: Repeatable | None, result: Struct, *, has_words: bool) -> Answer | None:
    """What to store with the commit of a call; nothing for one that cannot come again."""
    return call.answer(result, has_words=has_words) if call is not None else None


class Idempotency:
    """Recognises repeats."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def repeatable(self, principal: Principal, tenant: str, method: str, key: str, params: Any) -> Repeatable | None:
        """Name the call by who, what, which session and the caller's word; None when it has none."""
        if params.idempotency_key is UNSET:
            return None
        fields = {name: getattr(params, name) for name in params.__struct_fields__ if name not in _NOT_COMPARED}
        compared = {name: value for name, value in fields.items() if value is not UNSET}
        who = [principal.tenant, principal.user, tenant, method, key, params.idempotency_key]
        return Repeatable(_digest(who), _digest(compared), self._clock.now_ms())

    async def earlier(self, call: Repeatable | None, answer: type[R], erased: Callable[[], R]) -> R | None:
        """What this call was answered before; None when it is new.

        `erased` makes the answer where the stored one went with its session's words.

        Raises:
            IdempotencyConflict: the key was used with other params.
        """
        if call is None:
            return None
        try:
            stored = await self._store.answer(call.scope)
        except StoreFault as error:
            raise StoreUnavailable from error
        if stored is None:
            return None
        if stored.fingerprint != call.fingerprint:
            raise IdempotencyConflict
        if stored.result is None:
            return erased()
        return msgspec.json.decode(stored.result, type=answer)


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(value, order="deterministic"), digest_size=16).digest()
