"""Failures of expressions in the child, as sentences of ours. Texts of libraries may hold values of the data."""

import re
from typing import Final

from copilot_common.expressions.errors import ExpressionCode

_MAX_MESSAGE_CHARS: Final = 300
_MAX_NAME_CHARS: Final = 100

# The first that fits; nothing is read from the exception itself.
_SENTENCES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ZeroDivisionError, "It divides by zero."),
    (OverflowError, "A number or a range is too large."),
    (IndexError, "A position is outside its list."),
    (KeyError, "A key is missing."),
    (TypeError, "An operation or a function does not fit the types of its values."),
    (AttributeError, "An attribute is missing."),
    (UnicodeError, "A text is not valid Unicode."),
    (ValueError, "A function got a value that it can't use."),
)


class Fault(Exception):
    """Why an expression has no value."""

    def __init__(self, reason: ExpressionCode, message: str) -> None:
        super().__init__(message)
        self.reason: ExpressionCode = reason
        self.message = message if len(message) <= _MAX_MESSAGE_CHARS else f"{message[:_MAX_MESSAGE_CHARS]}…"


def too_deep() -> Fault:
    return Fault("EXPRESSION_TOO_LARGE", "It, or its value, is nested too deeply.")


def sentence(error: BaseException) -> str:
    return next((text for kind, text in _SENTENCES if isinstance(error, kind)), "It could not be evaluated.")


def missing_key(key: object, source: str) -> str:
    """Names the key where the source spells it out; one that was computed is a value of the data."""
    if isinstance(key, str) and len(key) <= _MAX_NAME_CHARS and _is_spelled(key, source):
        return f"`{key}` is missing."
    return "A key is missing."


def _is_spelled(key: str, source: str) -> bool:
    word = re.escape(key)
    return re.search(rf"\.\s*{word}(?!\w)|([\"']){word}\1", source) is not None
