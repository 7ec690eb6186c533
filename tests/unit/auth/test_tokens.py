"""Making, recognising and revoking tokens, on a store in memory."""

import asyncio
import re

import pytest

from gateway.auth.principal import LOCAL
from gateway.auth.tokens import DAY_MS, Grant, Tokens
from gateway.clock import SteadyClock
from rpc_schema.errors import StoreUnavailable, TokenNotFound
from tests.fakes import FakeClock, MemoryStore

ALICE = Grant(user="alice", tenant="acme", roles=["user"], scopes=["sessions:read"], days=1)


class Ear:
    """A follower that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str | None]] = []

    def revoked(self, token: str) -> None:
        self.heard.append(("revoked", token))

    def begun(self, spare: str | None) -> None:
        self.heard.append(("begun", spare))


class Desk:
    """Tokens with all that they need."""

    def __init__(self, *, is_required: bool = False) -> None:
        self.store, self.clock, self.ear = MemoryStore(), FakeClock(), Ear()
        self.steady = SteadyClock(self.clock)
        self.tokens = self.again(is_required=is_required)

    def again(self, *, is_required: bool = False) -> Tokens:
        """As after a restart."""
        tokens = Tokens(self.store, self.steady, is_required=is_required)
        tokens.tell(self.ear)
        return tokens


async def test_a_token() -> None:
    """Legal in a header and a subprotocol, never twice the same, and stored nowhere."""
    desk = Desk()
    row, text = await desk.tokens.create(ALICE)
    _, other = await desk.tokens.create(ALICE)
    assert re.fullmatch(r"gw_[A-Za-z0-9_-]{43}", text)
    assert text != other
    assert text not in str(await desk.store.tokens())
    credential = desk.tokens.recognise(text)
    assert credential is not None
    assert (credential.token, credential.expires_at) == (row.id, desk.clock.now_ms() + DAY_MS)
    principal = credential.principal
    assert (principal.user, principal.tenant, principal.roles, principal.scopes) == (
        "alice", "acme", {"user"}, {"sessions:read"},
    )  # fmt: skip


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: t + "A", str.upper, lambda t: "", lambda t: t + "\ud800"]
)
async def test_nearly_a_token(change: object) -> None:
    """Is none."""
    desk = Desk()
    _, text = await desk.tokens.create(ALICE)
    assert callable(change)
    assert desk.tokens.recognise(change(text)) is None


async def test_its_time() -> None:
    """Good until the instant that it expires, and not at it."""
    desk = Desk()
    _, text = await desk.tokens.create(ALICE)
    desk.clock.advance(ms=DAY_MS - 1)
    assert desk.tokens.recognise(text) is not None
    desk.clock.advance(ms=1)
    assert desk.tokens.recognise(text) is None


async def test_while_the_machine_slept() -> None:
    """The wall clock counts, also one that was set forward; setting it back gives no time."""
    desk = Desk()
    _, text = await desk.tokens.create(ALICE)
    desk.clock.set_wall(by_ms=DAY_MS - 1)
    assert desk.tokens.recognise(text) is not None
    desk.clock.set_wall(by_ms=1)
    assert desk.tokens.recognise(text) is None
    _, later = await desk.tokens.create(ALICE)
    assert desk.tokens.recognise(later) is not None
    desk.clock.set_wall(by_ms=-30 * DAY_MS)
    desk.clock.advance(ms=2 * DAY_MS)
    assert desk.tokens.recognise(later) is None


async def test_the_first_one() -> None:
    """Switches authentication on, once; also one that is over does, and after a restart."""
    desk = Desk()
    assert desk.tokens.for_strangers() is LOCAL
    row, _ = await desk.tokens.create(ALICE, spare="c1")
    assert desk.tokens.for_strangers() is None
    await desk.tokens.create(ALICE, spare="c2")
    await desk.tokens.revoke(row.id)
    assert desk.ear.heard == [("begun", "c1"), ("revoked", row.id)]
    again = desk.again()
    assert not again.is_on
    await again.load()
    assert again.is_on


async def test_required() -> None:
    """On from the start; the first token closes nobody, since nobody is there without one."""
    desk = Desk(is_required=True)
    assert desk.tokens.for_strangers() is None
    await desk.tokens.create(ALICE)
    assert desk.ear.heard == []


async def test_revoking() -> None:
    """At once and for good; the first time counts, and is told once."""
    desk = Desk()
    row, text = await desk.tokens.create(ALICE)
    at = desk.clock.now_ms()
    assert (await desk.tokens.revoke(row.id)).revoked_at == at
    desk.clock.advance(minutes=1)
    assert (await desk.tokens.revoke(row.id)).revoked_at == at
    assert desk.tokens.recognise(text) is None
    assert desk.ear.heard == [("begun", None), ("revoked", row.id)]
    with pytest.raises(TokenNotFound):
        await desk.tokens.revoke("none")


async def test_a_store_that_fails() -> None:
    """Nothing was made, nothing was revoked, and both can be tried again."""
    desk = Desk()
    with desk.store.failing(), pytest.raises(StoreUnavailable):
        await desk.tokens.create(ALICE)
    assert (desk.tokens.is_on, desk.ear.heard) == (False, [])
    row, text = await desk.tokens.create(ALICE)
    with desk.store.failing(), pytest.raises(StoreUnavailable):
        await desk.tokens.revoke(row.id)
    assert desk.tokens.recognise(text) is not None
    await desk.tokens.revoke(row.id)
    assert desk.tokens.recognise(text) is None


async def test_a_caller_who_leaves() -> None:
    """Memory and store agree: the token is in both."""
    desk = Desk()
    making = asyncio.create_task(desk.tokens.create(ALICE, spare="c1"))
    await asyncio.sleep(0)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    while not desk.tokens.is_on:
        await asyncio.sleep(0)
    assert [row.id for row in await desk.store.tokens()] == [row.id for row in desk.tokens.all()]
    assert desk.ear.heard == [("begun", "c1")]


async def test_the_last_use() -> None:
    """Known at once, written down when asked to, and never instead of a revocation."""
    desk = Desk()
    row, text = await desk.tokens.create(ALICE)
    assert next(desk.tokens.all()).last_used_at is None
    desk.clock.advance(minutes=5)
    desk.tokens.recognise(text)
    assert next(desk.tokens.all()).last_used_at == desk.clock.now_ms()
    await desk.tokens.revoke(row.id)
    await desk.tokens.save_uses()
    (stored,) = await desk.store.tokens()
    assert (stored.last_used_at, stored.revoked_at) == (desk.clock.now_ms(), desk.clock.now_ms())
