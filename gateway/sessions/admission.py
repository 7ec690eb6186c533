"""How many sessions a user may have with one agent.

Counting and making one is a single step: whoever makes a session where a limit
holds does it inside `room`, one at a time for a user and an agent.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from gateway.storage.base import Store, StoreFault
from rpc_schema.errors import SessionLimit, StoreUnavailable


class Admission:
    """Holds users to `maxConcurrentPerUser`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._locks: WeakValueDictionary[tuple[str, str, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def room(self, tenant: str, user: str, agent: str, limit: int | None) -> AsyncIterator[None]:
        """Room for one more session that has not ended; None is room without end.

        Raises:
            SessionLimit: there is none.
            StoreUnavailable: it could not be counted.
        """
        if limit is None:
            yield
            return
        async with self._locks.setdefault((tenant, user, agent), asyncio.Lock()):
            try:
                current = await self._store.count_open(tenant, user, agent)
            except StoreFault as error:
                raise StoreUnavailable from error
            if current >= limit:
                raise SessionLimit(limit=limit, current=current)
            yield
