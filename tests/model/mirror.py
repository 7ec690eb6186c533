"""A session as somebody sees it who only hears its events."""

from typing import Any

Json = Any
SEEN = ("state", "endReason", "endedAt", "archivedAt", "pinned", "title", "titleSource", "labels", "turn", "queued")
COUNTED = ("messageCount", "toolCalls", "resets", "revision", "head")


class Mirror:
    """What one subscription makes of a session; begins with the summary of its answer.

    It outlives the subscription: `lost` when the socket is, `resumed` by another.
    """

    def __init__(self, epoch: str, summary: Json) -> None:
        self.epoch = epoch
        self.head: int = summary["head"]
        self.state: Json = {}
        self.begin_anew(summary)
        self.events: list[Json] = []
        self.text = ""
        self.checked = 0
        self.closed: Json = None
        self._just_heard: str | None = None
        self._said_before: Json = {}

    def begin_anew(self, summary: Json) -> None:
        """What a client does that comes back over a reset: what else it missed is in no event any more."""
        self.state = {name: summary.get(name) for name in (*SEEN, *COUNTED)}

    def take(self, params: Json) -> None:
        """Take the next event, which must follow the last without a gap."""
        event = params["event"]
        assert self.closed is None, params
        assert (params["epoch"], params["prev"]) == (self.epoch, self.head), (params, self.head)
        is_next = event["seq"] == self.head + 1
        assert is_next or (event["type"] == "reset" and event["seq"] > self.head), (params, self.head)
        self.events.append(event)
        self.head = event["seq"]
        if self.head > self.state["head"]:
            self._fold(event)

    def _fold(self, event: Json) -> None:
        self.state["head"] = event["seq"]
        kind, _, what = event["type"].partition(".")
        match kind:
            case "session":
                self._take_change(what, event)
            case "message":
                self._take_message(what, event)
            case "turn":
                self._take_turn(what, event)
            case "tool":
                self.state["toolCalls"] += what == "call"
            case "reset":
                self._take_reset()
            case _:
                raise AssertionError(event)

    def know(self, turn: Json) -> None:
        """What the answer of subscribe says of the turn that runs; its start may come yet, in the replay."""
        self._said_before = turn
        if turn and turn["id"] == (self.state["turn"] or {}).get("id"):
            self.text = turn["text"]

    def take_delta(self, delta: Json) -> None:
        """The text of the turn that runs, so far."""
        assert delta["turn"] == self.state["turn"]["id"]
        assert delta["offset"] <= len(self.text)
        self.text = self.text[: delta["offset"]] + delta["text"]

    def _take_change(self, what: str, event: Json) -> None:
        state = self.state
        if what == "state":
            assert state["state"] == event["from"]
            state["state"] = event["to"]
            if event["to"] == "ended":
                state["endReason"], state["endedAt"] = event["reason"], event["at"]
        if what == "updated":
            state |= {name: event[name] for name in ("title", "pinned", "labels", "archivedAt") if name in event}
            if "title" in event:
                state["titleSource"] = "user" if event["title"] is not None else None
        state["revision"] += what in ("state", "updated")

    def _take_message(self, what: str, event: Json) -> None:
        self.state["messageCount"] += 1
        if what == "user":
            self._just_heard = event["turn"]
            if self.state["title"] is None:
                self.state["title"], self.state["titleSource"] = event["content"], "first_message"

    def _take_turn(self, what: str, event: Json) -> None:
        """A message starts its turn at once, or the turn waits."""
        state, turn = self.state, event["turn"]
        is_running = state["turn"] is not None and state["turn"]["id"] == turn
        if what == "queued":
            state["queued"] += 1
        elif what == "started":
            assert state["turn"] is None, event
            state["queued"] -= turn != self._just_heard
            state["turn"] = {"id": turn, "state": "running"}
            self.text = self._said_before["text"] if self._said_before.get("id") == turn else ""
        else:
            assert is_running or what == "stopped", event
            state["queued"] -= not is_running
            state["turn"] = None if is_running else state["turn"]
        self._just_heard = None

    def _take_reset(self) -> None:
        state = self.state
        state |= {"messageCount": 0, "turn": None, "queued": 0}
        state["resets"] += 1
        state["revision"] += 1
        if state["titleSource"] != "user":
            state["title"] = state["titleSource"] = None

    def check(self, summary: Json) -> None:
        """What was heard comes to what the gateway shows."""
        assert self.state == {name: summary.get(name) for name in self.state}
