"""One call through `gateway.rpc` in memory, against decode, call, encode by hand; the same handler."""

import time
from collections.abc import Awaitable, Callable

import msgspec

from gateway.rpc import frames
from gateway.rpc.dispatcher import Dispatcher
from gateway.rpc.handlers import bind, table
from rpc_schema.descriptors import Method
from rpc_schema.envelope import Request, Success
from rpc_schema.types import Params, Wire

from .measuring import best, turn_about
from .report import Row
from .scale import Scale


class RepeatParams(Params, kw_only=True):
    text: str
    times: int = 1


class RepeatResult(Wire, kw_only=True):
    text: str
    times: int


REPEAT = Method(name="bench.repeat", params=RepeatParams, result=RepeatResult, summary="Give back what came.")
TEXT = '{"jsonrpc":"2.0","id":7,"method":"bench.repeat","params":{"text":"hello, world","times":3}}'


async def repeat(context: None, params: RepeatParams) -> RepeatResult:
    return RepeatResult(text=params.text, times=params.times)


async def measure(scale: Scale) -> list[Row]:
    handler = bind(REPEAT, repeat)
    dispatcher = Dispatcher(table([handler], {REPEAT.name: REPEAT}), response_bytes=8 * 1024 * 1024)
    decode_request, encode = msgspec.json.Decoder(Request).decode, msgspec.json.encode
    functions = {REPEAT.name: (repeat, handler.decode)}

    async def by_hand(text: str) -> bytes | None:
        request = decode_request(text)
        function, decode = functions[request.method]
        assert not isinstance(request.params, msgspec.UnsetType) and not isinstance(request.id, msgspec.UnsetType)
        return encode(Success(id=request.id, result=await function(None, decode(request.params))))

    async def by_gateway(text: str) -> bytes | None:
        element = frames.parse(text, nesting_depth=64, batch_items=50).elements[0]
        assert isinstance(element, Request)
        return await dispatcher.call(element, None)

    assert await by_hand(TEXT) == await by_gateway(TEXT)
    floor, gateway = await turn_about(
        scale.rounds, lambda: _cost_us(by_hand, scale.dispatches), lambda: _cost_us(by_gateway, scale.dispatches)
    )
    return [Row("dispatch: one call, in memory", best(floor), best(gateway), "µs CPU")]


async def _cost_us(call: Callable[[str], Awaitable[bytes | None]], count: int) -> float:
    before = time.process_time_ns()
    for _ in range(count):
        await call(TEXT)
    return (time.process_time_ns() - before) / 1000 / count
