"""Gateway tokens: made, recognised, revoked; and whether authentication is on.

A token is 256 random bits, so nobody can guess one from its hash: SHA-256 is
enough, and being fast it can be asked on every upgrade. Only the hash is kept.
All tokens are in memory, as they are no more than people and programs: whether
one is good is decided without waiting, so nothing can come between the look at
a token and the connection that it opens.

A token ends at an instant of the wall clock, also when the machine slept until
then: all times of tokens are `wall_ms`.

The invariant: once a token was made, authentication is on and stays on.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Collection, Coroutine, Iterator
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from gateway.clock import DAY_MS, SteadyClock
from gateway.ids import new_id
from gateway.storage.base import Store, StoreFault, TokenRow
from rpc_schema.errors import StoreUnavailable, TokenNotFound
from rpc_schema.types import Role, Scope

from .principal import LOCAL, Credential, Principal

PREFIX = "gw_"


class Grant(Struct, frozen=True, kw_only=True):
    """What a token is to stand for; `days` is how long, None for ever."""

    user: str
    tenant: str
    roles: Collection[Role]
    scopes: Collection[Scope]
    days: float | None = None


class Follower(Protocol):
    """Whoever holds connections that tokens opened."""

    def revoked(self, token: str) -> None:
        """This token opens nothing any more."""

    def begun(self, spare: str | None) -> None:
        """Authentication is on from now; `spare` is the connection that made the first token."""


class Tokens:
    """Every token that was ever made here."""

    def __init__(self, store: Store, clock: SteadyClock, *, is_required: bool) -> None:
        self._store, self._clock, self._is_required = store, clock, is_required
        self._by_hash: dict[bytes, TokenRow] = {}
        self._by_id: dict[str, TokenRow] = {}
        self._used: dict[str, int] = {}
        self._follower: Follower | None = None
        self._writing: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Take up what is stored.

        Raises:
            StoreFault: it cannot be read.
        """
        for row in await self._store.tokens():
            self._remember(row)

    def tell(self, follower: Follower) -> None:
        """Let it hear of what happens to tokens."""
        self._follower = follower

    @property
    def is_on(self) -> bool:
        """Whether callers must show a token; tokens that were revoked or expired count."""
        return self._is_required or bool(self._by_id)

    def for_strangers(self) -> Credential | None:
        """What somebody gets who shows nothing: the local admin's, or nothing while authentication is on."""
        return None if self.is_on else LOCAL

    def recognise(self, text: str) -> Credential | None:
        """What a token opens; None for one that is unknown, revoked or past its time."""
        row = self._by_hash.get(_hash(text))
        now = self._clock.wall_ms()
        if row is None or row.revoked_at is not None or is_past(row.expires_at, now):
            return None
        self._used[row.id] = now
        return Credential(principal=principal_of(row), token=row.id, expires_at=row.expires_at)

    def all(self) -> Iterator[TokenRow]:
        """Every one, the oldest first, with the last use as it is known here."""
        for row in self._by_id.values():
            yield replace(row, last_used_at=self._used.get(row.id, row.last_used_at))

    async def create(self, grant: Grant, spare: str | None = None) -> tuple[TokenRow, str]:
        """Make a token: its row, and the text that is shown this once.

        The first one switches authentication on; `spare` is then the one
        connection that shows nothing and goes on. Safe to cancel.

        Raises:
            StoreUnavailable: none was made.
        """
        now = self._clock.wall_ms()
        text = PREFIX + secrets.token_urlsafe(32)
        row = TokenRow(
            id=new_id(now),
            hash=_hash(text),
            user=grant.user,
            tenant=grant.tenant,
            roles=sorted(set(grant.roles)),
            scopes=sorted(set(grant.scopes)),
            created_at=now,
            expires_at=None if grant.days is None else now + round(grant.days * DAY_MS),
        )
        await self._whatever_happens(self._add(row, spare))
        return row, text

    def find(self, id: str) -> TokenRow:
        """The row of a token.

        Raises:
            TokenNotFound: there is none.
        """
        if (row := self._by_id.get(id)) is None:
            raise TokenNotFound
        return row

    async def revoke(self, id: str) -> TokenRow:
        """Let it open nothing any more, and close what it opened; once is enough. Safe to cancel.

        Raises:
            TokenNotFound: there is none.
            StoreUnavailable: it still opens.
        """
        if self.find(id).revoked_at is None:
            await self._whatever_happens(self._revoke(id, self._clock.wall_ms()))
        return self.find(id)

    async def save_uses(self) -> None:
        """Write down when tokens were last used; now and then, and at the end.

        Raises:
            StoreFault: later, perhaps.
        """
        if used := dict(self._used):
            await self._store.touch_tokens(used)

    async def _add(self, row: TokenRow, spare: str | None) -> None:
        await self._store.add_token(row)
        was_on = self.is_on
        self._remember(row)
        if not was_on and self._follower is not None:
            self._follower.begun(spare)

    async def _revoke(self, id: str, at: int) -> None:
        await self._store.revoke_token(id, at)
        if (row := self._by_id[id]).revoked_at is None:
            self._remember(replace(row, revoked_at=at))
        if self._follower is not None:
            self._follower.revoked(id)

    async def _whatever_happens(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it to the end, also when nobody waits for it any more: memory and store must not part."""
        task = asyncio.create_task(work)
        self._writing.add(task)
        task.add_done_callback(self._done)
        try:
            await asyncio.shield(task)
        except StoreFault as error:
            raise StoreUnavailable from error

    def _done(self, task: asyncio.Task[None]) -> None:
        self._writing.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; a caller that left does not want it

    def _remember(self, row: TokenRow) -> None:
        self._by_hash[row.hash] = self._by_id[row.id] = row


def is_past(expires_at: int | None, now_ms: int) -> bool:
    """Whether something that expires has: at its instant it is over."""
    return expires_at is not None and expires_at <= now_ms


def principal_of(row: TokenRow) -> Principal:
    """Who shows this token."""
    return Principal(
        user=row.user,
        tenant=row.tenant,
        roles=frozenset(role for role in _ROLES if role in row.roles),
        scopes=frozenset(scope for scope in _SCOPES if scope in row.scopes),
    )


_ROLES: tuple[Role, ...] = ("user", "admin")
_SCOPES: tuple[Scope, ...] = ("sessions:read", "sessions:write", "admin")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()
