"""One setting: what it takes, and whether a value is that.

The types of `settings` say what is allowed; here they become the words of an
error and of the reference. Who said a value, and which of two wins, is in
`config`.
"""

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta, Struct, UnsetType, inspect, structs

from gateway.settings import AgentPolicySettings, AgentSettings, Settings

_BOOLEANS: Final = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)


class ConfigError(Exception):
    """The settings cannot be used; one problem a line."""


class Refused(ValueError):
    """The value is not what the setting takes; the message is what it must be."""


class Setting(Struct, frozen=True, kw_only=True):
    """One key: its type without None, whether `none` is a value, its default and sentence."""

    type: Any
    is_nullable: bool
    default: Any
    sentence: str

    @property
    def allowed(self) -> str:
        """What it takes, as the rest of "it must be …"."""
        words = _title(self.type) or _words(_plain(self.type))
        return f'{words}, or "none"' if self.is_nullable else words

    def accept(self, value: Any) -> Any:
        """Give the value of a file or a flag in the setting's type.

        Raises:
            Refused: it is of another type, out of range, or not a finite number.
        """
        if self.is_nullable and value == "none":
            return None
        if not _is_finite(value):
            raise Refused(self.allowed)
        try:
            return msgspec.convert(value, self.type)
        except msgspec.ValidationError:
            raise Refused(self.allowed) from None

    def read(self, text: str) -> Any:
        """Give the value that a text of the environment or the command line stands for.

        Raises:
            Refused: as in `accept`, or the text stands for no such value.
        """
        match _plain(self.type):
            case inspect.ListType():
                return self.accept([part.strip() for part in text.split(",") if part.strip()])
            case inspect.BoolType() if text.strip().lower() in _BOOLEANS:
                return _BOOLEANS[text.strip().lower()]
            case inspect.IntType() if _INTEGER.fullmatch(text.strip()):
                return self.accept(int(text))
            case inspect.FloatType() if _NUMBER.fullmatch(text.strip()):
                return self.accept(float(text))
            case _:
                return self.accept(text)


def shown(value: Any) -> str:
    """Put a refused value into an error, shortened."""
    match value:
        case None:
            return "nothing"
        case Mapping():
            return "a table"
        case list():
            return "a list"
        case str():
            text = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()
        case bool():
            text = str(value).lower()
        case _:
            text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Give the known word that a slip was meant to be; `cutoff` is difflib's."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)), None)


def hint(word: str, known: Iterable[str]) -> str:
    """Name the known word that is nearest to a wrong one, or all of them."""
    words = list(known)
    near = nearest(word, words)
    return f"did you mean `{near}`?" if near else f"allowed: {', '.join(words)}"


def _settings_of(section: type[Struct]) -> dict[str, Setting]:
    return {field.name: _setting(field) for field in structs.fields(section)}


def _setting(field: structs.FieldInfo) -> Setting:
    core, metas, is_nullable = _unwrap(field.type)
    default = field.default if field.default_factory is NODEFAULT else field.default_factory()
    sentence = next((meta.description for meta in metas if meta.description), "")
    return Setting(
        type=Annotated[core, *metas] if metas else core, is_nullable=is_nullable, default=default, sentence=sentence
    )


def _unwrap(annotation: Any) -> tuple[Any, list[Meta], bool]:
    """Take Annotated, `| None` and `| UnsetType` off a type, in whatever order they were put on."""
    metas: list[Meta] = []
    is_nullable = False
    while get_origin(annotation) in {Annotated, Union, UnionType}:
        if get_origin(annotation) is Annotated:
            metas += annotation.__metadata__
            annotation = annotation.__origin__
        else:
            is_nullable = is_nullable or NoneType in get_args(annotation)
            annotation = next(arg for arg in get_args(annotation) if arg not in {NoneType, UnsetType})
    return annotation, metas, is_nullable


def _plain(annotation: Any) -> inspect.Type:
    info = inspect.type_info(annotation)
    return info.type if isinstance(info, inspect.Metadata) else info


def _title(annotation: Any) -> str | None:
    """The words that a type brings with it."""
    info = annotation if isinstance(annotation, inspect.Type) else inspect.type_info(annotation)
    found = (info.extra_json_schema or {}).get("title") if isinstance(info, inspect.Metadata) else None
    return str(found) if found is not None else None


def _words(info: inspect.Type) -> str:
    match info:
        case inspect.BoolType():
            words = "true or false"
        case inspect.IntType():
            words = "an integer" + _range(info)
        case inspect.FloatType():
            words = "a number" + _range(info)
        case inspect.LiteralType(values=values):
            words = " or ".join(json.dumps(value) for value in values)
        case inspect.ListType(item_type=item):
            words = f"a list of {_title(item) or 'strings'}"
        case inspect.StrType(min_length=int()):
            words = "a string that is not empty"
        case inspect.StrType():
            words = "a string"
        case _:
            words = "a table without nan or inf"
    return words


def _range(info: inspect.IntType | inspect.FloatType) -> str:
    if info.le is not None:
        return (
            f" from {info.ge} to {info.le}" if info.ge is not None else f" above {info.gt} and at most {info.le:.10g}"
        )
    if info.ge is not None:
        return f" of at least {info.ge}"
    return f" above {info.gt}" if info.gt is not None else ""


def _is_finite(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case Mapping():
            return all(map(_is_finite, value.values()))
        case list():
            return all(map(_is_finite, value))
        case _:
            return True


SECTIONS: Final[dict[str, type[Struct]]] = {
    field.name: field.type for field in structs.fields(Settings) if field.name != "agents"
}
SETTINGS: Final = {name: _settings_of(section) for name, section in SECTIONS.items()}
AGENT: Final = {key: setting for key, setting in _settings_of(AgentSettings).items() if key != "policy"}
AGENT_POLICY: Final = {
    key: structs.replace(setting, sentence=SETTINGS["policy"][key].sentence)
    for key, setting in _settings_of(AgentPolicySettings).items()
}
