"""Where a page ended, as a word for the client: for one question alone, and nobody else can make one."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from gateway.storage.base import Store
from rpc_schema.errors import InvalidCursor

_KIND: Final = "secret"
_NAME: Final = "cursors"


class _Cursor(Struct, array_like=True):
    """The seal is keyed with a secret of the store, so that cursors outlive a restart."""

    seal: str
    last: list[Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float | str]


class Cursors:
    """Makes and opens them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._secret = b""  # until it is loaded

    async def load(self) -> None:
        """Take the store's secret, or give it one; before anything else.

        Raises:
            StoreFault: it can be neither read nor written.
        """
        secret = (await self._store.notes(_KIND)).get(_NAME)
        if secret is None:
            secret = secrets.token_bytes(32)
            await self._store.note(_KIND, _NAME, secret)
        self._secret = secret

    def make(self, question: bytes, last: Sequence[Any]) -> str:
        """Pack where a page of this question ended."""
        sealed = _Cursor(self._seal(question, last), list(last))
        return base64.urlsafe_b64encode(msgspec.json.encode(sealed)).decode().rstrip("=")

    def open(self, question: bytes, cursor: str) -> list[Any]:
        """Where the page before ended.

        Raises:
            InvalidCursor: it was not made for this question, or not here.
        """
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            opened = msgspec.json.decode(raw, type=_Cursor)
            seal = self._seal(question, opened.last)
        except (binascii.Error, ValueError) as error:
            raise InvalidCursor(reason="it is not a cursor of this gateway") from error
        if not hmac.compare_digest(seal.encode(), opened.seal.encode()):
            raise InvalidCursor(reason="it was made for another question or caller, or changed")
        return opened.last

    def _seal(self, question: bytes, last: Sequence[Any]) -> str:
        return hashlib.blake2b(question + msgspec.json.encode(last), digest_size=16, key=self._secret).hexdigest()
