"""The sandbox's entry: bytes of `wire` in, bytes of `wire` out."""

from typing import assert_never

import msgspec

from copilot_common.expressions import cel_programs, templates
from copilot_common.expressions.faults import Fault, too_deep
from copilot_common.expressions.source import Cel, Expression, Template
from copilot_common.expressions.wire import (
    Check,
    Checked,
    Evaluate,
    Failed,
    Reply,
    Values,
    decode_request,
    encode_reply,
    encode_value,
)

Names = dict[str, object]


def run(request: bytes) -> bytes:
    """Raises MemoryError, and nothing else that a request can bring about."""
    match decode_request(request):
        case Evaluate(expressions, names):
            return encode_reply(_evaluate_all(expressions, names))
        case Check(expressions):
            return encode_reply(Checked([_check(expression) for expression in expressions]))


def warm_up() -> None:
    """Has everything loaded that the libraries load late."""
    _evaluate_all([Template("{% for x in ['\\n'] %}{{ x|tojson|pprint }}{% endfor %}"), Cel("[1].map(x, x + 1)")], {})
    for broken in (Template("{{ a.b }}"), Template("{{"), Template("{{ 1 / 0 }}"), Cel("a.b"), Cel("1 +")):
        _evaluate_all([broken], {})
        _check(broken)


def _evaluate_all(expressions: list[Expression], names: Names) -> Reply:
    values: list[msgspec.Raw] = []
    for index, expression in enumerate(expressions):
        try:
            values.append(_evaluate(expression, names))
        except Fault as fault:
            return Failed(index, fault.reason, fault.message)
    return Values(values)


def _evaluate(expression: Expression, names: Names) -> msgspec.Raw:
    value = _value(expression, names)
    try:
        return encode_value(value)
    except RecursionError:
        raise too_deep() from None
    except (UnicodeError, OverflowError):
        raise Fault("EXPRESSION_FAILED", "The result is not valid Unicode text.") from None


def _value(expression: Expression, names: Names) -> object:
    match expression:
        case Template(source):
            return templates.evaluate(source, names)
        case Cel(source):
            return cel_programs.evaluate(source, names)
    assert_never(expression)


def _check(expression: Expression) -> str | None:
    try:
        match expression:
            case Template(source):
                templates.check(source)
            case Cel(source):
                cel_programs.check(source)
    except Fault as fault:
        return fault.message
    return None
