"""Verbs that take one session or many: what fails for one key is its own result."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec import UNSET

from gateway.services import Call
from rpc_schema import errors
from rpc_schema.lifecycle import ManyParams
from rpc_schema.types import BulkItem, BulkResult, Wire

P = TypeVar("P", bound=ManyParams)
R = TypeVar("R", bound=Wire)


def one_or_many(one: Callable[[Call, str, P], Awaitable[R]]) -> Callable[[Call, P], Awaitable[R | BulkResult]]:
    """Do it to the session of `key`, or to each of `keys` in their order, duplicates once."""

    async def serve(call: Call, params: P) -> R | BulkResult:
        if (params.key is UNSET) == (params.keys is UNSET):
            raise errors.InvalidParams(path="$.key", reason="give either `key` or `keys`")
        if params.key is not UNSET:
            return await one(call, params.key, params)
        assert params.keys is not UNSET
        results = [await _item(call, key, params, one) for key in dict.fromkeys(params.keys)]
        succeeded = sum(item.ok for item in results)
        return BulkResult(results=results, succeeded=succeeded, failed=len(results) - succeeded)

    return serve


async def _item(call: Call, key: str, params: P, one: Callable[[Call, str, P], Awaitable[R]]) -> BulkItem:
    try:
        return BulkItem(key=key, ok=True, result=await one(call, key, params))
    except errors.RpcError as error:
        return BulkItem(key=key, ok=False, error=error.to_wire())
