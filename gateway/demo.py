"""A few conversations to look at, for a gateway that has none; held over the public protocol."""

import structlog

from rpc_schema.conversation import SEND, SendParams
from rpc_schema.directory import LIST, ListParams
from rpc_schema.lifecycle import UPDATE, NewSession, UpdateParams

from .client import connect

_CONVERSATIONS = {
    "demo:welcome": ("web", ["Welcome! Every message comes back word by word.", "/words 12"]),
    "demo:tools": ("web", ['Let me look that up.\n/tool weather {"city": "Lisbon", "celsius": 21}\nIt is mild.']),
    "demo:thinking": ("telegram", ["/think First the tens, then the ones: 40 and 2.\nThe answer is 42."]),
    "demo:failure": ("api", ["This goes wrong.\n/fail The demo agent was asked to fail."]),
}
log = structlog.get_logger(__name__)


async def seed(url: str) -> None:
    """Hold the demo conversations, unless there are sessions already."""
    async with connect(url) as gateway:
        if (await gateway.call(LIST, ListParams(view="all", include_empty=True, limit=1))).total:
            log.info("demo_skipped", reason="there are sessions already")
            return
        for key, (channel, messages) in _CONVERSATIONS.items():
            new = NewSession(agent="echo", channel=channel, labels={"demo": "yes"})
            for content in messages:
                await gateway.call(SEND, SendParams(key=key, content=content, create=new, wait=True))
        await gateway.call(UPDATE, UpdateParams(key="demo:welcome", pinned=True))
    log.info("demo_seeded", sessions=len(_CONVERSATIONS))
