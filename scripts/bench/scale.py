"""How much is measured: enough for numbers that hold, or a look in passing."""

from typing import NamedTuple


class Scale(NamedTuple):
    """Rounds are those that count; one more goes before, to warm up."""

    rounds: int
    dispatches: int
    requests: int
    subscribers: tuple[int, ...]
    deliveries: int
    first_tokens: int
    streams: int
    tokens_a_stream: int
    clients: int
    messages_a_client: int
    sessions: tuple[int, ...]
    pages: int
    said: tuple[int, ...]
    timers: int
    deadlines: tuple[int, ...]


FULL = Scale(
    rounds=5,
    dispatches=20_000,
    requests=3200,
    subscribers=(1, 10, 100, 1000),
    deliveries=40_000,
    first_tokens=40,
    streams=32,
    tokens_a_stream=100,
    clients=64,
    messages_a_client=15,
    sessions=(1000, 100_000, 1_000_000),
    pages=60,
    said=(100_000, 1_000_000),
    timers=1_000_000,
    deadlines=(2000, 8000, 20_000),
)
QUICK = FULL._replace(
    rounds=2,
    dispatches=5000,
    requests=640,
    subscribers=(1, 100),
    deliveries=8000,
    first_tokens=15,
    tokens_a_stream=40,
    messages_a_client=5,
    sessions=(1000, 100_000),
    pages=20,
    said=(10_000,),
    timers=100_000,
    deadlines=(2000,),
)
