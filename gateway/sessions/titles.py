"""A title from a first message. Pure."""

import regex

LENGTH = 60
_SEEN = regex.compile(r"[^\p{Cc}\p{Cf}\p{Cs}\p{Z}]")
_CONTROLS = regex.compile(r"[\p{Cc}\p{Cs}]")
_TURNS = regex.compile("[\u202a-\u202e\u2066-\u2069]")
LONGEST = LENGTH * 40  # code points: what people see as one character may have any number


def from_message(content: str) -> str | None:
    """The message on one line, cut at a word near LENGTH characters; None when there is nothing to see.

    A character is a grapheme cluster (UAX #29): what a person sees as one is never cut.
    """
    line = " ".join(_printable(content).split())
    if not _SEEN.search(line):
        return None
    graphemes = regex.findall(r"\X", line[:LONGEST])
    if len(line) <= LONGEST and len(graphemes) <= LENGTH:
        return line
    if len(graphemes) <= LENGTH:
        graphemes = graphemes[:1] + graphemes[1:-1]  # the last may go on
    cut = "".join(graphemes[:LENGTH])
    at_word = cut if line[len(cut)] == " " else cut.rpartition(" ")[0]
    return (at_word if len(at_word) > len(cut) // 2 else cut).rstrip() + "…"


def _printable(text: str) -> str:
    """Without what no title may have: control characters and what turns the writing direction."""
    return _TURNS.sub("", _CONTROLS.sub(" ", text))
