"""Expressions that want more than their value."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from copilot_common.expressions.errors import ExpressionCode, ExpressionFailed
from copilot_common.expressions.evaluator import ENTRY, LIMITS, Evaluator
from copilot_common.expressions.source import Cel, Expression, Template
from copilot_common.platform.sandbox.pool import Sandbox
from support.children import children

FAILED: ExpressionCode = "EXPRESSION_FAILED"
INVALID: ExpressionCode = "EXPRESSION_INVALID"
LARGE: ExpressionCode = "EXPRESSION_TOO_LARGE"
TIMEOUT: ExpressionCode = "EXPRESSION_TIMEOUT"

LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
NESTED = "[1,2,3,4,5,6,7,8,9]"
for variable in "abcdefghij":
    NESTED = f"[1,2,3,4,5,6,7,8,9].map({variable}, {NESTED})"
BOMB = "{% set b = namespace(x='xxxxxxxx') %}{% for i in range(60) %}{% set b.x = b.x ~ b.x %}{% endfor %}{{ b.x }}"
DEEP = 30_000  # twice that is under what a source may have
# How deep a parser can go before it says so, or takes its child with it, is the libraries' affair.
DEEP_ENDS = {INVALID, LARGE}

HOSTILE: list[tuple[Expression, set[ExpressionCode]]] = [
    (Template(LOOPS), {TIMEOUT}),
    (Template("{{ 9 ** (9 ** 9) }}"), {TIMEOUT}),
    (Template("{% for i in range(10**9) %}x{% endfor %}"), {FAILED}),
    (Template("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), {LARGE}),
    (Template(BOMB), {LARGE}),
    (Template("{{ 'x'|center(10**9) }}"), {LARGE}),
    (Template("{{ 'x' * 10**9 }}"), {LARGE}),
    (Template("{{ 'x' * 10**18 }}"), {LARGE, FAILED}),
    (Template("{{ '%1000000000d'|format(1) }}"), {LARGE}),
    (Template("{{ '{:1000000000}'.format(1) }}"), {LARGE}),
    (Template("{{ [0] * 10**9 }}"), {LARGE}),
    (Template("{{ 'x' * 9000000 }}"), {LARGE}),
    (Template("{{ " + "(" * DEEP + "1" + ")" * DEEP + " }}"), DEEP_ENDS),
    (Template("{{ " + "[" * DEEP + "]" * DEEP + " }}"), DEEP_ENDS),
    (Template("{{ " + "-" * DEEP + "1 }}"), DEEP_ENDS),
    (Template("{% if 1 %}" * 4_000 + "{% endif %}" * 2_000), DEEP_ENDS),
    (Template("{{ index" + "+index" * 10_000 + " }}"), DEEP_ENDS),
    (Template("x" * 5_000_000), {INVALID}),
    (Template("{{ '" + "\\'" * DEEP), {INVALID}),
    (Cel("(" * DEEP + "1" + ")" * DEEP), DEEP_ENDS),
    (Cel("[" * DEEP + "]" * DEEP), DEEP_ENDS),
    (Cel("1" + "+1" * DEEP), DEEP_ENDS),
    (Cel("(" * 100_000), {INVALID}),
    (Cel(NESTED), {TIMEOUT, LARGE}),
    (Cel("[0, 1, 2, 3, 4, 5, 6, 7].map(x, [0, 1, 2, 3, 4, 5, 6, 7].map(y, inputs.large + inputs.large))"), {LARGE}),
    (Cel("'x'.matches('((((x{999}){999}){999}){999})')"), {FAILED}),
    (Cel("inputs.large.matches('(a*)*b')"), set()),
    (Cel("inputs.large.matches('(x+x+)+y')"), set()),
    (Cel("\x00"), {INVALID}),
    (Template("{{ '\\ud800' }}"), {FAILED, INVALID}),
]
NAMES: dict[str, object] = {"inputs": {"large": "x" * 100_000}, "index": 1}


@pytest.fixture
async def impatient() -> AsyncIterator[Evaluator]:
    sandbox = Sandbox(ENTRY, size=1, limits=replace(LIMITS, wall_seconds=1.0))
    await sandbox.start()
    yield Evaluator(sandbox)
    await sandbox.stop()
    assert children() == []


@pytest.mark.parametrize(("expression", "reasons"), HOSTILE, ids=[str(number) for number in range(len(HOSTILE))])
async def test_a_hostile_expression_fails_alone(
    impatient: Evaluator, expression: Expression, reasons: set[ExpressionCode]
) -> None:
    """`reasons` is empty where the language's own means keep it harmless."""
    if reasons:
        with pytest.raises(ExpressionFailed) as caught:
            await impatient.evaluate([expression], NAMES)
        assert caught.value.reason in reasons
        assert (caught.value.index, len(caught.value.message) < 400) == (0, True)
    else:
        assert await impatient.evaluate([expression], NAMES) == [False]
    assert await impatient.evaluate([Cel("1 + 1")], {}) == [2]


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}",
        "{{ ''|attr('__class__') }}",
        "{{ ['x']|map(attribute='__class__')|first }}",
        "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
        "{{ '{0.__class__}'.format('') }}",
        "{{ '{0.__class__}'|format('') }}{{ '%s' % ''.__class__ }}",
        "{{ {'f': '{0.__class__}'.format}['f']('') }}",
        "{{ '{x.__class__}'.format_map({'x': 1}) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ joiner|attr('__init__') }}",
        "{{ range.__self__ }}",
        "{{ self.__init__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ loop.__class__ }}{% for x in [1] %}{{ loop.__init__.__globals__ }}{% endfor %}",
        "{% macro m() %}{% endmacro %}{{ m.__init__.__globals__ }}",
        "{% for f in [inputs.list.append] %}{{ f(1) }}{% endfor %}",
        "{{ inputs.update({'x': 1}) }}",
        "{{ inputs.list.pop() }}",
        "{{ inputs.list.__len__() }}",
        "{% include '/etc/passwd' %}",
        "{% extends '/etc/passwd' %}",
        "{% from '/etc/passwd' import x %}",
        "{{ open('/etc/passwd').read() }}",
        "{{ config }}{{ request }}",
        "{{ environment }}",
        "{{ context.environment }}",
        "{{ lipsum.__globals__ }}",
        "{{ get_flashed_messages.__globals__ }}",
    ],
)
async def test_a_template_does_not_leave_its_sandbox(evaluator: Evaluator, source: str) -> None:
    with pytest.raises(ExpressionFailed) as caught:
        await evaluator.evaluate([Template(source)], {"inputs": {"list": [1]}})
    assert caught.value.reason in {FAILED, INVALID}
    assert "root" not in caught.value.message


async def test_good_expressions_among_hostile_ones_have_their_values(impatient: Evaluator) -> None:
    """On a single child, so that each good one runs on what a hostile one left behind."""
    hostile: list[Expression] = [Template(LOOPS), Template(BOMB), Cel("1" + "+1" * DEEP), Template("{{ 'x' * 10**9 }}")]
    calls: list[Expression] = []
    for number in range(20):
        calls += [hostile[number // 5]] if number % 5 == 0 else []
        calls.append(Cel(str(number)))
    tasks = [impatient.evaluate([each], {}) for each in calls]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [each for each in results if isinstance(each, list)] == [[number] for number in range(20)]
    assert [each.reason for each in results if isinstance(each, ExpressionFailed)] == [TIMEOUT, LARGE, LARGE, LARGE]


async def test_a_killed_call_of_several_does_not_say_which_it_was(evaluator: Evaluator) -> None:
    with pytest.raises(ExpressionFailed) as caught:
        await evaluator.evaluate([Cel("1"), Template("{{ 'x' * 10**9 }}")], {})
    assert (caught.value.reason, caught.value.index) == (LARGE, None)


async def test_what_one_expression_sets_the_next_does_not_see(evaluator: Evaluator) -> None:
    names: dict[str, object] = {"inputs": {"list": [1], "own": "mine"}}
    setting = Template("{% set leak = inputs.own %}{% macro leaking() %}{{ inputs.own }}{% endmacro %}{{ leak }}")
    assert await evaluator.evaluate([setting, setting], names) == ["mine", "mine"]
    for source in ("{{ leak }}", "{{ leaking() }}", "{{ inputs }}"):
        with pytest.raises(ExpressionFailed):
            await evaluator.evaluate([Template(source)], {})


async def test_data_of_many_megabytes_is_fine_or_told_to_be_too_large(evaluator: Evaluator) -> None:
    large: dict[str, object] = {"inputs": {"text": "x" * 5_000_000}}
    assert await evaluator.evaluate([Cel("size(inputs.text)"), Template("{{ inputs.text|length }}")], large) == [
        *(5_000_000, "5000000"),
    ]
    with pytest.raises(ExpressionFailed, match="larger than 32 MB"):
        await evaluator.evaluate([Cel("1")], {"inputs": "x" * 40_000_000})


async def test_data_that_is_nested_without_end_is_too_large(evaluator: Evaluator) -> None:
    deep: object = 1
    for _ in range(50_000):
        deep = [deep]
    with pytest.raises(ExpressionFailed) as caught:
        await evaluator.evaluate([Cel("inputs")], {"inputs": deep})
    assert caught.value.reason == LARGE
    with pytest.raises(ExpressionFailed) as caught:
        await evaluator.evaluate_structure(deep, {})
    assert caught.value.reason == LARGE
