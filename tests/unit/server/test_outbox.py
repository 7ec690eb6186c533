"""The way to one client: nothing is lost or overtakes, nobody waits, and a reader that takes nothing is given up."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from gateway.server.outbox import LOW_BYTES, SILENCE_S, STALL_S, Outbox, text_frame
from tests.unit.server.conftest import Skip

BOUND = 4 * LOW_BYTES
TOPIC, OTHER = ("default", "a"), ("default", "b")
BIG = b"x" * LOW_BYTES


class FakeTransport:
    """Takes every write; once `full_after` of them are there the socket is full, until `read`."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.full_after = 1_000_000
        self.unread = 0
        self.on_full: Callable[[], None] = lambda: None

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self.unread += len(data)
        self.full_after -= 1
        if not self.full_after:
            self.on_full()

    def get_write_buffer_size(self) -> int:
        return self.unread


class Client:
    """An outbox with its transport, and how often it was given up."""

    def __init__(self) -> None:
        self.transport = FakeTransport()
        self.given_up = 0
        self.outbox = Outbox(self.transport, BOUND, self._give_up)  # type: ignore[arg-type]  # as much as it needs
        self.transport.on_full = self.outbox.pause

    def _give_up(self) -> None:
        self.given_up += 1

    def takes(self, count: int = 1_000_000, *, frames: int = 1_000_000) -> None:
        """Read so many bytes; the socket has room for so many frames from now on."""
        self.transport.unread = max(self.transport.unread - count, 0)
        self.transport.full_after = frames
        self.outbox.resume()

    @property
    def heard(self) -> bytes:
        """The frames in the order they were written."""
        return b" ".join(self.transport.written)


@pytest.fixture
async def client(skip: Skip) -> Client:
    return Client()


async def test_a_socket_with_room(client: Client) -> None:
    """What is put is written, at once."""
    client.outbox.put(b"1")
    client.outbox.put(b"2")
    assert client.heard == b"1 2"


async def test_a_full_socket(client: Client) -> None:
    """What comes then waits, in its order."""
    client.outbox.put(b"1")
    client.outbox.pause()
    client.outbox.put(b"2")
    client.outbox.put(b"3")
    assert client.heard == b"1"
    client.takes()
    assert client.heard == b"1 2 3"
    client.outbox.put(b"4")
    assert client.heard == b"1 2 3 4"


async def test_a_socket_that_is_full_again_on_the_way(client: Client) -> None:
    """The rest goes on waiting, and what comes meanwhile waits behind it."""
    client.outbox.pause()
    for frame in (b"1", b"2", b"3"):
        client.outbox.put(frame)
    client.takes(frames=2)
    assert client.heard == b"1 2"
    client.outbox.put(b"4")
    assert client.heard == b"1 2"
    client.takes()
    assert client.heard == b"1 2 3 4"


async def test_a_held_topic(client: Client) -> None:
    """Its notifications wait for the release; answers and other topics do not."""
    client.outbox.hold(TOPIC)
    client.outbox.notify(TOPIC, b"event")
    client.outbox.notify(OTHER, b"other")
    client.outbox.put(b"answer")
    assert client.heard == b"other answer"
    client.outbox.notify(TOPIC, b"delta")
    client.outbox.release(TOPIC)
    assert client.heard == b"other answer event delta"
    client.outbox.notify(TOPIC, b"live")
    assert client.heard == b"other answer event delta live"


async def test_a_topic_held_twice(client: Client) -> None:
    """The last release lets through: what came between waits for it too."""
    client.outbox.hold(TOPIC)
    client.outbox.notify(TOPIC, b"1")
    client.outbox.hold(TOPIC)
    client.outbox.notify(TOPIC, b"2")
    client.outbox.release(TOPIC)
    client.outbox.notify(TOPIC, b"3")
    assert client.heard == b""
    client.outbox.release(TOPIC)
    assert client.heard == b"1 2 3"


async def test_a_topic_released_into_a_full_socket(client: Client) -> None:
    """What it held goes behind what waits already."""
    client.outbox.hold(TOPIC)
    client.outbox.notify(TOPIC, b"event")
    client.outbox.pause()
    client.outbox.put(b"answer")
    client.outbox.release(TOPIC)
    assert client.heard == b""
    client.takes()
    assert client.heard == b"answer event"


Steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["hold", "release", "notify"]), st.sampled_from([TOPIC, OTHER])),
        st.tuples(st.sampled_from(["put", "pause", "takes", "takes 1"]), st.none()),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(Steps)
def test_any_order_of_things(steps: list[tuple[str, tuple[str, str] | None]]) -> None:
    """However it goes: every frame arrives once, those of a topic in order, and those past all topics in order."""
    asyncio.run(_any_order_of_things(steps))


async def _any_order_of_things(steps: list[tuple[str, tuple[str, str] | None]]) -> None:
    client, outbox = (made := Client()), made.outbox
    holds = {TOPIC: 0, OTHER: 0}
    said: dict[str, list[bytes]] = {"put": [], "a": [], "b": []}
    for number, (step, topic) in enumerate(steps):
        match step, topic:
            case "put", _:
                said["put"].append(b"put %d" % number)
                outbox.put(said["put"][-1])
            case "notify", (_, name):
                said[name].append(b"%s %d" % (name.encode(), number))
                outbox.notify(("default", name), said[name][-1])
            case "hold", (_, name):
                holds["default", name] += 1
                outbox.hold(("default", name))
            case "release", (_, name) if holds["default", name]:
                holds["default", name] -= 1
                outbox.release(("default", name))
            case "pause", _:
                outbox.pause()
            case "takes", _:
                client.takes()
            case "takes 1", _:
                client.takes(frames=1)
    for topic, count in holds.items():
        for _ in range(count):
            outbox.release(topic)
    client.takes()
    for name, frames in said.items():
        assert [frame for frame in client.transport.written if frame.startswith(name.encode())] == frames
    outbox.close()


async def test_a_reader_that_keeps_up(client: Client) -> None:
    """Nobody waits for it, however much it was sent."""
    client.outbox.put(BIG + BIG)
    await client.outbox.drained()
    client.outbox.pause()
    client.outbox.put(BIG)
    assert not client.outbox.is_behind
    await client.outbox.drained()


async def test_a_reader_that_is_behind(client: Client) -> None:
    """Whoever would rather wait goes on when it has taken nearly all."""
    client.outbox.pause()
    client.outbox.put(BIG)
    client.outbox.put(b"x")
    waiting = [asyncio.create_task(client.outbox.drained()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    client.takes(frames=1)
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)


async def test_a_reader_that_is_behind_again(client: Client) -> None:
    """Waking up is not enough: it waits until it is true."""
    client.outbox.pause()
    for _ in range(3):
        client.outbox.put(BIG)
    waiting = asyncio.create_task(client.outbox.drained())
    await asyncio.sleep(0)
    client.takes(frames=1)
    await asyncio.sleep(0)
    assert not waiting.done()
    client.takes(frames=1)
    client.outbox.put(BIG)
    await asyncio.sleep(0)
    assert not waiting.done()
    client.takes()
    async with asyncio.timeout(5):
        await waiting


async def test_somebody_who_waits_no_more(client: Client) -> None:
    """One that was cancelled is in nobody's way."""
    client.outbox.pause()
    client.outbox.put(BIG + BIG)
    gone, waiting = asyncio.create_task(client.outbox.drained()), asyncio.create_task(client.outbox.drained())
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    client.takes()
    async with asyncio.timeout(5):
        await waiting
    assert gone.cancelled()


async def test_a_reader_that_takes_nothing(client: Client, skip: Skip) -> None:
    """Over the bound it is given up after STALL_S, once."""
    client.outbox.pause()
    client.outbox.put(b"x" * (BOUND + 1))
    await skip(STALL_S - 0.5)
    assert client.given_up == 0
    await skip(0.6)
    assert client.given_up == 1
    await skip(10 * SILENCE_S)
    assert client.given_up == 1


async def test_a_reader_that_takes_nothing_within_the_bound(client: Client, skip: Skip) -> None:
    """It has SILENCE_S."""
    client.outbox.pause()
    client.outbox.put(b"x" * BOUND)
    for _ in range(round(SILENCE_S / STALL_S) - 1):
        await skip(STALL_S + 0.01)
    assert client.given_up == 0
    await skip(STALL_S + 0.01)
    assert client.given_up == 1


async def test_a_reader_that_takes_a_little(client: Client, skip: Skip) -> None:
    """A byte is progress, though the socket stays full and the bound is passed; then it stops."""
    client.outbox.put(BIG)
    client.outbox.pause()
    client.outbox.put(b"x" * (BOUND + 1))
    for _ in range(10):
        client.transport.unread -= 1
        await skip(STALL_S + 0.01)
    assert client.given_up == 0
    await skip(STALL_S + 0.01)
    assert client.given_up == 1


async def test_a_reader_that_comes_back_in_time(client: Client, skip: Skip) -> None:
    """It gets everything, and is not watched any more."""
    client.outbox.pause()
    client.outbox.put(b"x" * (BOUND + 1))
    await skip(STALL_S - 0.5)
    client.takes()
    await skip(10 * SILENCE_S)
    assert client.given_up == 0
    assert client.heard == b"x" * (BOUND + 1)


async def test_a_reader_that_stalls_a_second_time(client: Client, skip: Skip) -> None:
    """It is watched anew."""
    client.outbox.pause()
    client.takes()
    await skip(STALL_S + 0.01)
    client.outbox.pause()
    client.outbox.put(b"x" * (BOUND + 1))
    await skip(STALL_S + 0.01)
    await skip(STALL_S + 0.01)
    assert client.given_up == 1


async def test_the_end(client: Client, skip: Skip) -> None:
    """What waits is forgotten, whoever waits goes on, later frames go nowhere, and nobody is given up."""
    client.outbox.hold(TOPIC)
    client.outbox.notify(TOPIC, b"held")
    client.outbox.pause()
    client.outbox.put(b"x" * (BOUND + 1))
    waiting = asyncio.create_task(client.outbox.drained())
    await asyncio.sleep(0)
    client.outbox.close()
    async with asyncio.timeout(5):
        await waiting
        await client.outbox.drained()
    client.outbox.release(TOPIC)
    client.outbox.put(b"late")
    client.takes()
    await skip(10 * SILENCE_S)
    assert (client.heard, client.given_up) == (b"", 0)


async def test_the_last_words(client: Client) -> None:
    """Everything goes to the socket, full or not, in order."""
    client.outbox.pause()
    client.outbox.put(b"1")
    client.outbox.put(b"2")
    client.outbox.flush()
    assert client.heard == b"1 2"
    assert not client.outbox.is_behind


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
def test_a_frame(length: int) -> None:
    """It is what the library reads as one unmasked text message of these bytes."""
    payload = b"x" * length
    reader = StreamReader()
    reader.feed_data(text_frame(payload))
    parsing = Frame.parse(reader.read_exact, mask=False, max_size=None)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    frame: Frame = done.value.value
    assert (frame.opcode, frame.fin, bytes(frame.data)) == (Opcode.TEXT, True, payload)


def test_work_that_waits_for_a_gate() -> None:
    """Is done at once where nothing is held, else in its place among the frames that are kept."""
    client = Client()
    client.outbox.hold(TOPIC)
    client.outbox.notify(TOPIC, b"1")
    client.outbox.when_free(TOPIC, lambda: client.outbox.notify(None, b"2"))
    client.outbox.notify(TOPIC, b"3")
    client.outbox.when_free(OTHER, lambda: client.outbox.notify(None, b"0"))
    client.outbox.release(TOPIC)
    assert client.transport.written == [b"0", b"1", b"2", b"3"]
