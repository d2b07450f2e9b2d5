"""From a request's text, JSON or YAML, to the JSON structure it means.

Threat model: whoever may write workflows sends what blows up: aliases of aliases (the billion laughs), brackets without
end, tags that make objects. So aliases and tags are refused, depth and size are bounded while reading, and nothing but
what JSON can hold comes out. A key given twice is a mistake that nobody would see, so it is refused too.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal

import yaml  # type: ignore[import-untyped] # it comes without types; what it gives is checked by class here

from copilot_common.base.errors import CopilotError, InvalidInput, TooLarge
from copilot_common.platform.json_schema import path_text

Syntax = Literal["json", "yaml"]

MAX_DEFINITION_BYTES = 1_000_000

_MAX_LEVELS = 64
_MAX_FAULTS = 100
_INTEGERS = range(-(2**63), 2**64)  # what msgspec and the expressions can hold
_LONGEST_NUMBER = 400  # characters; Python takes quadratic time for longer ones

Path = tuple[str | int, ...]


def parse(raw: bytes, syntax: Syntax) -> object:
    """Raises TooLarge, BAD_REQUEST for what is no JSON or YAML, InvalidInput for values that have a place but cannot be
    kept."""
    if len(raw) > MAX_DEFINITION_BYTES:
        raise TooLarge("definition", max_bytes=MAX_DEFINITION_BYTES)
    if not raw.strip():
        raise InvalidInput({"body": "is required"})
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise _bad_request("The body is not UTF-8.") from None
    value = _parse_json(text) if syntax == "json" else _parse_yaml(text)
    faults = dict(_faults(value))
    if faults:
        raise InvalidInput(faults)
    return value


def _bad_request(message: str) -> CopilotError:
    error = CopilotError(message)
    error.code = "BAD_REQUEST"
    return error


# JSON


def _parse_json(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_integer, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _bad_request(f"The body is not valid JSON (line {error.lineno}, column {error.colno}).") from None
    except (ValueError, RecursionError):
        raise _bad_request("The body is not valid JSON, or nested too deeply.") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _bad_request(f"The body has an object with a key that stands twice: {_twice([key for key, _ in pairs])}.")
    return made


def _twice(keys: list[str]) -> str:
    return Counter(keys).most_common(1)[0][0][:100]


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= _LONGEST_NUMBER else math.inf


def _refuse_constant(name: str) -> None:
    """Python's json knows NaN and Infinity, JSON does not."""
    raise ValueError(name)


# YAML


def _parse_yaml(text: str) -> object:
    """Built from the parser's events, by the rules of YAML 1.2: `no` is a text, `1:30` too, `2026-01-31` too."""
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_loader()):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        where = _where(error.problem_mark) if error.problem_mark else ""
        raise _bad_request(f"The body is not valid YAML{where}.") from None
    except (yaml.YAMLError, ValueError):
        raise _bad_request("The body is not valid YAML.") from None
    return builder.value


def _loader() -> object:
    """The C parser where PyYAML was built with it: ten times as fast."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Builder:
    """`_open` are the lists and objects around the place where the next value goes, `_keys` what waits for a value."""

    def __init__(self) -> None:
        self.value: object = None
        self._documents = 0
        self._open: list[list[object] | dict[str, object]] = []
        self._keys: list[str | None] = []

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.AliasEvent():
                raise _refused("an alias (*name); write it out", event)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise _refused("a second document", event)
            case yaml.ScalarEvent() | yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._begin(event)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._open.pop()
                self._keys.pop()
            case _:
                pass

    def _begin(self, event: yaml.Event) -> None:
        if event.tag is not None:
            raise _refused("a tag (!name)", event)
        if self._wants_key():
            self._take_key(event)
        elif isinstance(event, yaml.ScalarEvent):
            self._add(_scalar(event))
        else:
            self._enter({} if isinstance(event, yaml.MappingStartEvent) else [], event)

    def _enter(self, container: list[object] | dict[str, object], event: yaml.Event) -> None:
        if len(self._open) >= _MAX_LEVELS:
            raise _refused(f"more than {_MAX_LEVELS} levels", event)
        self._add(container)
        self._open.append(container)
        self._keys.append(None)

    def _wants_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1], dict) and self._keys[-1] is None

    def _take_key(self, event: yaml.Event) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            raise _refused("a key that is no text", event)
        key = str(event.value)
        if key in self._open[-1]:
            raise _refused("a key that stands twice", event)
        self._keys[-1] = key

    def _add(self, value: object) -> None:
        if not self._open:
            self.value = value
            return
        container, key = self._open[-1], self._keys[-1]
        if isinstance(container, list):
            container.append(value)
        elif key is not None:
            container[key] = value
            self._keys[-1] = None


def _scalar(event: yaml.ScalarEvent) -> object:
    text = str(event.value)
    if not event.implicit[0]:  # quoted, or a block
        return text
    for pattern, read in _PLAIN:
        if pattern.fullmatch(text):
            return read(text)
    return text


_PLAIN: list[tuple[re.Pattern[str], Callable[[str], object]]] = [
    (re.compile(r"(?:null|Null|NULL|~|)"), lambda _: None),
    (re.compile(r"(?:true|True|TRUE)"), lambda _: True),
    (re.compile(r"(?:false|False|FALSE)"), lambda _: False),
    (re.compile(r"[-+]?[0-9]+"), _integer),
    (re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"), lambda _: math.inf),
]
"""YAML 1.2's core schema. Not a number of JSON's is refused later, by its place."""


def _refused(what: str, event: yaml.Event) -> CopilotError:
    return _bad_request(f"The body has {what}{_where(event.start_mark)}.")


def _where(mark: yaml.Mark) -> str:
    return f" (line {mark.line + 1}, column {mark.column + 1})"


# Values


def _faults(value: object) -> Iterator[tuple[str, str]]:
    found = 0
    todo: list[tuple[Path, object]] = [((), value)]
    while todo and found < _MAX_FAULTS:
        path, part = todo.pop()
        fault = _fault(part) if len(path) <= _MAX_LEVELS else f"must not be nested deeper than {_MAX_LEVELS} levels"
        if fault is not None:
            found += 1
            yield path_text(path) or "body", fault
        elif isinstance(part, dict):
            todo.extend(((*path, str(name)), inner) for name, inner in part.items())
        elif isinstance(part, list):
            todo.extend(((*path, index), inner) for index, inner in enumerate(part))


def _fault(part: object) -> str | None:
    match part:
        case bool():
            return None
        case int() if part not in _INTEGERS:
            return "is a number out of range"
        case float() if not math.isfinite(part):
            return "is a number out of range"
        case str():
            return _fault_of_text(part)
        case dict():
            return next((f"has a key that {fault}" for key in part if (fault := _fault_of_text(key))), None)
        case _:
            return None


def _fault_of_text(text: str) -> str | None:
    if "\0" in text:
        return "must not contain NUL characters"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise _bad_request("The body is not valid JSON: it has half a surrogate pair.")
    return None
