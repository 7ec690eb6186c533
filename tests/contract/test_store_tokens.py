"""What every Store guarantees of gateway tokens."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.storage.base import Store, StoreFault, TokenRow
from tests.contract.stores import STORES

FIRST = TokenRow(
    id="a", hash=b"\x00h", user="alice", tenant="*", roles=["admin", "user"], scopes=["sessions:read"], created_at=1
)
SECOND = replace(FIRST, id="0", hash=b"other", created_at=2, expires_at=2**45)


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with asyncio.timeout(30), STORES[request.param](tmp_path) as opened:
        yield opened


async def test_what_was_added_is_there(store: Store) -> None:
    """All of it, in the order in which they were made."""
    assert await store.tokens() == []
    await store.add_token(FIRST)
    await store.add_token(SECOND)
    assert await store.tokens() == [FIRST, SECOND]


async def test_the_first_revocation_counts(store: Store) -> None:
    """Of one that is there; another id is nothing."""
    await store.add_token(FIRST)
    await store.revoke_token("a", 5)
    await store.revoke_token("a", 6)
    await store.revoke_token("none", 7)
    assert await store.tokens() == [replace(FIRST, revoked_at=5)]


async def test_uses(store: Store) -> None:
    """Of several at once; what else is known stays."""
    await store.add_token(FIRST)
    await store.add_token(SECOND)
    await store.revoke_token("a", 5)
    await store.touch_tokens({"a": 7, "0": 8, "none": 9})
    await store.touch_tokens({"a": 9})
    assert await store.tokens() == [replace(FIRST, revoked_at=5, last_used_at=9), replace(SECOND, last_used_at=8)]


@pytest.mark.parametrize("again", [replace(SECOND, id="a"), replace(SECOND, hash=FIRST.hash)])
async def test_one_that_is_there_already(store: Store, again: TokenRow) -> None:
    """Neither an id nor a hash is there twice; nothing was changed."""
    await store.add_token(FIRST)
    with pytest.raises(StoreFault):
        await store.add_token(again)
    assert await store.tokens() == [FIRST]


async def test_closed(store: Store) -> None:
    """A fault, and no hang."""
    await store.close()
    with pytest.raises(StoreFault):
        await store.add_token(FIRST)
    with pytest.raises(StoreFault):
        await store.tokens()
