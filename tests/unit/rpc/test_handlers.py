"""The table of handlers is the registry, or the gateway does not start."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import ValidationError

from gateway.methods import handlers
from gateway.rpc.handlers import Handler, bind, table
from rpc_schema.descriptors import Method
from rpc_schema.registry import METHODS
from rpc_schema.types import NoParams


def method(name: str) -> Method[NoParams, dict[str, Any]]:
    return Method(name=name, params=NoParams, result=dict[str, Any], summary="For tests.")


ONE, TWO, THREE = method("test.one"), method("test.two"), method("test.three")
REGISTRY = {"test.one": ONE, "test.two": TWO}


def bound(method: Method[NoParams, dict[str, Any]]) -> Handler[object]:
    async def serve(call: object, params: NoParams) -> dict[str, Any]:
        return {}

    return bind(method, serve)


def test_one_handler_for_each() -> None:
    """By the method's name."""
    one, two = bound(ONE), bound(TWO)
    assert table([two, one], REGISTRY) == {"test.one": one, "test.two": two}


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ([ONE], "handlers and registry differ in test.two"),
        ([ONE, TWO, THREE], "handlers and registry differ in test.three"),
        ([THREE], "handlers and registry differ in test.one, test.three, test.two"),
        ([ONE, method("test.two")], "handlers and registry differ in test.two"),
        ([ONE, TWO, ONE], "test.one has two handlers"),
        ([], "handlers and registry differ in test.one, test.two"),
    ],
)
def test_a_table_that_is_not_the_registry(methods: list[Method[NoParams, dict[str, Any]]], message: str) -> None:
    """Missing, too many, another method of the same name, two for one: it is refused, and says which."""
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        table([bound(method) for method in methods], REGISTRY)


def test_the_gateway_serves_its_registry() -> None:
    """Every method has its handler, by its name."""
    served = handlers()
    assert served.keys() == METHODS.keys()
    assert all(handler.method is METHODS[name] for name, handler in served.items())


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.data())
def test_any_params(data: st.DataObject) -> None:
    """Whatever JSON comes as params either fits or is a ValidationError: nothing else is raised."""
    served = handlers()[data.draw(st.sampled_from(sorted(METHODS)))]
    names = [*served.method.params.__struct_fields__, "key", "keys", "_meta", "filter", "sort", "policy", "create"]
    params = data.draw(st.dictionaries(st.sampled_from(names), JSON, max_size=5))
    try:
        decoded = served.decode(json.dumps(params).encode())
    except ValidationError:
        return
    assert isinstance(decoded, served.method.params)
