"""Whose a session is, who speaks in it, and that nobody learns of one that is not theirs."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.app import Gateway
from tests.e2e.auth.people import ALICE, ANNA, BOB, OLGA, ROOT, ZOE, numbers, office, person
from tests.raw import RawClient

UNKNOWN = (404, "session_not_found")


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with office(tmp_path) as up:
        yield up


@pytest.fixture
async def alice(gateway: Gateway) -> AsyncIterator[RawClient]:
    """With a session `k`, held with Olga's agent."""
    async with person(gateway, ALICE) as client:
        await client.call("session.create", agent="desk", key="k", title="Secret")
        yield client


@pytest.fixture
async def bob(gateway: Gateway) -> AsyncIterator[RawClient]:
    async with person(gateway, BOB) as client:
        yield client


async def test_a_taken_key(alice: RawClient, bob: RawClient) -> None:
    """That it is taken cannot be kept from whoever wants it; whose it is can."""
    error = await bob.fail("session.create", agent="echo", key="k")
    assert error["data"] == {"code": "session_exists", "retryable": False}
    error = await bob.fail("session.send", key="k", content="hi", create={"agent": "echo"})
    assert numbers(error) == UNKNOWN
    assert "Secret" not in str(bob.heard)


async def test_a_deleted_session(alice: RawClient, bob: RawClient) -> None:
    """410 for who could see it; for all others there was none. The key is free."""
    await alice.call("session.delete", key="k")
    assert (await alice.fail("session.status", key="k"))["code"] == 410
    assert numbers(await bob.fail("session.status", key="k")) == UNKNOWN
    assert (await bob.call("session.create", agent="echo", key="k"))["session"]["user"] == "bob"
    assert numbers(await alice.fail("session.status", key="k")) == UNKNOWN


async def test_many_keys(alice: RawClient, bob: RawClient) -> None:
    """A foreign one among them is as an unknown one, and hinders nobody."""
    await bob.call("session.create", agent="echo", key="own")
    bulk = await bob.call("session.delete", keys=["k", "own", "none"])
    assert [item.get("error", {}).get("code", 0) for item in bulk["results"]] == [404, 0, 404]
    assert bulk["results"][0]["error"] == bulk["results"][2]["error"]
    assert (await alice.call("session.status", key="k"))["session"]["title"] == "Secret"


async def test_the_same_answer(alice: RawClient, bob: RawClient) -> None:
    """Word for word, also where the key was named by an idempotent call."""
    for params in ({}, {"idempotencyKey": "once"}):
        foreign = await bob.fail("session.delete", key="k", **params)
        assert foreign == await bob.fail("session.delete", key="none", **params)


async def test_two_tenants_one_key(gateway: Gateway, alice: RawClient) -> None:
    """Each has its own; who reaches both says which."""
    async with person(gateway, ZOE) as zoe, person(gateway, ROOT) as root:
        await zoe.call("session.create", agent="echo", key="k", title="Zeta")
        assert (await alice.call("session.status", key="k"))["session"]["title"] == "Secret"
        for tenant, title in (("acme", "Secret"), ("zeta", "Zeta")):
            status = await root.call("session.status", key="k", tenant=tenant)
            assert (status["session"]["title"], status["session"]["tenant"]) == (title, tenant)
        assert numbers(await root.fail("session.status", key="k")) == UNKNOWN
        found = (await root.call("session.list", includeEmpty=True))["sessions"]
        assert sorted(session["tenant"] for session in found) == ["acme", "zeta"]
        followed = await root.call("session.subscribe", key="k", tenant="zeta")
        await alice.call("session.update", key="k", title="Other")
        await zoe.call("session.update", key="k", title="Mine")
        assert (await root.event("session.updated"))["title"] == "Mine"
        root.check_chain(followed["subscription"], 1)


@pytest.mark.parametrize("who", [ALICE, OLGA])
async def test_only_admins_act_for_others(gateway: Gateway, alice: RawClient, who: type) -> None:
    """Neither the session's user nor the agent's owner may."""
    async with person(gateway, who) as client:  # type: ignore[arg-type]
        for method, params in (
            ("session.send", {"key": "k", "content": "hi", "onBehalfOf": "bob"}),
            ("session.create", {"agent": "desk", "user": "bob"}),
        ):
            assert numbers(await client.fail(method, **params)) == (403, "forbidden")


async def test_the_author_is_the_caller(gateway: Gateway, alice: RawClient) -> None:
    """Owner and admin speak as themselves; who acts for another is kept beside."""
    async with person(gateway, OLGA) as olga, person(gateway, ANNA) as anna:
        await olga.call("session.send", key="k", content="1", wait=True)
        await anna.call("session.send", key="k", content="2", wait=True)
        await anna.call("session.send", key="k", content="3", wait=True, onBehalfOf="alice")
        made = await anna.call("session.create", agent="echo", key="for-bob", user="bob")
        assert made["session"]["user"] == "bob"
    events = (await alice.call("session.history", key="k", types=["message.user"]))["events"]
    assert [(event["author"], event.get("via")) for event in events] == [
        ("olga", None),
        ("anna", None),
        ("alice", "anna"),
    ]


async def test_an_idempotency_key_is_its_callers(alice: RawClient, bob: RawClient) -> None:
    """Two people may use the same word."""
    one = await alice.call("session.create", agent="echo", idempotencyKey="word")
    other = await bob.call("session.create", agent="echo", idempotencyKey="word")
    assert one["session"]["key"] != other["session"]["key"]
