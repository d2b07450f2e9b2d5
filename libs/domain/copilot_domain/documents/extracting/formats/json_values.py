"""JSON and JSON lines: each value on a line of its own, after its path, so that any stretch says what it is about.

`{"users": [{"name": "Ann", "tags": ["a", "b"]}]}` becomes `users[0].name: Ann` and `users[0].tags: a, b`.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from copilot_domain.documents.extracting.draft import Draft
from copilot_domain.documents.extracting.formats.plain import decoded
from copilot_domain.documents.extracting.markdown import one_line
from copilot_domain.documents.types import DocumentError, Source

# A value in memory takes up to ten times its JSON. Lines are read one by one.
_MAX_CHARACTERS: Final = 20_000_000
_NAME: Final = re.compile(r"[^\s.\[\]:\"]+")
_SHORT_LIST: Final = 20  # plain values that stand on one line

_FAILURES: Final = (msgspec.DecodeError, UnicodeError, RecursionError, ValueError)


def read(data: bytes, source: Source, draft: Draft) -> None:
    """One document, else lines, else (comments, NaN, depths of a thousand) its text as it stands."""
    text = decoded(data, source).lstrip("\ufeff \t\r\n")
    value = _one(text)
    try:
        with draft.attempt():
            draft.begin("text")
            for line in _records(text) if value is msgspec.UNSET else _document(value):
                draft.write(line)
    except _FAILURES:
        draft.begin("code", language="json")
        draft.write(text)


def _one(text: str) -> object:
    if len(text) > _MAX_CHARACTERS:
        first = text[: text.find("\n")]
        if _decoded(first) is msgspec.UNSET:
            raise DocumentError(
                "TOO_LARGE", "It is a single value of more than 20 MB. Split it, or write it as JSON lines."
            )
        return msgspec.UNSET
    return _decoded(text)


def _decoded(text: str) -> object:
    """UNSET if it is not JSON."""
    try:
        return msgspec.json.decode(text)
    except _FAILURES:
        return msgspec.UNSET


def _records(text: str) -> Iterator[str]:
    number = 0
    for match in re.finditer(r"[^\n]+", text):
        if match[0].strip():
            yield from _block(msgspec.json.decode(match[0]), f"[{number}]")
            number += 1


def _document(value: object) -> Iterator[str]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _block(item, f"[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _block(item, _key(name))
    else:
        yield from _block(value, "")


def _block(value: object, path: str) -> Iterator[str]:
    """Lines of a value, then an empty one if there were several."""
    count = 0
    for line in _lines(value, path):
        count += 1
        yield line + "\n"
    if count > 1:
        yield "\n"


def _lines(value: object, path: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _lines(item, f"{path}.{_key(name)}" if path else _key(name))
    elif isinstance(value, list) and value and not _is_short(value):
        for index, item in enumerate(value):
            yield from _lines(item, f"{path}[{index}]")
    else:
        shown = ", ".join(map(_plain, value)) if isinstance(value, list) and value else _plain(value)
        yield f"{path}: {shown}" if path else shown


def _is_short(items: list[object]) -> bool:
    return len(items) <= _SHORT_LIST and not any(isinstance(item, dict | list) for item in items)


def _plain(value: object) -> str:
    return one_line(value) if isinstance(value, str) else msgspec.json.encode(value).decode()


def _key(name: str) -> str:
    return name if _NAME.fullmatch(name) else msgspec.json.encode(name).decode()
