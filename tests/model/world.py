"""All sessions of a gateway: what each call is answered with, and what happens by itself after it.

A method here is a method of the wire: it gives the answer, or raises Refused.
Time is `now`, turned by `pass_time`; afterwards everything has happened that is
due. Everybody acts as `local`, an admin; `user` says for whom a session is.
"""

from collections.abc import Callable, Iterable
from typing import Any

from tests.model import policies
from tests.model.refusals import Refused
from tests.model.session import Session

LOCAL = "local"
QUEUE = 2
VERBS = ("end", "pause", "resume", "archive", "restore", "reset", "delete")
Json = Any


class World:
    """What a gateway with these agents must do."""

    def __init__(self, agents: Iterable[str], now: int) -> None:
        self.now = now
        self.set_by_agent: dict[str, dict[str, Any]] = {agent: {} for agent in agents}
        self.sessions: dict[str, Session] = {}
        self._count = 0

    @property
    def living(self) -> list[Session]:
        """Those that are not deleted."""
        return [session for session in self.sessions.values() if not session.is_deleted]

    @property
    def open(self) -> dict[str, Session]:
        """Those that have not ended."""
        return {session.key: session for session in self.living if session.state != "ended"}

    def find(self, key: str) -> Session:
        """Raises Refused: 404, 410."""
        session = self.sessions.get(key)
        if session is None:
            raise Refused(404, "session_not_found")
        if session.is_deleted:
            raise Refused(410, "session_deleted")
        return session

    # What happens without a call.

    def settle(self) -> None:
        """All that is due has happened."""
        for session in self.sessions.values():
            session.elapse(self.now)
            session.advance()

    def pass_time(self, ms: int) -> None:
        self.now += ms
        self.settle()

    def restart(self, ms: int) -> None:
        """The gateway is stopped and started again after a while: what ran has failed, what waited goes on."""
        for session in self.living:
            if session.turn is not None:
                session.end_turn("turn.failed", "interrupted", code="gateway_restarted")
        self.pass_time(ms)

    def moments(self) -> list[int]:
        """When something may happen next, in order."""
        return sorted({at for session in self.living for at in session.moments() if at > self.now})

    # Making.

    def create(self, key: str, agent: str, user: str = LOCAL, **born: Any) -> Json:
        if (session := self.sessions.get(key)) is not None and not session.is_deleted:
            raise Refused(409, "session_exists")
        session = self._bear(key, agent, user, **born)
        self.sessions[key] = session
        return {"session": session.summary()}

    def _bear(self, key: str, agent: str, user: str, **born: Any) -> Session:
        session = Session(self._count, key, agent, user, self.now)
        session.own, session.clamped = policies.at_birth(born.get("policy", {}))
        self._rule(session)
        self._check_room(session)
        self._count += 1
        session.title = born.get("title")
        session.titled_by = "user" if session.title is not None else None
        session.labels, session.metadata = born.get("labels", {}), born.get("metadata", {})
        session.is_pinned = born.get("pinned", False)
        session.emit("session.created", author=LOCAL, agent=agent, model="fake-1", source="manual", channel="api")
        return session

    def _check_room(self, new: Session) -> None:
        limits = [rules["maxConcurrentPerUser"] for rules in (self.rules_of(new.agent), new.rules)]
        limit = min((limit for limit in limits if limit is not None), default=None)
        mine = [s for s in self.living if (s.user, s.agent) == (new.user, new.agent) and s.state != "ended"]
        if limit is not None and len(mine) >= limit:
            raise Refused(429, "session_limit", limit=limit, current=len(mine))

    # Talking.

    def send(self, key: str, content: str, turn: str, if_busy: str = "enqueue", create: Json = None) -> Json:
        """`turn` is what the gateway called it."""
        if create is not None and (key not in self.sessions or self.sessions[key].is_deleted):
            self.create(key, **create)
        session = self.find(key)
        session.check_talking()
        is_queued = session.is_busy and if_busy == "enqueue"
        if session.is_busy and if_busy == "reject":
            raise Refused(409, "turn_running", turn=session.turn or session.queue[0])
        if is_queued and len(session.queue) >= QUEUE:
            raise Refused(429, "queue_full", retryable=True, limit=QUEUE)
        if session.is_busy and not is_queued:
            session.stop(session.turn, LOCAL, "interrupted")
        was_renewed = session.touch()
        session.hear(turn, content, LOCAL)
        answer = {"turn": turn, "seq": session.head, "state": "running"}
        if is_queued:
            session.queue.append(turn)
            answer |= {"state": "queued", "position": len(session.queue)}
            session.emit("turn.queued", turn=turn, position=len(session.queue))
        else:
            session.start(turn)
        summary = session.summary()
        status = {name: summary[name] for name in ("expiresAt", "renewalCount", "isNearExpiration")}
        return answer | {"sessionStatus": status | {"wasRenewed": was_renewed}}

    def stop(self, key: str, turn: str | None) -> Json:
        stopped = self.find(key).stop(turn, LOCAL, "stopped")
        return {"stopped": True, "turn": stopped} if stopped is not None else {"stopped": False}

    def renew(self, key: str) -> Json:
        session = self.find(key)
        session.check_talking()
        if session.deadline >= session.cap_at:
            longest = session.rules["maxDurationMinutes"]
            raise Refused(422, "renewal_failed", maxDurationMinutes=longest, createdAt=session.summary()["createdAt"])
        session.renew(LOCAL)
        return {"session": session.summary()}

    def heartbeat(self, key: str) -> Json:
        session = self.find(key)
        session.check_talking()
        session.touch()
        return {"session": session.summary()}

    # Deciding.

    def update(self, key: str, ifRevision: int | None = None, **asked: Any) -> Json:
        session = self.find(key)
        session.check_revision(ifRevision)
        own = session.own
        if "policy" in asked:
            own = policies.merged(own, asked["policy"], self.rules_of(session.agent))
        changes = self._changes(session, asked) | ({"policy": own} if own != session.own else {})
        if "policy" in changes:
            session.check_open()
        if "pinned" in changes and session.archived_at:
            raise Refused(409, "session_archived")
        if changes:
            self._change(session, changes, asked)
        session.elapse(session.now)
        return {"session": session.summary()}

    def _changes(self, session: Session, asked: Json) -> Json:
        changes = {}
        if "title" in asked:
            wanted = asked["title"], "user" if asked["title"] is not None else None
            changes |= {"title": asked["title"]} if wanted != (session.title, session.titled_by) else {}
        for name, has in (("labels", session.labels), ("metadata", session.metadata), ("pinned", session.is_pinned)):
            wanted = asked.get(name, has)
            wanted = {} if wanted is None else wanted
            changes |= {name: wanted} if wanted != has else {}
        return changes

    def _change(self, session: Session, changes: Json, asked: Json) -> None:
        session.emit("session.updated", author=LOCAL).update(changes)
        session.revision += 1
        if "title" in changes:
            session.title, session.titled_by = changes["title"], "user" if changes["title"] is not None else None
        session.labels = changes.get("labels", session.labels)
        session.metadata = changes.get("metadata", session.metadata)
        session.is_pinned = changes.get("pinned", session.is_pinned)
        if "policy" in changes:
            session.own = changes["policy"]
            session.clamped -= set(asked["policy"] or session.clamped)
            self._rule(session)
            session.take_back_warning(auto=False)

    def set_policy(self, agent: str, patch: Json) -> Json:
        self.set_by_agent[agent] = policies.merged(self.set_by_agent[agent], patch, policies.effective())
        for session in self.living:
            if session.agent == agent:
                self._rule(session)
                session.take_back_warning(auto=False)
        set_here = self.set_by_agent[agent]
        sources = {name: "agent, set" if name in set_here else "gateway" for name in policies.GATEWAY}
        return {"policy": self.rules_of(agent), "policySources": sources}

    def rules_of(self, agent: str) -> dict[str, Any]:
        """What a new session gets."""
        return policies.effective(self.set_by_agent[agent])

    def _rule(self, session: Session) -> None:
        session.rules = policies.effective(self.set_by_agent[session.agent], session.own)

    # The verbs for one or many.

    def one(self, verb: str, key: str, ifRevision: int | None = None) -> Json:
        session = self.find(key)
        session.check_revision(ifRevision)
        result = getattr(self, f"_{verb}")(session)
        if verb in ("end", "pause", "resume", "archive", "restore"):
            session.elapse(session.now)
            result["session"] = session.summary()
        return result

    def many(self, verb: str, keys: Iterable[str], ifRevision: int | None = None) -> Json:
        def item(key: str) -> Json:
            try:
                return {"key": key, "ok": True, "result": self.one(verb, key, ifRevision)}
            except Refused as refused:
                return {"key": key, "ok": False, "error": refused}

        results = [item(key) for key in dict.fromkeys(keys)]
        succeeded = sum(item["ok"] for item in results)
        return {"results": results, "succeeded": succeeded, "failed": len(results) - succeeded}

    def _end(self, session: Session) -> Json:
        if session.state != "ended":
            session.stop_all(LOCAL, "ended")
            session.change("ended", _who(session), LOCAL)
        return {"session": session.summary()}

    def _pause(self, session: Session) -> Json:
        session.check_open()
        if session.state != "paused":
            if session.turn is not None:
                session.stop(session.turn, LOCAL, "paused")
            session.change("paused", _who(session), LOCAL)
        return {"session": session.summary()}

    def _resume(self, session: Session) -> Json:
        session.check_open()
        if session.state == "paused":
            session.change("live", _who(session), LOCAL)
        return {"session": session.summary()}

    def _archive(self, session: Session) -> Json:
        if not session.archived_at:
            if session.is_pinned:
                raise Refused(409, "session_pinned")
            if session.turn is not None:
                raise Refused(409, "turn_running", turn=session.turn)
            session.archive(LOCAL)
        return {"session": session.summary()}

    def _restore(self, session: Session) -> Json:
        if session.archived_at:
            session.restore(LOCAL)
        return {"session": session.summary()}

    def _reset(self, session: Session) -> Json:
        if session.archived_at:
            raise Refused(409, "session_archived")
        messages = session.reset(LOCAL)
        return {"session": session.summary(), "previousMessages": messages}

    def _delete(self, session: Session) -> Json:
        session.stop_all(LOCAL, "deleted")
        session.is_deleted = True
        return {"deleted": True}

    # Looking.

    def status(self, key: str) -> Json:
        session = self.find(key)
        set_by_agent = self.set_by_agent[session.agent]
        sources = {name: "agent, set" if name in set_by_agent else "gateway" for name in session.rules}
        sources |= dict.fromkeys(session.own, "session") | dict.fromkeys(session.clamped, "session, clamped")
        messages = [event for event in session.log if event["type"].startswith("message.")]
        return {
            "session": session.summary(),
            "metadata": session.metadata,
            "policy": session.rules,
            "policySources": sources,
            "messages": messages[-20:],
        }

    def history(self, key: str) -> Json:
        session = self.find(key)
        return {"events": session.log, "hasMore": False, "head": session.head}

    def list(self, view: str, *, with_empty: bool) -> Json:
        is_in: dict[str, Callable[[Session], bool]] = {
            "active": lambda session: not session.archived_at,
            "archived": lambda session: bool(session.archived_at),
            "all": lambda session: True,
        }
        found = [session for session in self.living if is_in[view](session)]
        if view == "active" and not with_empty:
            found = [session for session in found if self._is_shown(session)]
        found.sort(key=lambda session: (session.is_pinned, session.active_at, session.number), reverse=True)
        return {"sessions": [session.summary() for session in found], "total": len(found)}

    def _is_shown(self, session: Session) -> bool:
        """Whether it ever had a message, is pinned, or is its user's newest without one."""
        empty = [s for s in self.living if s.user == session.user and s.is_empty and not s.archived_at]
        return not session.is_empty or session.is_pinned or session is max(empty, key=lambda s: s.number)

    def health(self) -> Json:
        states = [session.state for session in self.living]
        return {
            "sessions": {state: states.count(state) for state in ("live", "idle", "paused", "ended")},
            "expiringSoon": sum(session.is_near_end for session in self.living),
            "turnsRunning": sum(session.turn is not None for session in self.living),
        }


def _who(session: Session) -> str:
    return "user" if session.user == LOCAL else "admin"
