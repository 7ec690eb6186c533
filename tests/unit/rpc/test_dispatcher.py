"""One request to its handler and back: what is answered, what is logged, and what nobody outside may see."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog
from msgspec import UNSET, Raw, UnsetType
from structlog.testing import LogCapture

from gateway.rpc import dispatcher as dispatching
from gateway.rpc.dispatcher import Dispatcher
from gateway.rpc.handlers import bind
from rpc_schema.descriptors import Method
from rpc_schema.envelope import Request
from rpc_schema.errors import AgentNotFound, Cancelled, ShuttingDown
from rpc_schema.types import Params

LIMIT = 1000
SECRET = "sk-secret: could not connect to postgres://admin@db"


class Word(Params, kw_only=True):
    """What the test's method takes."""

    word: str = ""


METHOD: Method[Word, Any] = Method(name="test.do", params=Word, result=dict[str, Any], summary="For tests.")


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the dispatcher logs."""
    capture = LogCapture()
    monkeypatch.setattr(dispatching, "log", structlog.wrap_logger(None, processors=[capture]))
    return capture.entries


def dispatcher(function: Callable[[str, Word], Awaitable[Any]]) -> Dispatcher[str]:
    """A dispatcher with one method; its handlers are given a word as context."""
    return Dispatcher({"test.do": bind(METHOD, function)}, response_bytes=LIMIT)


def request(params: Any = UNSET, *, method: str = "test.do", id: Any = 1) -> Request:
    raw: Raw | UnsetType = UNSET if params is UNSET else Raw(json.dumps(params).encode())
    return Request("2.0", method, id, raw)


async def answer(function: Callable[[str, Word], Awaitable[Any]], request: Request) -> Any:
    encoded = await dispatcher(function).call(request, "context")
    return None if encoded is None else json.loads(encoded)


async def give_back(context: str, params: Word) -> Any:
    return {"context": context, "word": params.word}


def raising(error: BaseException) -> Callable[[str, Word], Awaitable[Any]]:
    async def fail(context: str, params: Word) -> Any:
        raise error

    return fail


def giving(result: Any) -> Callable[[str, Word], Awaitable[Any]]:
    async def give(context: str, params: Word) -> Any:
        return result

    return give


@pytest.mark.parametrize("id", [1, "a", None, 0, ""])
async def test_a_result(id: Any) -> None:
    """The handler gets its context and its params, the caller the result under its id."""
    answered = await answer(give_back, request({"word": "hi"}, id=id))
    assert answered == {"jsonrpc": "2.0", "id": id, "result": {"context": "context", "word": "hi"}}


async def test_params_left_out() -> None:
    """They are an empty object."""
    assert (await answer(give_back, request()))["result"]["word"] == ""


async def test_an_error_of_the_contract(logged: list[Any]) -> None:
    """It is answered as it is; nothing is wrong with the gateway, so nothing is logged."""
    answered = await answer(raising(AgentNotFound(agent="nobody")), request())
    assert answered == {
        "jsonrpc": "2.0",
        "id": 1,
        "error": {
            "code": 404,
            "message": "There is no agent nobody; agent.list shows them.",
            "data": {"code": "agent_not_found", "retryable": False, "agent": "nobody"},
        },
    }
    assert logged == []


async def test_an_error_that_may_be_tried_again() -> None:
    """It says so."""
    assert (await answer(raising(ShuttingDown()), request()))["error"]["data"]["retryable"] is True


@pytest.mark.parametrize("error", [ValueError(SECRET), KeyError(SECRET), RecursionError(SECRET)])
async def test_a_bug(error: Exception, logged: list[Any]) -> None:
    """The caller gets an id and no text of the exception; the log has both."""
    encoded = await dispatcher(raising(error)).call(request(), "context")
    assert encoded is not None
    assert b"secret" not in encoded
    assert b"Error" not in encoded
    told = json.loads(encoded)["error"]
    assert (told["code"], told["data"]["code"], told["data"]["retryable"]) == (-32603, "internal_error", False)
    assert told["message"] == f"The gateway failed; its log has the details under {told['data']['errorId']}."
    assert [(entry["event"], entry["error_id"], entry["exc_info"]) for entry in logged] == [
        ("handler_broke", told["data"]["errorId"], error)
    ]


async def test_two_bugs(logged: list[Any]) -> None:
    """Each has an id of its own."""
    for _ in range(2):
        await answer(raising(ValueError(SECRET)), request())
    assert len({entry["error_id"] for entry in logged}) == 2


@pytest.mark.parametrize("result", [{"text": "half \ud83d"}, {"\ude80": 1}, object(), {1j: 2}])
async def test_a_result_that_json_has_not(result: Any, logged: list[Any]) -> None:
    """Half a character, or a value of Python's own: a bug of the handler, told as one."""
    answered = await answer(giving(result), request())
    assert answered["error"]["data"]["code"] == "internal_error"
    assert [entry["error_id"] for entry in logged] == [answered["error"]["data"]["errorId"]]


async def test_an_answer_at_the_limit_and_over_it() -> None:
    """The whole message counts: one byte more is refused, with the limit."""
    empty = len(b'{"jsonrpc":"2.0","id":1,"result":""}')
    fits = await dispatcher(giving("x" * (LIMIT - empty))).call(request(), "context")
    assert fits is not None
    assert len(fits) == LIMIT
    refused = await answer(giving("x" * (LIMIT - empty + 1)), request())
    assert refused["error"]["data"] == {"code": "response_too_big", "retryable": False, "limit": LIMIT}


@pytest.mark.parametrize(
    ("params", "path", "reason"),
    [
        ({"word": 1}, "$.word", "Expected `str`, got `int`"),
        ({"word": "a", "other": 1}, "$.other", "Object contains unknown field `other`"),
        ({"_meta": {"progressToken": 1.5}}, "$._meta.progressToken", "Expected `int | str`, got `float`"),
    ],
)
async def test_wrong_params(params: Any, path: str, reason: str) -> None:
    """The handler is not called; the path says where."""
    answered = await answer(raising(AssertionError("called")), request(params))
    assert answered["error"]["code"] == -32602
    assert answered["error"]["data"] == {"code": "invalid_params", "retryable": False, "path": path, "reason": reason}


@pytest.mark.parametrize(("method", "shown"), [("test.undo", "test.undo"), ("", ""), ("x" * 500, "x" * 128)])
async def test_an_unknown_method(method: str, shown: str) -> None:
    """It is named in the answer, up to a bound."""
    answered = await answer(give_back, request(method=method))
    assert answered["error"]["code"] == -32601
    assert answered["error"]["data"] == {"code": "method_not_found", "retryable": False, "method": shown}


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (give_back, request(id=UNSET)),
        (raising(ShuttingDown()), request(id=UNSET)),
        (giving("x" * LIMIT), request(id=UNSET)),
        (give_back, request({"word": 1}, id=UNSET)),
        (give_back, request(method="test.undo", id=UNSET)),
    ],
)
async def test_a_notification(function: Callable[[str, Word], Awaitable[Any]], said: Request) -> None:
    """It is never answered, whatever becomes of it."""
    assert await answer(function, said) is None


async def test_a_notification_that_hits_a_bug(logged: list[Any]) -> None:
    """Nobody is answered; the log knows."""
    assert await answer(raising(ValueError(SECRET)), request(id=UNSET)) is None
    assert [entry["event"] for entry in logged] == ["handler_broke"]


async def test_a_cancelled_call(logged: list[Any]) -> None:
    """The cancellation goes through: whoever cancelled decides what is answered."""
    begun = asyncio.Event()

    async def wait(context: str, params: Word) -> Any:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(dispatcher(wait).call(request(), "context"))
    async with asyncio.timeout(5):
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert logged == []


def test_a_refusal() -> None:
    """What is not called is answered in the same shape; a notification is not."""
    refused = Dispatcher.refuse("a", Cancelled())
    assert refused is not None
    assert json.loads(refused)["error"]["data"] == {"code": "cancelled", "retryable": False}
    assert Dispatcher.refuse(UNSET, Cancelled()) is None
