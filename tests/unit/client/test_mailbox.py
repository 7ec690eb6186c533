"""What is kept for a consumer, joined, and given up."""

import asyncio
from typing import Literal

import pytest

from gateway.client import mailbox
from gateway.client.mailbox import Mailbox, Mailboxes
from rpc_schema.notifications import ClosedParams, Delta, DeltaParams


def piece(offset: int, text: str, *, turn: str = "t1", subscription: str = "s1") -> DeltaParams:
    delta = Delta(turn=turn, kind="text", offset=offset, text=text)
    return DeltaParams(subscription=subscription, key="k", delta=delta)


def closed(reason: Literal["deleted", "unsubscribed"] = "deleted") -> ClosedParams:
    return ClosedParams(subscription="s1", reason=reason, last_seq=1, resumable=False)


async def texts(box: Mailbox) -> list[str]:
    box.end()
    given = []
    while (notice := await box.take()) is not None:
        assert isinstance(notice, DeltaParams)
        given.append(notice.delta.text)
    return given


@pytest.fixture
def room() -> asyncio.Event:
    return asyncio.Event()


async def test_what_waits_is_taken_in_order_also_after_the_end(room: asyncio.Event) -> None:
    """An ended mailbox gives what it holds, then None, every time."""
    box = Mailbox(room)
    box.put(piece(0, "a"), 10)
    box.put(piece(1, "b"), 10)
    box.end()
    box.put(piece(2, "c"), 10)
    assert await texts(box) == ["a", "b"]
    assert await box.take() is None
    assert box.bytes == 0


async def test_pieces_are_joined_when_they_pile_up(room: asyncio.Event) -> None:
    """The text is whole, the first few come as they came, the rest in fewer and bigger pieces."""
    box = Mailbox(room)
    for offset in range(1000):
        box.put(piece(offset, "x"), 200)
    given = await texts(box)
    assert "".join(given) == "x" * 1000
    assert len(given) == 16
    assert box.bytes == 0


async def test_joined_pieces_stay_small(room: asyncio.Event) -> None:
    """Joining is bounded, so that a long answer does not cost the square of its length."""
    box = Mailbox(room)
    for offset in range(0, 100_000, 100):
        box.put(piece(offset, "x" * 100), 300)
    given = await texts(box)
    assert sum(map(len, given)) == 100_000
    assert max(map(len, given)) < 5000


async def test_pieces_of_another_turn_are_not_joined(room: asyncio.Event) -> None:
    """Only what belongs together is joined."""
    box = Mailbox(room)
    for number in range(100):
        box.put(piece(0, "x", turn=f"t{number}"), 200)
    assert len(await texts(box)) == 100


async def test_a_mailbox_past_its_bound_is_full_until_something_is_taken(room: asyncio.Event) -> None:
    """Taking from a full mailbox makes room and says so."""
    box = Mailbox(room)
    box.put(piece(0, "a"), mailbox.FULL_BYTES)
    assert not box.is_full
    box.put(piece(1, "b"), 1)
    assert (room.is_set(), box.is_full) == (False, True)
    await box.take()
    assert (room.is_set(), box.is_full) == (True, False)


async def test_a_mailbox_far_past_its_bound_is_given_up(room: asyncio.Event) -> None:
    """It keeps what it has and takes no more."""
    box = Mailbox(room)
    for offset in range(10):
        box.put(piece(offset, "x", turn=str(offset)), mailbox.FULL_BYTES)
    assert box.is_lagged
    assert not box.is_full
    assert len(await texts(box)) == 9


async def test_what_comes_before_its_subscription_is_opened_is_kept(room: asyncio.Event) -> None:
    """The answer of a subscribe may be read later than what follows it."""
    boxes = Mailboxes(room)
    boxes.put(piece(0, "early"), 10)
    assert await texts(boxes.open("s1")) == ["early"]


async def test_early_mailboxes_are_bounded_in_number_and_size(room: asyncio.Event) -> None:
    """Subscriptions that nobody opens cost little, and never hold up the reader."""
    boxes = Mailboxes(room)
    for number in range(300):
        boxes.put(piece(0, "x", subscription=f"s{number}"), 10)
    assert await texts(boxes.open("s0")) == []
    assert await texts(boxes.open("s299")) == ["x"]
    assert boxes.put(piece(0, "x", subscription="big"), mailbox.FULL_BYTES + 1) is None
    assert boxes.open("big").is_lagged


async def test_a_subscription_that_is_left_unopened_is_forgotten(room: asyncio.Event) -> None:
    """What a cancelled call made is unsubscribed from without anybody having opened it."""
    boxes = Mailboxes(room)
    boxes.put(piece(0, "early"), 10)
    boxes.close("s1")
    assert await texts(boxes.open("s1")) == []


async def test_the_echo_of_an_unsubscribe_opens_nothing(room: asyncio.Event) -> None:
    """What was left behind stays behind."""
    boxes = Mailboxes(room)
    boxes.put(closed("unsubscribed"), 10)
    box = boxes.open("s1")
    box.end()
    assert await box.take() is None


async def test_a_closing_that_comes_early_is_kept(room: asyncio.Event) -> None:
    """A session that is deleted right after the subscribe still says so."""
    boxes = Mailboxes(room)
    boxes.put(closed(), 10)
    assert await boxes.open("s1").take() == closed()
