"""The same call twice is one call."""

from typing import Any

import pytest
from msgspec.structs import replace

from gateway.auth.principal import LOCAL_ADMIN, Principal
from gateway.sessions.idempotency import KEPT_MS, Idempotency, Repeatable
from gateway.storage.base import Commit
from rpc_schema.conversation import SendParams
from rpc_schema.errors import IdempotencyConflict, StoreUnavailable
from rpc_schema.lifecycle import DeleteResult
from rpc_schema.types import RequestMeta
from tests.fakes import BEGINNING_MS, FakeClock, MemoryStore

ANSWER = DeleteResult(deleted=True)
ERASED = DeleteResult(deleted=False)


class Desk:
    """Where repeats are recognised."""

    def __init__(self) -> None:
        self.store, self.clock = MemoryStore(), FakeClock()
        self.idempotency = Idempotency(self.store, self.clock)

    def call(self, who: Principal = LOCAL_ADMIN, method: str = "session.send", **params: Any) -> Repeatable:
        """A call with the caller's word `w`."""
        usual = {"key": "k", "content": "hi", "idempotency_key": "w"}
        made = SendParams(**usual | params)
        found = self.idempotency.repeatable(who, who.home, method, made.key, made)
        assert found is not None
        return found

    async def keep(self, call: Repeatable, *, has_words: bool = False) -> None:
        await self.store.commit(Commit(session=1, answer=call.answer(ANSWER, has_words=has_words)))

    async def earlier(self, call: Repeatable | None) -> DeleteResult | None:
        return await self.idempotency.earlier(call, DeleteResult, lambda: ERASED)


async def test_a_repeat() -> None:
    """Gets the first call's answer; a new call gets none."""
    desk = Desk()
    assert await desk.earlier(desk.call()) is None
    await desk.keep(desk.call())
    assert await desk.earlier(desk.call()) == ANSWER


async def test_a_call_without_a_word() -> None:
    """Is never a repeat."""
    desk = Desk()
    call = desk.idempotency.repeatable(LOCAL_ADMIN, "default", "session.send", "k", SendParams(key="k", content="hi"))
    assert call is None
    assert await desk.earlier(call) is None


@pytest.mark.parametrize(
    "other",
    [
        {"idempotency_key": "v"},
        {"key": "l"},
        {"method": "session.delete"},
        {"who": replace(LOCAL_ADMIN, user="bob")},
        {"who": replace(LOCAL_ADMIN, tenant="other")},
    ],
)
async def test_another_scope(other: dict[str, Any]) -> None:
    """A word counts for one caller, method and session."""
    desk = Desk()
    await desk.keep(desk.call())
    assert await desk.earlier(desk.call(**other)) is None


@pytest.mark.parametrize(
    "other", [{"content": "ho"}, {"metadata": {"a": 1}}, {"if_busy": "reject"}, {"on_behalf_of": "bob"}]
)
async def test_other_params(other: dict[str, Any]) -> None:
    """Under the same word are a conflict."""
    desk = Desk()
    await desk.keep(desk.call())
    with pytest.raises(IdempotencyConflict):
        await desk.earlier(desk.call(**other))


@pytest.mark.parametrize("other", [{"wait": True}, {"subscribe": True}, {"meta": RequestMeta(progress_token=1)}])
async def test_what_is_not_compared(other: dict[str, Any]) -> None:
    """How the answer is to be given may differ."""
    desk = Desk()
    await desk.keep(desk.call())
    assert await desk.earlier(desk.call(**other)) == ANSWER


async def test_the_order_of_members() -> None:
    """Does not make params others."""
    desk = Desk()
    await desk.keep(desk.call(metadata={"a": 1, "b": {"c": 2, "d": 3}}))
    assert await desk.earlier(desk.call(metadata={"b": {"d": 3, "c": 2}, "a": 1})) == ANSWER


async def test_an_answer_that_was_erased() -> None:
    """Is made anew; one without words is as it was."""
    desk = Desk()
    await desk.keep(desk.call(), has_words=True)
    await desk.keep(desk.call(idempotency_key="v"))
    await desk.store.commit(Commit(session=1, forget=True))
    assert await desk.earlier(desk.call()) == ERASED
    assert await desk.earlier(desk.call(idempotency_key="v")) == ANSWER
    with pytest.raises(IdempotencyConflict):
        await desk.earlier(desk.call(content="ho"))


async def test_kept_for_a_day() -> None:
    """Then the word is free again."""
    desk = Desk()
    await desk.keep(desk.call())
    desk.clock.advance(ms=KEPT_MS)
    await desk.store.prune_answers(desk.clock.now_ms() - KEPT_MS)
    assert await desk.earlier(desk.call()) == ANSWER
    desk.clock.advance(ms=1)
    await desk.store.prune_answers(desk.clock.now_ms() - KEPT_MS)
    assert await desk.earlier(desk.call()) is None
    assert desk.call().at == BEGINNING_MS + KEPT_MS + 1


async def test_a_store_that_fails() -> None:
    """Nobody is told that a call is new when that is not known."""
    desk = Desk()
    await desk.keep(desk.call())
    with desk.store.failing(), pytest.raises(StoreUnavailable):
        await desk.earlier(desk.call())
