"""What the contract says each call comes to, written from its table and from nothing of the gateway.

the session's user    everything on the own session except model override
the agent's owner     everything on every session of that agent
admin                 everything in the own tenant; of `*` everywhere
scopes                sessions:read for what reads, sessions:write for the rest of session.*, admin for its rights
keys of others        404, as unknown ones
"""

from collections.abc import Callable
from typing import Any

from tests.e2e.auth.people import Person

OWNER_OF_DESK = "olga"
HOME_OF_EVERYWHERE = "default"

FREE = {"gateway.hello"}
FOR_THE_KNOWN = {
    "gateway.health", "rpc.discover", "$/cancelRequest", "auth.refresh", "agent.list", "agent.get",
    "session.unsubscribe",
}  # fmt: skip
FOR_ADMINS = {"token.create", "token.list", "token.revoke", "gateway.connections"}
FOR_OWNERS_OF_THE_AGENT = {"agent.setPolicy"}
FINDS = {"session.list", "session.search", "session.watch", "usage.query"}
MAKES = {"session.create", "session.import"}
READS = {
    "session.status", "session.history", "session.context", "session.metrics", "session.export", "session.subscribe",
}  # fmt: skip

CALLS: dict[str, Callable[[str], dict[str, Any]]] = {
    "gateway.hello": lambda key: {},
    "gateway.health": lambda key: {},
    "gateway.connections": lambda key: {},
    "rpc.discover": lambda key: {},
    "$/cancelRequest": lambda key: {"id": "none"},
    "agent.list": lambda key: {},
    "agent.get": lambda key: {"agent": "desk"},
    "agent.setPolicy": lambda key: {"agent": "desk", "policy": {}},
    "token.create": lambda key: {"user": "new", "scopes": ["admin"]},
    "token.list": lambda key: {},
    "session.create": lambda key: {"agent": "desk"},
    "session.import": lambda key: {"data": ""},
    "session.list": lambda key: {"includeEmpty": True, "limit": 200},
    "session.search": lambda key: {"query": "word"},
    "session.watch": lambda key: {"limit": 1},
    "usage.query": lambda key: {"groupBy": "agent"},
    "session.unsubscribe": lambda key: {"subscription": "none"},
    "session.status": lambda key: {"key": key},
    "session.history": lambda key: {"key": key},
    "session.context": lambda key: {"key": key},
    "session.metrics": lambda key: {"key": key},
    "session.export": lambda key: {"key": key},
    "session.subscribe": lambda key: {"key": key},
    "session.send": lambda key: {"key": key, "content": "word"},
    "session.stop": lambda key: {"key": key},
    "session.approve": lambda key: {"key": key, "turn": "t", "callId": "c", "allow": True},
    "session.regenerate": lambda key: {"key": key},
    "session.update": lambda key: {"key": key, "title": "New"},
    "session.end": lambda key: {"key": key},
    "session.pause": lambda key: {"key": key},
    "session.resume": lambda key: {"key": key},
    "session.archive": lambda key: {"key": key},
    "session.restore": lambda key: {"key": key},
    "session.renew": lambda key: {"key": key},
    "session.heartbeat": lambda key: {"key": key},
    "session.transfer": lambda key: {"key": key, "agent": "echo"},
    "session.fork": lambda key: {"key": key},
    "session.reset": lambda key: {"key": key},
    "session.compact": lambda key: {"key": key},
    "session.delete": lambda key: {"key": key},
}
"""A call of each method that nothing but rights can refuse; of those with a key the session is `desk`'s."""

NOT_IN_THE_MATRIX = {
    "auth.refresh": "it needs a token of the caller; test_expiring.py",
    "token.revoke": "it needs a token of somebody; test_tokens.py",
}


def outcome(method: str, who: Person | None, named: str | None, *, tenant: str, user: str) -> int:
    """The number of the refusal, 0 for none; `tenant` and `user` are the session's, `named` is the call's tenant."""
    if method in FREE:
        return 0
    if who is None:
        return 401
    if method in FOR_THE_KNOWN:
        return 0
    if method in FOR_ADMINS:
        return 0 if is_admin(who) else 403
    if method in FOR_OWNERS_OF_THE_AGENT:
        return 0 if is_admin(who) or (who.user == OWNER_OF_DESK and "sessions:write" in who.scopes) else 403
    scope = "sessions:read" if method in READS | FINDS else "sessions:write"
    if method in MAKES:
        reaches = named in (None, home(who)) or is_everywhere(who)
        return 403 if scope not in who.scopes else 0 if reaches else 404
    if method not in FINDS and not knows(who, named or home(who), tenant=tenant, user=user):
        return 404
    return 0 if scope in who.scopes else 403


def knows(who: Person, asked: str, *, tenant: str, user: str) -> bool:
    """Whether the session that is asked for in a tenant is there, for them."""
    if asked != tenant:
        return False
    if is_everywhere(who):
        return True
    return home(who) == tenant and (who.user in (user, OWNER_OF_DESK) or is_admin(who))


def home(who: Person) -> str:
    return HOME_OF_EVERYWHERE if who.tenant == "*" else who.tenant


def is_admin(who: Person) -> bool:
    return "admin" in who.roles and "admin" in who.scopes


def is_everywhere(who: Person) -> bool:
    return is_admin(who) and who.tenant == "*"
