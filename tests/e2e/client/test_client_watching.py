"""A list that the Python client keeps up to date, through cuts and restarts."""

from contextlib import aclosing
from pathlib import Path

import pytest

from gateway.client import GatewayClient, Watching, WatchParams, connect, watch
from rpc_schema.conversation import SEND, SendParams
from rpc_schema.directory import LIST, Filter, ListParams
from rpc_schema.errors import InvalidParams
from rpc_schema.lifecycle import CREATE, DELETE, UPDATE, CreateParams, ManyParams, UpdateParams
from rpc_schema.notifications import ChangedParams
from rpc_schema.subscriptions import WatchResult
from rpc_schema.types import Session
from tests.e2e.client.test_client_following import cuttable
from tests.e2e.processes import RunningGateway, running_gateway


async def fresh(gw: GatewayClient, params: WatchParams) -> dict[str, Session]:
    page = await gw.call(LIST, ListParams(filter=params.filter, include_empty=params.include_empty, limit=200))
    return {session.key: session for session in page.sessions}


async def up_to_date(gw: GatewayClient, watching: Watching) -> None:
    """The table has what a list has, but for the time that goes by."""
    shown = {key: session for (_, key), session in watching.table.sessions.items()}
    asked = await fresh(gw, watching.params)
    for session in (*shown.values(), *asked.values()):
        session.time_remaining_ms = 0
    assert shown == asked


async def test_a_table_is_kept_over_a_cut(gateway: RunningGateway) -> None:
    """Watched anew: the list as it is then takes the place of what was there, and changes go on from it."""
    params = WatchParams(filter=Filter(label={"test": "cut"}), include_empty=True)
    labels = {"test": "cut"}
    async with cuttable(gateway) as (url, wire), connect(gateway.url) as gw:
        watching = watch(params, url=url)
        async with aclosing(aiter(watching)) as updates:
            first = await anext(updates)
            assert isinstance(first, WatchResult)
            assert watching.table.sessions == {}
            for key in ("a", "b"):
                await gw.call(CREATE, CreateParams(agent="echo", key=key, labels=labels))
                entered = await anext(updates)
                assert isinstance(entered, ChangedParams)
                assert (entered.change, entered.key) == ("entered", key)
            await up_to_date(gw, watching)
            wire.cut()
            await gw.call(DELETE, ManyParams(key="a"))
            await gw.call(CREATE, CreateParams(agent="echo", key="c", labels=labels))
            again = await anext(updates)
            while not (isinstance(again, WatchResult) and len(again.sessions) == 2):
                again = await anext(updates)
            await up_to_date(gw, watching)
            await gw.call(UPDATE, UpdateParams(key="c", labels={}))
            left = await anext(updates)
            assert isinstance(left, ChangedParams)
            assert (left.change, left.session) == ("left", None)
            await up_to_date(gw, watching)
        assert wire.count >= 2


async def test_a_table_survives_the_gateways_death(tmp_path: Path) -> None:
    """What happened to it meanwhile is in the next list."""
    with running_gateway(tmp_path) as gateway:
        watching = watch(url=gateway.url)
        async with aclosing(aiter(watching)) as updates:
            await anext(updates)
            async with connect(gateway.url) as gw:
                await gw.call(CREATE, CreateParams(agent="echo", key="k"))
                await anext(updates)
            gateway.kill()
            with running_gateway(tmp_path, port=gateway.port) as again:
                assert isinstance(await anext(updates), WatchResult)
                async with connect(again.url) as gw:
                    await gw.call(SEND, SendParams(key="k", content="hi", wait=True))
                    while watching.table.sessions["default", "k"].message_count < 2:
                        await anext(updates)
                    while watching.table.sessions["default", "k"].turn is not None:
                        await anext(updates)
                    await up_to_date(gw, watching)


async def test_a_list_that_cannot_be_watched(gateway: RunningGateway) -> None:
    """Is an error at once."""
    async with connect(gateway.url) as gw:
        with pytest.raises(InvalidParams):
            await anext(aiter(gw.watch(WatchParams(limit=0))))
