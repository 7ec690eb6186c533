"""How long each connection may stay: without credentials seconds, with a token as long as that is good.

A token is warned of a minute before it runs out. It does so by the wall clock,
the wheel goes by the steady one: when the two come apart, since somebody set the
one or the machine slept, the ends of tokens are moved. Nothing here knows
tokens; what a connection goes by is its own.
"""

import asyncio
from typing import Final, NoReturn

from gateway.auth.tokens import is_past
from gateway.clock import SteadyClock, instant
from gateway.hub.hub import notification
from gateway.timers import TimerWheel
from rpc_schema import close_codes
from rpc_schema.notifications import EXPIRING, ExpiringParams

from .connection import Connection
from .outbox import text_frame

AUTHENTICATE_MS: Final = 10_000
WARNING_MS: Final = 60_000
TICK_MS: Final = 100


class Stays:
    """The deadlines of all connections, in a wheel of their own."""

    def __init__(self, clock: SteadyClock) -> None:
        self._clock = clock
        self._ahead_ms = 0
        self._wheel = TimerWheel(self._clock, self._look, tick_ms=TICK_MS)
        self._connections: dict[int, Connection] = {}
        self._last = 0

    def run(self) -> "asyncio.Task[NoReturn]":
        """Go by the clock until cancelled."""
        return asyncio.create_task(self._run(), name="stays of connections")

    def begin(self, connection: Connection) -> None:
        """It was opened; from now on it is watched, also when it goes on with another credential."""
        self._last += 1
        number = self._last
        self._connections[number] = connection
        connection.on_admitted = lambda: self._arm(number, connection)
        connection.on_gone = lambda: self._end(number)
        self._arm(number, connection)

    async def _run(self) -> NoReturn:
        while True:
            self._follow_wall()
            self._wheel.tick()
            await asyncio.sleep(TICK_MS / 1000)

    def _follow_wall(self) -> None:
        """Move the ends of tokens by as much as the clocks have come apart."""
        moved_ms = self._clock.wall_ms() - self._clock.now_ms() - self._ahead_ms
        if abs(moved_ms) < TICK_MS:
            return
        self._ahead_ms += moved_ms
        for number, connection in self._connections.items():
            deadline_ms = self._wheel.deadline(number)
            if connection.credential is not None and deadline_ms is not None:
                self._wheel.arm(number, deadline_ms - moved_ms)

    def _end(self, number: int) -> None:
        self._connections.pop(number, None)
        self._wheel.cancel(number)

    def _arm(self, number: int, connection: Connection) -> None:
        self._wheel.cancel(number)
        credential = connection.credential
        if credential is None:
            self._wheel.arm(number, self._clock.now_ms() + AUTHENTICATE_MS)
        elif credential.expires_at is not None:
            self._wheel.arm(number, credential.expires_at - self._ahead_ms - WARNING_MS)

    def _look(self, number: int) -> None:
        """Its time has come: to have shown a token, to be warned, or to go."""
        connection = self._connections[number]
        credential = connection.credential
        if credential is None:
            connection.expel(close_codes.UNAUTHENTICATED, "unauthenticated")
        elif credential.expires_at is not None and is_past(
            credential.expires_at - self._ahead_ms, self._clock.now_ms()
        ):
            connection.expel(close_codes.CREDENTIALS_EXPIRED, "credentials expired")
        elif credential.expires_at is not None:
            warning = ExpiringParams(expires_at=instant(credential.expires_at))
            connection.outbox.put(text_frame(notification(EXPIRING.name, warning)))
            self._wheel.arm(number, credential.expires_at - self._ahead_ms)
