"""A list of sessions as the gateway last told it. Pure."""

from collections.abc import Iterable

from rpc_schema.notifications import ChangedParams
from rpc_schema.types import Session


class Table:
    """Sessions by tenant and key, unsorted; `tenant` is one's own, which changes leave out."""

    def __init__(self, tenant: str = "") -> None:
        self.tenant = tenant
        self.sessions: dict[tuple[str, str], Session] = {}

    def replace(self, sessions: Iterable[Session]) -> None:
        """Begin anew with a list."""
        self.sessions = {(session.tenant, session.key): session for session in sessions}

    def apply(self, change: ChangedParams) -> None:
        """Take in a change; one that is known already changes nothing."""
        if change.session is not None:
            self.sessions[change.session.tenant, change.key] = change.session
        else:
            self.sessions.pop((change.tenant or self.tenant, change.key), None)
