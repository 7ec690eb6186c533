"""Callers with tokens of their own, and a gateway that knows an agent's owner."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from gateway.app import Gateway, running
from gateway.auth.tokens import Grant
from gateway.clock import Clock
from gateway.settings import AgentSettings, Settings
from tests.e2e.inside import settings_of
from tests.raw import RawClient, raw_client

ALL = ("sessions:read", "sessions:write", "admin")


class Person(Struct, frozen=True):
    """Whom a token is made for."""

    user: str
    tenant: str = "acme"
    roles: tuple[str, ...] = ("user",)
    scopes: tuple[str, ...] = ALL


ALICE = Person("alice")
BOB = Person("bob")
OLGA = Person("olga")
ANNA = Person("anna", roles=("admin",))
ROOT = Person("root", tenant="*", roles=("admin",))
ZOE = Person("zoe", tenant="zeta", roles=("admin",))
OTHER_ALICE = Person("alice", tenant="zeta")


def owned_by(settings: Settings, owner: str) -> Settings:
    """With an agent `desk` beside echo that is somebody's."""
    desk = AgentSettings(id="desk", kind="echo", owner=owner, options={"delay_ms": 0})
    return replace(settings, agents=[*settings.agents[:1], desk])


@asynccontextmanager
async def office(folder: Path, *, clock: Clock | None = None, **flags: Any) -> AsyncIterator[Gateway]:
    """A gateway whose agent `desk` is Olga's."""
    async with running(owned_by(settings_of(folder, **flags), "olga"), clock) as gateway:
        yield gateway


async def token_of(gateway: Gateway, person: Person, *, days: float | None = None) -> str:
    """A new token."""
    grant = Grant(user=person.user, tenant=person.tenant, roles=person.roles, scopes=person.scopes, days=days)  # type: ignore[arg-type]
    _, text = await gateway.services.tokens.create(grant)
    return text


def bearer(token: str) -> dict[str, str]:
    """The header that shows it."""
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def connected(gateway: Gateway, token: str | None = None, **options: Any) -> AsyncIterator[RawClient]:
    """A connection, which shows a token beside its upgrade."""
    headers = bearer(token) if token is not None else None
    async with raw_client(f"ws://{gateway.authority}/rpc", additional_headers=headers, **options) as client:
        yield client


@asynccontextmanager
async def person(gateway: Gateway, who: Person) -> AsyncIterator[RawClient]:
    """A connection of somebody, with a new token."""
    async with connected(gateway, await token_of(gateway, who)) as client:
        yield client


def numbers(error: Any) -> tuple[int, str]:
    """The number and the word of an error."""
    return error["code"], error["data"]["code"]


def without(names: Collection[str], *dropped: str) -> tuple[str, ...]:
    """The rest."""
    return tuple(name for name in names if name not in dropped)
