"""What an expression is."""

from typing import Final

import msgspec

# What the top level of every expression is made of; not each is there in every place.
NAMES: Final = frozenset({"inputs", "steps", "item", "index", "run"})
MAX_SOURCE_CHARS: Final = 65_536  # a long prompt with its examples; `references` reads through it, up to 4 µs each


class Template(msgspec.Struct, frozen=True, tag="template"):
    """Jinja2. Its value is text."""

    source: str


class Cel(msgspec.Struct, frozen=True, tag="cel"):
    """Common Expression Language. Its value is a JSON value."""

    source: str


Expression = Template | Cel


def read(text: str) -> Expression | str:
    """What a string of a definition stands for: `=…` is CEL, `==…` the text `=…`, one with template marks a template,
    and any other itself."""
    if text.startswith("=="):
        return text[1:]
    if text.startswith("="):
        return Cel(text[1:])
    return Template(text) if any(mark in text for mark in ("{{", "{%", "{#")) else text
