"""One client's watch: what it is told, when, and what waits for it.

Nothing is told before the answer that made the watch, and nothing waits in
more than one piece for each session: a client that is behind, or that has a call
under way whose answer comes first, gets the steps of a session joined.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from gateway.hub.hub import Closable, Sink, Topic

from .changes import Step, join, unsure

Spawn = Callable[[Coroutine[Any, Any, None]], None]


class Watch(Closable):
    """A list that one client watches; `tenant` is the client's own.

    Until `go_live` what it hears may be in its list already, or not yet.
    """

    __slots__ = ("_behind", "_frame", "_is_catching_up", "_pending", "_spawn", "tenant")

    def __init__(
        self,
        id: str,
        sink: Sink,
        tenant: str,
        *,
        frame: Callable[[bytes], bytes],
        spawn: Spawn,
        ended: Callable[[], None],
        may_read: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(id, None, sink, prev=0, ended=ended, may_read=may_read)
        self.tenant, self._frame, self._spawn = tenant, frame, spawn
        self._pending: dict[Topic, Step] = {}
        self._behind: dict[Topic, None] = {}
        self._is_catching_up = False

    def tell(self, step: Step) -> None:
        """Send it as soon as may be; never waits."""
        if not self.live.is_set():
            step = unsure(step)
        topic = step.line.topic
        earlier = self._pending.get(topic)
        if earlier is None:
            self._pending[topic] = step
            self._send_soon(topic)
        elif (joined := join(earlier, step)) is not None:
            self._pending[topic] = joined
        else:
            del self._pending[topic]

    def go_live(self) -> None:
        """The answer is on its way: from now on tell."""
        if not self.is_closed:
            self.live.set()
            self._catch_up_soon()

    def _send_soon(self, topic: Topic) -> None:
        if self.live.is_set() and not self._behind and not self.sink.is_behind:
            self.sink.when_free(topic, partial(self._send, topic))
        else:
            self._behind[topic] = None
            self._catch_up_soon()

    def _catch_up_soon(self) -> None:
        if self._behind and self.live.is_set() and not self._is_catching_up:
            self._is_catching_up = True
            self._spawn(self._catch_up())

    async def _catch_up(self) -> None:
        """Send what waits, at the pace of the client."""
        while self._behind and not self.is_closed:
            await self.sink.drained()
            if self._behind:
                topic = next(iter(self._behind))
                del self._behind[topic]
                self.sink.when_free(topic, partial(self._send, topic))
        self._is_catching_up = False

    def _send(self, topic: Topic) -> None:
        step = self._pending.pop(topic, None)
        if step is not None and not self.is_closed and self.may_read():
            names_tenant = topic[0] != self.tenant
            self.sink.notify(None, step.line.frame(self._frame, self.id, step.change, names_tenant=names_tenant))
