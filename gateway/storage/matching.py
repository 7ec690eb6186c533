"""What `search` means, for every engine and for names that are in no store."""

import re


def matches(text: str, term: str) -> bool:
    """Whether `term` is a part of `text`, whatever the case; under 3 characters: the start of a word."""
    text, term = text.casefold(), term.casefold()
    if len(term) >= 3:
        return term in text
    return re.search(rf"(?<![^\W_]){re.escape(term)}", text) is not None
