"""Finding what was said: words to terms, pages to cursors. The words are compared in `storage.words`."""

from msgspec import UNSET, Struct

from gateway.storage import words
from gateway.storage.base import SearchHit, SearchQuery, Store, StoreFault
from rpc_schema.directory import ListParams, SearchParams
from rpc_schema.errors import InvalidParams, StoreUnavailable

from .cursors import Cursors
from .directory import Directory, Visibility, question

MOST_TERMS = 20
_KIND = b"search "


class Matches(Struct, frozen=True):
    """A page of matches; `is_incomplete` while older messages cannot be found yet."""

    hits: list[SearchHit]
    next_cursor: str | None
    is_incomplete: bool


class Search:
    """Looks through all that was said in the sessions that a caller may see."""

    def __init__(self, store: Store, directory: Directory, cursors: Cursors) -> None:
        self._store, self._directory, self._cursors = store, directory, cursors

    async def search(self, params: SearchParams, seen: Visibility) -> Matches:
        """One page, newest first.

        Raises:
            InvalidParams: too many words.
            InvalidCursor: the cursor is not one of this question's.
            StoreUnavailable: it could not be read.
        """
        terms = words.parse(params.query)
        if len(terms) > MOST_TERMS:
            raise InvalidParams(path="$.query", reason=f"at most {MOST_TERMS} words and phrases")
        asked = ListParams(view="all", filter=params.filter, limit=params.limit, include_empty=True)
        what = _KIND + question(asked, seen) + params.query.encode()
        before = self._cursors.open(what, params.cursor)[0] if params.cursor is not UNSET else None
        if not terms:
            return Matches([], None, False)
        sessions = self._directory.query(asked, seen)
        try:
            page = await self._store.search(
                SearchQuery(terms=terms, sessions=sessions, before=before, limit=params.limit)
            )
        except StoreFault as error:
            raise StoreUnavailable from error
        cursor = self._cursors.make(what, [page.before]) if page.before is not None else None
        return Matches(page.hits, cursor, page.is_incomplete)
