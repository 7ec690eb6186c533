"""An agent whose turns do what the test says, when it says so."""

import asyncio
from collections import defaultdict

from gateway.agents.base import AgentFailure, Finish, Output, Turn


class Puppet:
    """A script for a ScriptedAgent: hangs until it is told to say, to work, to stop or to fail."""

    def __init__(self) -> None:
        self._orders: dict[str, asyncio.Queue[tuple[str, str]]] = defaultdict(asyncio.Queue)

    def tell(self, turn: str, order: str, word: str = "") -> None:
        """Let a turn, begun or about to, do something."""
        self._orders[turn].put_nowait((order, word))

    async def __call__(self, turn: Turn, out: Output) -> Finish:
        while True:
            match await self._orders[turn.turn].get():
                case "say", word:
                    out.text(word)
                case "work", call:
                    await out.tool_call(call, "look", {})
                    await out.tool_result(call, 1, duration_ms=0)
                case "fail", _:
                    raise AgentFailure("agent_failed", "no luck")
                case _:
                    return "stop"
