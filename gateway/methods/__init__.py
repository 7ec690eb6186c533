"""What each method does: one file a schema family, same name. Everything they need is in their `Call`."""

from gateway.rpc.handlers import Handler, table
from gateway.services import Call
from rpc_schema.registry import METHODS

from . import agents, conversation, copies, directory, lifecycle, subscriptions, system, tokens
from .gate import gated


def handlers() -> dict[str, Handler[Call]]:
    """All handlers, gated; raises RuntimeError where they are not just those of the registry."""
    families = (system, tokens, agents, lifecycle, copies, directory, conversation, subscriptions)
    return gated(table((handler for family in families for handler in family.HANDLERS), METHODS))
