"""What the gateway says in the golden scripts is what openrpc.json promises, and the scripts leave nothing out."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from tests.wire.conftest import SCRIPTS, Recordings
from tests.wire.play import PROBE, Frame, Recording
from tests.wire.script import parse

DOCUMENT: Any = json.loads((Path(__file__).parents[2] / "rpc_schema" / "openrpc.json").read_text(encoding="utf-8"))
METHODS = {method["name"]: method for method in DOCUMENT["methods"]}
NOTIFICATIONS = {notification["name"]: notification for notification in DOCUMENT["x-notifications"]}
ERRORS = {error["code"]: error for error in DOCUMENT["x-errors"]}

ANYWHERE = {
    "parse_error", "invalid_request", "method_not_found", "invalid_params", "internal_error",
    "overloaded", "request_too_big", "response_too_big", "batch_too_big", "cancelled", "unauthenticated",
}  # fmt: skip
"""Errors that a method need not name among its own."""

NOT_BY_SCRIPT = {
    "internal_error": "nothing that a client says provokes it; tests/unit/rpc/test_dispatcher.py",
    "agent_unavailable": "a script's only agent is always there",
    "store_unavailable": "a script's store never fails",
}
SILENT = {
    "message.system": "nothing writes one yet",
}


def closed(schema: Any) -> Any:
    """The same schema, but an object has no members beside those that it names."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {name: closed(value) for name, value in schema.items()}
    return inside | {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else inside


COMPONENTS = closed(DOCUMENT["components"])


def problems(schema: Any, value: Any) -> list[str]:
    """What is wrong with a value."""
    validator = Draft7Validator(closed(schema) | {"components": COMPONENTS})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


class Conversation:
    """The messages of a recording, each answer with the method that it answers."""

    def __init__(self, recording: Recording) -> None:
        self.answers: list[tuple[str | None, Any]] = []
        self.notifications: list[Any] = []
        self.wrong: list[str] = []
        self._methods_by_id: defaultdict[str, list[str]] = defaultdict(list)
        for frame in recording.frames:
            match frame.by:
                case "connection":
                    self._methods_by_id.clear()
                case "client":
                    self._asked(frame.text)
                case "gateway":
                    self._heard(json.loads(frame.text))

    def _asked(self, text: str) -> None:
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            return
        for request in said if isinstance(said, list) else [said]:
            if isinstance(request, dict) and isinstance(request.get("method"), str) and "id" in request:
                self._methods_by_id[json.dumps(request["id"])].append(request["method"])

    def _heard(self, message: Any) -> None:
        if isinstance(message, list):
            if not message:
                self.wrong.append("an empty array is no answer")
            for answer in message:
                self._answered(answer)
        elif "method" in message:
            self.notifications.append(message)
        else:
            self._answered(message)

    def _answered(self, answer: Any) -> None:
        """Take it for the answer to the first method asked for with its id whose answer it can be."""
        asked = self._methods_by_id[json.dumps(answer["id"])]
        method = next((method for method in asked if not check_answer(method, answer)), None)
        self.answers.append((method or (asked[-1] if asked else None), answer))

    def check(self) -> list[str]:
        """Everything that is not as the document says."""
        wrong = list(self.wrong)
        for notification in self.notifications:
            wrong += check_notification(notification)
        for method, answer in self.answers:
            wrong += check_answer(method, answer)
        return wrong


def check_notification(message: Any) -> list[str]:
    known = NOTIFICATIONS.get(message["method"])
    if known is None or message.keys() != {"jsonrpc", "method", "params"} or message["jsonrpc"] != "2.0":
        return [f"not a notification: {message}"]
    return problems(known["x-params"], message["params"])


def check_answer(method: str | None, answer: Any) -> list[str]:
    return check_result(method, answer) if "result" in answer else check_error(method, answer)


def check_result(method: str | None, answer: Any) -> list[str]:
    if method not in METHODS or answer.keys() != {"jsonrpc", "id", "result"} or answer["jsonrpc"] != "2.0":
        return [f"not a result of {method}: {answer}"]
    return problems(METHODS[method]["result"]["schema"], answer["result"])


def check_error(method: str | None, answer: Any) -> list[str]:
    if answer.keys() != {"jsonrpc", "id", "error"} or answer["jsonrpc"] != "2.0":
        return [f"not an error: {answer}"]
    return check_error_object(answer["error"], method)


def check_error_object(error: Any, method: str | None) -> list[str]:
    known = ERRORS.get(error.get("data", {}).get("code"))
    if known is None or error.keys() != {"code", "message", "data"} or not error["message"]:
        return [f"not an error: {error}"]
    code = known["code"]
    own = (
        {reference["$ref"].rpartition("/")[2] for reference in METHODS[method]["errors"]}
        if method in METHODS
        else set()
    )
    found = [] if code in own | ANYWHERE else [f"{method} does not name {code} among its errors"]
    found += [] if error["code"] == known["number"] else [f"{code} has the number {error['code']}"]
    return found + problems(known["data"], error["data"])


async def conversations(recordings: Recordings) -> list[Conversation]:
    return [Conversation(await recordings(name)) for name in SCRIPTS]


async def test_every_message_is_as_the_document_says(script_name: str, recordings: Recordings) -> None:
    """Results, errors and notifications; nothing that the document does not name."""
    assert Conversation(await recordings(script_name)).check() == []


def answer_of(method: str, result: Any) -> Recording:
    """A recording of one call."""
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method})
    answer = json.dumps({"jsonrpc": "2.0", "id": 1} | result)
    return Recording([Frame("client", request), Frame("gateway", answer)])


NOT_FOUND = {"code": 404, "message": "No.", "data": {"code": "session_not_found", "retryable": False}}


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("session.unsubscribe", {"result": {}}),
        ("session.unsubscribe", {"result": {"closed": "yes"}}),
        ("session.unsubscribe", {"result": {"closed": True, "more": 1}}),
        ("session.fly", {"result": {"closed": True}}),
        ("session.unsubscribe", {"result": {"closed": True}, "error": None}),
        ("session.stop", {"error": NOT_FOUND | {"code": 405}}),
        ("session.stop", {"error": NOT_FOUND | {"message": ""}}),
        ("session.stop", {"error": NOT_FOUND | {"data": {"code": "session_not_found"}}}),
        ("session.stop", {"error": NOT_FOUND | {"data": {"code": "made_up", "retryable": False}}}),
        ("session.stop", {"error": {"code": 404, "message": "No."}}),
        ("gateway.hello", {"error": NOT_FOUND}),
    ],
)
def test_a_message_that_does_not_conform_is_found(method: str, answer: Any) -> None:
    """The checks can fail: members missing, wrong, too many; errors that are none, or not the method's."""
    assert Conversation(answer_of(method, answer)).check() != []


@pytest.mark.parametrize("answer", [{"result": {"stopped": False}}, {"error": NOT_FOUND}])
def test_a_message_that_conforms_is_not_found(answer: Any) -> None:
    """The counterpart: what is right passes."""
    assert Conversation(answer_of("session.stop", answer)).check() == []


async def test_every_method_is_answered(recordings: Recordings) -> None:
    """Each has a result in some script, not only errors, and not only to the probe for silence."""
    answered = {
        method
        for talk in await conversations(recordings)
        for method, a in talk.answers
        if "result" in a and a["id"] != PROBE
    }
    assert answered == METHODS.keys()


async def test_every_notification_is_heard(recordings: Recordings) -> None:
    """Each is in some script."""
    heard = {message["method"] for talk in await conversations(recordings) for message in talk.notifications}
    assert heard == NOTIFICATIONS.keys()


async def test_every_error_is_provoked(recordings: Recordings) -> None:
    """Each is in some script, but for those that no script can provoke, and they are named."""
    heard = {
        answer["error"]["data"]["code"]
        for talk in await conversations(recordings)
        for _, answer in talk.answers
        if "error" in answer
    }
    assert heard == ERRORS.keys() - NOT_BY_SCRIPT.keys()


def events_of(value: Any) -> Iterator[str]:
    """The types of all events in a message, wherever they are."""
    if isinstance(value, dict):
        if isinstance(value.get("seq"), int) and "type" in value:
            yield value["type"]
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from events_of(item)


async def test_every_event_is_seen(recordings: Recordings) -> None:
    """Each type is in some script, live or in an answer, but for those that nothing writes yet."""
    talks = await conversations(recordings)
    messages = [message for talk in talks for message in [*talk.notifications, *(answer for _, answer in talk.answers)]]
    seen = set(events_of(messages))
    assert seen == {event["type"] for event in DOCUMENT["x-events"]} - SILENT.keys()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_what_it_is_for(name: str) -> None:
    """It begins with a comment, and it does something."""
    text = (Path(__file__).parent / f"{name}.wire").read_text(encoding="utf-8")
    assert "\n# " in f"\n{text}"
    assert parse(text).steps
