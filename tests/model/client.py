"""Somebody with a socket who keeps a mirror of each session that is followed."""

from contextlib import AsyncExitStack
from typing import Any

from gateway.app import Gateway
from tests.e2e.inside import client_of
from tests.model.mirror import Mirror
from tests.raw import RawClient

Json = Any


class Client:
    """A person at the gateway: comes, goes, comes back to where they were."""

    def __init__(self) -> None:
        self.mirrors: dict[str, Mirror] = {}  # by key
        self._by_subscription: dict[str, Mirror] = {}
        self._raw: RawClient
        self._socket = AsyncExitStack()
        self.is_here = False

    async def come(self, gateway: Gateway) -> None:
        self._raw = await self._socket.enter_async_context(client_of(gateway))
        self.is_here = True

    async def go(self) -> None:
        self._by_subscription.clear()
        self.is_here = False
        await self._socket.aclose()

    async def ask(self, method: str, **params: Any) -> Json:
        """The answer, an error too; what is heard before it is taken."""
        id = await self._raw.ask(method, **params)
        while (message := await self.hear()).get("id") != id:
            pass
        return message

    async def hear(self) -> Json:
        """Take the next message."""
        message = await self._raw.hear()
        match message.get("method"):
            case "session.event":
                self._of(message).take(message["params"])
            case "session.delta":
                self._of(message).take_delta(message["params"]["delta"])
            case "subscription.closed":
                self._of(message).closed = message["params"]
        return message

    async def follow(self, key: str) -> Json:
        """Subscribe, from where the mirror of the session is, if there is one that can go on."""
        mirror = self.mirrors.get(key)
        since = {} if mirror is None else {"since": {"epoch": mirror.epoch, "seq": mirror.head}}
        answer = await self.ask("session.subscribe", key=key, **since)
        if "result" in answer:
            self._begin(key, answer["result"])
        return answer

    def _begin(self, key: str, result: Json) -> None:
        mirror = self.mirrors.get(key)
        if mirror is None or not result["replay"]["complete"]:
            mirror = Mirror(result["epoch"], result["session"])
        else:
            assert mirror.epoch == result["epoch"]
            if result["replay"]["from"] > mirror.head + 1:
                mirror.begin_anew(result["session"])
        self.adopt(key, result["subscription"], mirror)
        mirror.know(result.get("turn", {}))

    def adopt(self, key: str, subscription: str, mirror: Mirror) -> None:
        """What is heard on this subscription is of this session."""
        self.mirrors[key] = self._by_subscription[subscription] = mirror

    async def unfollow(self, key: str) -> None:
        """No more of it; the mirror stays as it is."""
        mirror = self.mirrors[key]
        (subscription,) = (id for id, of in self._by_subscription.items() if of is mirror)
        answer = await self.ask("session.unsubscribe", subscription=subscription)
        assert answer["result"] == {"closed": True}
        while mirror.closed is None:
            await self.hear()
        assert mirror.closed["reason"] == "unsubscribed"
        del self._by_subscription[subscription]
        mirror.closed = None

    def follows(self, key: str) -> bool:
        return key in self.mirrors and self.mirrors[key] in self._by_subscription.values()

    def forget(self, key: str) -> None:
        """The subscription is over; the mirror stays, should the key be used again."""
        self._by_subscription = {id: of for id, of in self._by_subscription.items() if of is not self.mirrors[key]}

    def _of(self, message: Json) -> Mirror:
        return self._by_subscription[message["params"]["subscription"]]
