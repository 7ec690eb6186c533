"""A title from a first message. Pure."""

import regex

LENGTH = 60


def from_message(content: str) -> str | None:
    """The message on one line, cut at a word near LENGTH characters; None when there is nothing to see.

    A character is a grapheme cluster (UAX #29): what a person sees as one is never cut.
    """
    line = " ".join(_printable(content[: LENGTH * 40]).split())
    graphemes = regex.findall(r"\X", line)
    if len(graphemes) <= LENGTH:
        return line or None
    cut = "".join(graphemes[:LENGTH])
    at_word = cut.rpartition(" ")[0] if graphemes[LENGTH] != " " else cut
    return (at_word if len(at_word) > len(cut) // 2 else cut).rstrip() + "…"


def _printable(text: str) -> str:
    return regex.sub(r"[\p{Cc}\p{Cs}]", " ", text)
