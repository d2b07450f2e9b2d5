"""Expressions as their authors know them: values, names, sentences about what is wrong."""

import pytest

from copilot_common.expressions.errors import ExpressionFailed
from copilot_common.expressions.evaluator import Evaluator
from copilot_common.expressions.source import MAX_SOURCE_CHARS, Cel, Expression, Template

NAMES: dict[str, object] = {
    "inputs": {"name": "Ada", "n": 3, "tags": ["a", "b"], "none": None, "secret": "hunter2", "html": "<b>'x'</b>"},
    "steps": {"look": {"output": {"score": 0.5}, "outputs": {"left": [1, 2]}}},
    "item": {"id": 7},
    "index": 2,
}


async def fails(evaluator: Evaluator, expression: Expression, names: dict[str, object] | None = None) -> str:
    with pytest.raises(ExpressionFailed) as caught:
        await evaluator.evaluate([expression], NAMES if names is None else names)
    return f"{caught.value.reason}: {caught.value.message}"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Hello {{ inputs.name }}!\n", "Hello Ada!\n"),
        ("{% for tag in inputs.tags %}{{ loop.index }}{{ tag }}{% endfor %}", "1a2b"),
        ("{{ inputs.tags|join(', ') }} {{ steps.look.outputs.left|sum }} {{ item.id + index }}", "a, b 3 9"),
        ("{{ inputs.missing|default('none') }}{% if other is defined %}x{% endif %}", "none"),
        ("{{ inputs.html }}", "<b>'x'</b>"),
        ("{{ {'html': inputs.html, 'ü': none}|tojson }}", '{"html": "<b>\'x\'</b>", "ü": null}'),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        ("{{ '\\x00' }}", "\x00"),
    ],
)
async def test_a_template_gives_text(evaluator: Evaluator, source: str, text: str) -> None:
    assert await evaluator.evaluate([Template(source)], NAMES) == [text]


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("inputs.n * 2", 6),
        ("inputs.n > 2 && 'a' in inputs.tags", True),
        ("steps.look.output.score", 0.5),
        ("inputs.none", None),
        ("inputs.tags.map(t, t + '!')", ["a!", "b!"]),
        ("{'id': item.id, 2: [index], true: {}}", {"id": 7, "2": [2], "true": {}}),
        ("has(inputs.missing) ? inputs.missing : 'none'", "none"),
        ("timestamp('2026-01-02T03:04:05+02:00')", "2026-01-02T01:04:05Z"),
        ("duration('1m30.5s')", 90.5),
        ("18446744073709551615u", 2**64 - 1),
        ("'\\u0000'", "\x00"),
    ],
)
async def test_cel_gives_a_json_value(evaluator: Evaluator, source: str, value: object) -> None:
    (found,) = await evaluator.evaluate([Cel(source)], NAMES)
    assert (found, type(found)) == (value, type(value))


async def test_the_keys_of_a_cel_value_have_an_order(evaluator: Evaluator) -> None:
    keys = [f"k{number}" for number in range(9)]
    (found,) = await evaluator.evaluate([Cel("inputs")], {"inputs": dict.fromkeys(reversed(keys))})
    assert isinstance(found, dict)
    assert list(found) == keys


async def test_several_are_evaluated_in_their_order(evaluator: Evaluator) -> None:
    assert await evaluator.evaluate([Cel("1"), Template("{{ 2 }}"), Cel("'3'")], {}) == [1, "2", "3"]
    assert await evaluator.evaluate([], {}) == []


@pytest.mark.parametrize(
    ("expression", "failure"),
    [
        (Template("{{ other }}"), "EXPRESSION_FAILED: Line 1: `other` is not defined."),
        (Template("\n{{ inputs.other }}"), "EXPRESSION_FAILED: Line 2: `other` is missing."),
        (Template("{{ inputs['other'].x }}"), "EXPRESSION_FAILED: Line 1: `other` is missing."),
        (Template("{{ other|tojson }}"), "EXPRESSION_FAILED: Line 1: `other` is not defined."),
        (Template("{{ 1 / 0 }}"), "EXPRESSION_FAILED: Line 1: It divides by zero."),
        (
            Template("{{ x"),
            "EXPRESSION_INVALID: Line 1: unexpected end of template, expected 'end of print statement'.",
        ),
        (Template("a\n{{ 1|nope }}"), "EXPRESSION_INVALID: Line 2: No filter named 'nope'."),
        (Template("{% include 'x' %}"), "EXPRESSION_INVALID: Line 1: There are no other templates to use."),
        (Cel("other"), "EXPRESSION_FAILED: `other` is not defined."),
        (Cel("inputs.other"), "EXPRESSION_FAILED: `other` is missing."),
        (Cel("other()"), "EXPRESSION_FAILED: `other` is not defined."),
        (Cel("1 / 0"), "EXPRESSION_FAILED: It divides by zero."),
        (Cel("1 +"), "EXPRESSION_INVALID: Line 1, column 4: mismatched input the end."),
        (Cel(""), "EXPRESSION_INVALID: Line 1, column 1: mismatched input the end."),
        (Cel("b'bytes'"), "EXPRESSION_FAILED: The result is of a type that JSON does not have."),
        (Cel("0.0 / 0.0"), "EXPRESSION_FAILED: The result is not a finite number."),
        (Cel("x" * (MAX_SOURCE_CHARS + 1)), f"EXPRESSION_INVALID: It is longer than {MAX_SOURCE_CHARS} characters."),
        (Cel("'\ud800'"), "EXPRESSION_INVALID: It is not valid Unicode text."),
    ],
)
async def test_a_failure_says_where_and_what(evaluator: Evaluator, expression: Expression, failure: str) -> None:
    assert await fails(evaluator, expression) == failure


@pytest.mark.parametrize(
    "expression",
    [
        Template("{{ inputs[inputs.secret] }}"),
        Template("{{ inputs.secret + 1 }}"),
        Template("{{ inputs.secret|round }}"),
        Template("{{ inputs.secret.nothing() }}"),
        Template("{{ [1]|map(inputs.secret)|list }}"),
        Template("{{ [1]|sum(attribute=inputs.secret) }}"),
        Template("{{ inputs.secret % 1 }}"),
        Template("{{ inputs.secret.encode(inputs.secret) }}"),
        Template("{{ ('{' ~ inputs.secret ~ '}').format(1) }}"),
        Cel("inputs[inputs.secret]"),
        Cel("inputs.secret + 1"),
        Cel("duration(inputs.secret)"),
        Cel("timestamp(inputs.secret)"),
        Cel("int(inputs.secret)"),
        Cel("'x'.matches('(' + inputs.secret)"),
        Cel("inputs.secret.nothing()"),
        Cel("inputs.secret ? 1 : 2"),
        Cel("inputs.secret[0]"),
        Cel("{inputs.secret: 1}[1]"),
        Cel("9223372036854775807 + size(inputs.secret)"),
    ],
)
async def test_a_failure_never_shows_a_value_of_the_data(evaluator: Evaluator, expression: Expression) -> None:
    failure = await fails(evaluator, expression)
    assert failure.startswith("EXPRESSION_FAILED: ")
    assert "hunter" not in failure
    assert "9223372036854775807" not in failure


async def test_the_first_that_fails_is_named_by_its_index(evaluator: Evaluator) -> None:
    with pytest.raises(ExpressionFailed) as caught:
        await evaluator.evaluate([Cel("1"), Template("{{ other }}"), Cel("other")], {})
    assert caught.value.index == 1


async def test_numbers_that_other_formats_do_not_have_are_no_trouble(evaluator: Evaluator) -> None:
    huge = 2**100
    names: dict[str, object] = {"inputs": {"huge": huge, "low": -huge, "nan": float("nan"), "deep": [[huge]]}}
    shown = Template("{{ inputs.huge }} {{ inputs.low }} {{ inputs.deep[0][0] }} {{ inputs.nan }}")
    assert await evaluator.evaluate([shown], names) == [f"{huge} {-huge} {huge} nan"]
    assert await evaluator.evaluate([Cel("inputs.huge")], names) == [float(huge)]
    assert await fails(evaluator, Cel("inputs.nan"), names) == "EXPRESSION_FAILED: The result is not a finite number."


async def test_text_that_is_not_unicode_is_a_failure_on_the_way_in_and_on_the_way_out(evaluator: Evaluator) -> None:
    assert "not valid Unicode" in await fails(evaluator, Cel("inputs"), {"inputs": "\ud800"})
    assert "not valid Unicode" in await fails(evaluator, Template("{{ '%c'|format(55296) }}"))


async def test_a_check_reads_sources_and_names_without_data(evaluator: Evaluator) -> None:
    sentences = await evaluator.check(
        [
            Template(
                "{% set x = 1 %}{% for y in inputs.tags %}{{ x }}{{ y }}{{ loop.index }}{{ range(3) }}{% endfor %}"
            ),
            Cel("inputs.tags.map(t, t + 'x').exists(u, u == 'ax') && type(item) == int"),
            Template("{{ inputs.a }}{{ other.b }}"),
            Cel("inputs.a + other.b"),
            Cel("1 +"),
            Template("{% if %}"),
            Cel("'\ud800'"),
            Template("{{ steps.a.output }}{{ run.id }}{{ index }}"),
        ]
    )
    unknown = "`other` is unknown; names are index, inputs, item, run, steps."
    assert sentences == [
        None,
        None,
        unknown,
        unknown,
        "Line 1, column 4: mismatched input the end.",
        "Line 1: Expected an expression, got 'end of statement block'.",
        "It is not valid Unicode text.",
        None,
    ]


async def test_a_structure_is_evaluated_in_place(evaluator: Evaluator) -> None:
    value = {"body": {"left": "=steps.look.outputs.left", "to": ["{{ inputs.name }}", "plain", "==text"]}, "n": 5}
    assert await evaluator.evaluate_structure(value, NAMES) == {
        "body": {"left": [1, 2], "to": ["Ada", "plain", "=text"]},
        "n": 5,
    }


async def test_a_failure_in_a_structure_says_where_it_stands(evaluator: Evaluator) -> None:
    with pytest.raises(ExpressionFailed) as caught:
        await evaluator.evaluate_structure({"a": "=1", "body": {"to": ["x", "{{ other }}"]}}, {})
    assert (caught.value.path, caught.value.index) == ("body.to[1]", 1)
    assert await evaluator.check_structure({"a": ["=1", "=1 +"], "b": "{{ run.id }}"}) == {
        "a[1]": "Line 1, column 4: mismatched input the end."
    }


async def test_a_structure_without_expressions_is_sent_nowhere() -> None:
    class Nowhere(Evaluator):
        def __init__(self) -> None:
            """Without a sandbox."""

    value = {"a": ["plain", 1, None, "==x"]}
    assert await Nowhere().evaluate_structure(value, {}) == {"a": ["plain", 1, None, "=x"]}
