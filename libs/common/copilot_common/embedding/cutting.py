"""A text, no longer than its model takes."""

from typing import Final

# English has four to five, code and numbers some three. A text that is denser still may be refused by its provider.
_BYTES_PER_TOKEN: Final = 3


def cut(text: str, max_tokens: int | None) -> str:
    """To about `max_tokens`, and to what has UTF-8: a lone surrogate has none, and nobody takes it."""
    limit = None if max_tokens is None else max_tokens * _BYTES_PER_TOKEN
    data = text[:limit].encode("utf-8", "replace")
    return data[:limit].decode("utf-8", "ignore")
