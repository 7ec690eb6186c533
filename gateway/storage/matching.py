"""What a SessionQuery means, for what is in no store: the predicate that every engine's lists agree with. Pure."""
# ruff: noqa: D102  # what a Row has is told in SessionRow

import re
from collections.abc import Callable, Mapping
from typing import Protocol

from .base import SessionQuery


class Row(Protocol):
    """What lists look at in a session, whether it is a line of the projection or a whole state."""

    @property
    def id(self) -> int: ...
    @property
    def tenant(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def agent(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def channel(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def project(self) -> str | None: ...
    @property
    def lifecycle(self) -> str: ...
    @property
    def pinned(self) -> bool: ...
    @property
    def is_empty(self) -> bool: ...
    @property
    def last_activity_at(self) -> int: ...
    @property
    def archived_at(self) -> int | None: ...
    @property
    def deleted_at(self) -> int | None: ...


def is_asked_for(query: SessionQuery, row: Row, title: str, labels: Mapping[str, str]) -> bool:
    """Whether a session is in the list, unless it is hidden (see `is_hidden`)."""
    return (
        row.deleted_at is None
        and query.tenant in (None, row.tenant)
        and (query.visible_to in (None, row.user) or row.agent in query.owned_agents)
        and (query.archived is None or query.archived == (row.archived_at is not None))
        and all(getattr(row, column) in allowed for column, allowed in query.columns.items())
        and (query.updated_since is None or row.last_activity_at >= query.updated_since)
        and (not query.labels or query.labels.items() <= labels.items())
        and (query.search is None or _is_found(query.search, query, row, title))
    )


def may_be_newest(row: Row) -> bool:
    """Whether a session takes part in which one is its user's newest empty one."""
    return row.is_empty and row.source == "manual" and row.deleted_at is None and row.archived_at is None


def is_hidden(row: Row, newest: int | None) -> bool:
    """Whether a list without empty sessions leaves it out; `newest` is the id of its user's newest empty one."""
    return row.is_empty and not row.pinned and row.source == "manual" and row.id != newest


def matches(text: str, term: str) -> bool:
    """Whether `term` is a part of `text`, whatever the case; under 3 characters: the start of a word."""
    return finder(term)(text.casefold())


def finder(term: str) -> Callable[[str], bool]:
    """The same of many texts, which are folded already."""
    term = term.casefold()
    if len(term) >= 3:
        return lambda text: term in text
    search = re.compile(rf"(?<![^\W_]){re.escape(term)}").search
    return lambda text: search(text) is not None


def _is_found(term: str, query: SessionQuery, row: Row, title: str) -> bool:
    return row.agent in query.search_agents or any(matches(text, term) for text in (row.key, title, row.channel))
