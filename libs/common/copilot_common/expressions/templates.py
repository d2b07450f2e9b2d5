"""Jinja2 in the child."""

import functools
import json
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Final, NoReturn

import jinja2
from jinja2 import meta, nodes
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.runtime import StrictUndefined, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from copilot_common.expressions.faults import Fault, missing_key, sentence, too_deep
from copilot_common.expressions.source import NAMES

_CACHED: Final = 256
_CACHED_CHARS: Final = 4_096
_NO_SUCH: Final = "lipsum"  # a global that makes up text


class _Missing(Exception):
    def __init__(self, name: object, *, is_top_level: bool) -> None:
        super().__init__()
        self.name = name
        self.is_top_level = is_top_level


class _Undefined(StrictUndefined):
    """Fails as StrictUndefined does, with the name as data and not in a text."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: object = missing,
        name: str | None = None,
        exc: type[jinja2.TemplateRuntimeError] = jinja2.UndefinedError,
    ) -> None:
        failure = exc if exc is SecurityError else functools.partial(_failure, name, obj is missing)
        super().__init__(hint, obj, name, failure)  # type: ignore[arg-type]  # it is only ever called with a message


def _failure(name: object, is_top_level: bool, message: str | None = None) -> _Missing:
    return _Missing(name, is_top_level=is_top_level)


class _Environment(ImmutableSandboxedEnvironment):
    def handle_exception(self, source: str | None = None) -> NoReturn:
        """Jinja's own one runs code to make the traceback pretty, and reads files."""
        error = sys.exc_info()[1]
        if error is None:
            raise RuntimeError("There is no exception to handle.")
        raise error


def _to_json(value: object, indent: int | None = None) -> str:
    """Jinja's own one is for HTML: it escapes what prompts and request bodies want as it is."""
    if isinstance(value, Undefined):
        str(value)  # fails, with the name
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)


@functools.cache
def _environment() -> _Environment:
    made = _Environment(autoescape=False, undefined=_Undefined, keep_trailing_newline=True, loader=None, cache_size=0)
    made.globals.pop(_NO_SUCH)
    made.filters["tojson"] = _to_json
    return made


def evaluate(source: str, names: Mapping[str, object]) -> object:
    """Text. Raises Fault, MemoryError."""
    template = _template(source)
    try:
        return template.render(names)
    except MemoryError:
        raise
    except RecursionError:
        raise too_deep() from None
    except Exception as error:
        line = _line(error.__traceback__)
        raise Fault("EXPRESSION_FAILED", f"{line}{_run_sentence(error, source)}") from None


def check(source: str) -> None:
    """Raises Fault where it can't be compiled or names what no template has."""
    _template(source)
    used = meta.find_undeclared_variables(_environment().parse(source))
    unknown = sorted(used - NAMES - _environment().globals.keys())
    if unknown:
        raise Fault("EXPRESSION_INVALID", f"`{unknown[0]}` is unknown; names are {', '.join(sorted(NAMES))}.")


def _template(source: str) -> jinja2.Template:
    return _cached(source) if len(source) <= _CACHED_CHARS else _compile(source)


def _compile(source: str) -> jinja2.Template:
    try:
        return _compile_parsed(_environment().parse(source))
    except (Fault, MemoryError):
        raise
    except RecursionError:
        raise too_deep() from None
    except TemplateSyntaxError as error:
        # The parser knows the source only, so its words hold no data.
        raise Fault("EXPRESSION_INVALID", f"Line {error.lineno}: {(error.message or '').rstrip('.')}.") from None
    except Exception:
        raise Fault("EXPRESSION_INVALID", "It is not a valid template.") from None


def _compile_parsed(parsed: nodes.Template) -> jinja2.Template:
    for other in parsed.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        raise Fault("EXPRESSION_INVALID", f"Line {other.lineno}: There are no other templates to use.")
    environment = _environment()
    return jinja2.Template.from_code(environment, environment.compile(parsed), environment.make_globals(None))


_cached = functools.lru_cache(_CACHED)(_compile)


def _run_sentence(error: Exception, source: str) -> str:
    match error:
        case _Missing(is_top_level=True):
            return f"`{error.name}` is not defined."
        case _Missing():
            return missing_key(error.name, source)
        case SecurityError():
            return "It uses an attribute or a function that templates may not use."
        case jinja2.TemplateRuntimeError():
            return "A tag or a filter can't work with what it was given."
    return sentence(error)


def _line(traceback: TracebackType | None) -> str:
    """Where in the source the innermost frame of the template is."""
    line = None
    while traceback is not None:
        template = traceback.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, jinja2.Template):
            line = template.get_corresponding_lineno(traceback.tb_lineno)
        traceback = traceback.tb_next
    return f"Line {line}: " if line else ""
