"""Who can take turns, while that changes."""

import asyncio

from gateway.agents.roster import Roster
from gateway.settings import AgentSettings


def settings(**changes: object) -> AgentSettings:
    return AgentSettings(**{"id": "echo", "kind": "echo", "options": {"delay_ms": 0}} | changes)  # type: ignore[arg-type]


async def test_what_only_people_look_at_changes_no_agent() -> None:
    """A new name keeps the agent with its connections."""
    roster = Roster()
    await roster.replace([settings()])
    before = roster.agent("echo")
    await roster.replace([settings(name="Echoes")])
    assert roster.agent("echo") is before
    assert roster.name("echo") == "Echoes"


async def test_an_agent_that_is_replaced_in_a_turn_finishes_it_first() -> None:
    """It is closed when its last turn has left, not before."""
    roster = Roster()
    await roster.replace([settings()])
    closed = asyncio.Event()
    async with roster.lend("echo") as agent:

        async def close() -> None:
            closed.set()

        agent.close = close  # type: ignore[method-assign]
        await roster.replace([settings(options={"delay_ms": 1})])
        assert roster.agent("echo") is not agent
        assert not closed.is_set()
    assert closed.is_set()
