"""CEL in the child."""

import functools
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from copilot_common.expressions.cel_library import cel
from copilot_common.expressions.faults import Fault, missing_key, sentence, too_deep
from copilot_common.expressions.source import NAMES

_CACHED: Final = 256
_CACHED_CHARS: Final = 4_096
_TYPE_NAMES: Final = frozenset(
    {"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type", "timestamp", "duration"}
)
_BOUND: Final = re.compile(r"\.\s*(?:all|exists|exists_one|existsOne|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_POSITION: Final = re.compile(r"<input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)")
_END: Final = "'<EOF>'"
# Only for the wording. What it captures is an identifier of the source: CEL has no computed ones.
_UNDEFINED: Final = re.compile(r"Undefined variable or function: '([A-Za-z_.][\w.]*)'")


def evaluate(source: str, names: Mapping[str, object]) -> object:
    """A JSON value. Raises Fault, MemoryError."""
    program = _program(source)
    try:
        return _json(program.execute(dict(names)))
    except (Fault, MemoryError):
        raise
    except RecursionError:
        raise too_deep() from None
    except BaseException as error:  # a panic of the library is no Exception
        raise Fault("EXPRESSION_FAILED", _run_sentence(error, source)) from None


def check(source: str) -> None:
    """Raises Fault where it can't be parsed or names what no expression has."""
    bound = set(_BOUND.findall(source))
    unknown = [name for name in _program(source).variables() if name not in NAMES | _TYPE_NAMES | bound]
    if unknown:
        raise Fault("EXPRESSION_INVALID", f"`{unknown[0]}` is unknown; names are {', '.join(sorted(NAMES))}.")


def _program(source: str) -> cel.Program:
    return _cached(source) if len(source) <= _CACHED_CHARS else _compile(source)


def _compile(source: str) -> cel.Program:
    try:
        return cel.compile(source)
    except MemoryError:
        raise
    except BaseException as error:
        raise Fault("EXPRESSION_INVALID", _syntax_sentence(str(error), source)) from None


_cached = functools.lru_cache(_CACHED)(_compile)


def _syntax_sentence(text: str, source: str) -> str:
    """The parser knows the source only, so its words hold no data."""
    found = _POSITION.search(text.removeprefix(f"Failed to parse expression '{source}'"))
    if found is None:
        return "It is not a valid CEL expression."
    line, column, what = found.groups()
    words = "it is nested too deeply" if what.startswith("OtherError") else what.partition(" expecting ")[0].strip()
    return f"Line {line}, column {column}: {words.replace(_END, 'the end')}."


def _run_sentence(error: BaseException, source: str) -> str:
    if isinstance(error, KeyError) and error.args:
        return missing_key(error.args[0], source)
    if isinstance(error, RuntimeError):
        found = _UNDEFINED.match(str(error))
        return f"`{found[1]}` is not defined." if found else "A function can't work with what it was given."
    return sentence(error)


def _json(value: object) -> object:
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case float():
            raise Fault("EXPRESSION_FAILED", "The result is not a finite number.")
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return value.total_seconds()
        case list():
            return [_json(each) for each in value]
        case dict():
            # The library's maps have an order that changes from run to run.
            return dict(sorted((_key(key), _json(each)) for key, each in value.items()))
    raise Fault("EXPRESSION_FAILED", "The result is of a type that JSON does not have.")


def _key(key: object) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, str | int):
        return str(key)
    raise Fault("EXPRESSION_FAILED", "The result has a key that is not text.")
