"""Golden wire scripts: what a client says and what it must hear, line by line. Pure.

    # a comment; empty lines mean nothing
    === limits.batch_items = 2     a setting of the gateway, before everything else
    === agent polly                another echo beside the one that is always there, likewise
    --> text                       the client sends this text frame, exactly
    -->b64 AAEC                    … a binary frame with these bytes
    -->utf8 FF                     … a text frame with these bytes, in hexadecimal
    <-- pattern                    the next frame is this JSON (see `pattern`)
    <~~ pattern                    … this one and those of the `<~~` lines next to it, in any order
    <-- silence                    nothing is on its way: a health request is answered next
    <== close 1009                 the gateway closes the connection with this code
    === reconnect                  the client drops the connection and opens another
    === 31 minutes later           the gateway's clock is turned
    === drain / === stop           the gateway takes no more work / is gone

In frames and patterns `⟨U+FEFF⟩` is that character and `⟨50 * text⟩` the text 50 times, in which `№` is 1, 2, 3 and
so on. In frames `⟨turn⟩` is the string that a pattern gave this name.
"""

import base64
import binascii
import re
import tomllib
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from tests.wire.pattern import Names, Pattern, read

_CHARACTER = re.compile(r"⟨U\+([0-9A-F]{4,6})⟩")
_REPETITION = re.compile(r"⟨(\d+) \* ([^⟩]+)⟩")
_NAME = re.compile(r"⟨(\w+)⟩")
_CLOSE = re.compile(r"close (\d{4})")
_LATER = re.compile(r"(\d+) minutes? later")
_AGENT = re.compile(r"=== agent ([a-z]+)")
_ACTIONS = frozenset({"reconnect", "drain", "stop"})


class ScriptError(Exception):
    """The script is not one; the message says in which line."""


class Say(Struct, frozen=True):
    """Send a text frame."""

    text: str

    def frame(self, names: Names) -> str:
        """The frame, with what has got a name since the script began."""
        return _NAME.sub(lambda found: names[found[1]], self.text)


class SayBytes(Struct, frozen=True):
    """Send bytes, as a binary frame or as a text frame that may be no text."""

    payload: bytes
    is_text: bool


class Hear(Struct, frozen=True):
    """Hear these frames, in any order."""

    patterns: tuple[Pattern, ...]


class Silence(Struct, frozen=True):
    """Hear nothing."""


class Closed(Struct, frozen=True):
    """See the connection closed by the gateway."""

    code: int


class Later(Struct, frozen=True):
    """Turn the gateway's clock."""

    minutes: int


class Do(Struct, frozen=True):
    """Reconnect, drain or stop."""

    action: str


Step = Say | SayBytes | Hear | Silence | Closed | Later | Do


class Script(Struct, frozen=True):
    """Settings by their dotted keys, the steps, each with its line number, and agents beside `echo`."""

    settings: dict[str, Any]
    steps: tuple[tuple[int, Step], ...]
    agents: tuple[str, ...] = ()


def parse(text: str) -> Script:
    """Read a script.

    Raises:
        ScriptError: a line makes no sense.
    """
    settings: dict[str, Any] = {}
    steps: list[tuple[int, Step]] = []
    agents: list[str] = []
    is_unordered = False
    for number, line in _lines(text):
        try:
            if not steps and line.startswith("=== ") and "=" in line[4:]:
                settings |= _setting(line[4:])
                continue
            if not steps and (agent := _AGENT.fullmatch(line)):
                agents.append(agent[1])
                continue
            step = _step(line)
        except (ValueError, KeyError, binascii.Error) as error:
            raise ScriptError(f"line {number}: {error}: {line}") from error
        was_unordered, is_unordered = is_unordered, line.startswith("<~~")
        if was_unordered and is_unordered:
            steps.append(_joined(steps.pop(), step))
        else:
            steps.append((number, step))
    return Script(settings, tuple(steps), tuple(agents))


def expand(text: str) -> str:
    """Write out characters and repetitions."""
    repeated = _REPETITION.sub(lambda found: "".join(_repeat(int(found[1]), found[2])), text)
    return _CHARACTER.sub(lambda found: chr(int(found[1], 16)), repeated)


def _repeat(count: int, text: str) -> Iterator[str]:
    return (text.replace("№", str(number)) for number in range(1, count + 1))


def _joined(before: tuple[int, Step], more: Step) -> tuple[int, Step]:
    number, step = before
    assert isinstance(step, Hear)
    assert isinstance(more, Hear)
    return number, Hear(step.patterns + more.patterns)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line and not line.startswith("#"):
            yield number, line


def _setting(words: str) -> dict[str, Any]:
    ((section, table),) = tomllib.loads(words).items()
    ((name, value),) = table.items()
    return {f"{section}.{name}": value}


def _step(line: str) -> Step:
    arrow, _, words = line.partition(" ")
    rest = expand(words)
    match arrow:
        case "-->":
            return Say(rest)
        case "-->b64":
            return SayBytes(base64.b64decode(rest, validate=True), is_text=False)
        case "-->utf8":
            return SayBytes(bytes.fromhex(rest), is_text=True)
        case "<--" if rest == "silence":
            return Silence()
        case "<--" | "<~~":
            return Hear((read(rest),))
        case "<==" if found := _CLOSE.fullmatch(rest):
            return Closed(int(found[1]))
        case "===" if found := _LATER.fullmatch(rest):
            return Later(int(found[1]))
        case "===" if rest in _ACTIONS:
            return Do(rest)
        case _:
            raise ValueError("it makes no sense")
