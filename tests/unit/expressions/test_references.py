"""What an expression may use, told without evaluating it; compared with what it does use, by evaluating it."""

from collections.abc import Mapping

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from copilot_common.expressions import cel_programs, templates
from copilot_common.expressions.faults import Fault
from copilot_common.expressions.references import (
    ALL,
    PARTS,
    Part,
    References,
    Steps,
    references,
    references_of_structure,
)
from copilot_common.expressions.source import MAX_SOURCE_CHARS, NAMES, Cel, Expression, Template


def steps(**parts: str) -> Steps:
    known: dict[str, Part] = {part: part for part in PARTS}
    return {step: frozenset(known[part] for part in named.split()) for step, named in parts.items()}


NOTHING: Steps = {}
EVERY_PART = " ".join(PARTS)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("Next steps: none", NOTHING),
        ("Next steps: {{ steps.a.output }}", steps(a="output")),
        ("{{ steps.a.output.steps.b.output }}", steps(a="output")),
        ("{{ steps.a.output }} {{ steps['a'].outputs.x }}", steps(a="output outputs")),
        ('{{ steps["a"]["error"].message|default("") }}', steps(a="error")),
        ("{{ steps . a \n . output }}", steps(a="output")),
        ("{% if steps.a.error %}{{ steps.b.output }}{% endif %}", steps(a="error", b="output")),
        ("{%- for x in steps.a.outputs -%}{{ x }}{%- endfor -%}", steps(a="outputs")),
        ("{{ steps.a }}", steps(a=EVERY_PART)),
        ("{{ steps.a.items() }}", steps(a=EVERY_PART)),
        ("{{ steps.a.output() }}", steps(a=EVERY_PART)),
        ("{{ steps.a|attr('output') }}", steps(a=EVERY_PART)),
        ("{{ inputs.steps.a }}", NOTHING),
        ("{{ 'steps.a' }}", NOTHING),
        ("{# {{ steps.a.output }} #}", NOTHING),
        ("{% raw %}{{ steps.a.output }}{% endraw %}", NOTHING),
        ("{% raw %}{{ '{% endraw %}{{ steps.a.output }}", steps(a="output")),
        ("{{ {'x': {'y': 1}} ~ steps.a.output }}", steps(a="output")),
        ("{{ '}}' ~ steps.a.output }}", steps(a="output")),
        ("{{ '\\'}}' ~ steps.a.output }}", steps(a="output")),
        ("{{ 1 }} }} {{ steps.a.output }}", steps(a="output")),
        ("{{ steps }}", ALL),
        ("{{ steps[item] }}", ALL),
        ("{{ steps['a' 'b'].output }}", ALL),
        ("{{ steps['\\x61'].output }}", ALL),
        ("{{ steps.items() }}", ALL),
        ("{{ steps['values']() }}", ALL),
        ("{{ steps|length }}", ALL),
        ("{% set f = steps.items %}{{ f() }}", ALL),
        ("{% set s = steps %}{{ s.a.output }}", ALL),
        ("{{ ｓteps.a.output }}", ALL),
        ("{{ 'unterminated }}", ALL),
        ("{% raw %}", ALL),
        ("{{ ( }}", ALL),
    ],
)
def test_the_steps_of_a_template(source: str, expected: Steps) -> None:
    assert references(Template(source)).steps == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 + 1", NOTHING),
        ("steps.a.output + steps['b'].outputs.q", steps(a="output", b="outputs")),
        ("has(steps.a.output)", steps(a="output")),
        ("has(steps.a)", steps(a=EVERY_PART)),
        ("steps.a.status", steps(a=EVERY_PART)),
        ("steps.a.output.map(x, x.steps)", steps(a="output")),
        ("inputs.steps.a", NOTHING),
        ("1 // steps", NOTHING),
        ("1 // '\n+ steps.a.output", steps(a="output")),
        ("'// ' + steps.a.output", steps(a="output")),
        (r"r'\' + steps.a.output", steps(a="output")),
        (r"'\\' + steps.a.output", steps(a="output")),
        ("'''a'b''' + steps.a.error", steps(a="error")),
        ('b"""x""" == steps["a"]["output"]', steps(a="output")),
        ("'' + steps.a.output", steps(a="output")),
        ("steps", ALL),
        (".steps", ALL),
        ("1 in .steps", ALL),
        ("steps[inputs.id]", ALL),
        ("steps['a' + 'b']", ALL),
        ("steps['\\x61'].output", ALL),
        ("steps.map(x, x)", ALL),
        ("[1].map(steps, steps)", ALL),
        ("steps.`a`.output", ALL),
        ("'unterminated", ALL),
    ],
)
def test_the_steps_of_a_cel_expression(source: str, expected: Steps) -> None:
    assert references(Cel(source)).steps == expected


@pytest.mark.parametrize("language", [Template, Cel])
def test_the_names_of_an_expression_are_those_of_its_top_level(language: type[Template] | type[Cel]) -> None:
    source = "item.index + inputs.run + other"
    found = references(Cel(source) if language is Cel else Template(f"{{{{ {source} }}}}"))
    assert found.names == {"item", "inputs"}


def test_what_is_too_long_to_be_evaluated_refers_to_everything_and_is_not_read() -> None:
    assert references(Cel("1" * (MAX_SOURCE_CHARS + 1))) == References(ALL, NAMES)


def test_references_of_a_structure_are_those_of_its_expressions_together() -> None:
    value = {"a": ["{{ steps.a.output }}", "=steps.b.error"], "c": "=steps.a.outputs", "steps": "steps", "d": "==steps"}
    found = references_of_structure(value)
    assert found == References(steps(a="output outputs", b="error"), frozenset({"steps"}))
    assert references_of_structure([value, "=steps"]).steps is ALL


STEPS: Mapping[str, Mapping[str, object]] = {
    step: {"output": f"{step}-output", "outputs": {"q": [step, 1]}, "error": {"message": f"{step}-error"}}
    for step in ("a", "b", "items")
}
NAMES_THERE = {"inputs": {"id": "a", "part": "output"}, "item": {"steps": "a"}, "index": 0, "run": {"id": "r"}}
COMMON = [
    *("steps", ".", "a", "b", "output", "outputs", "error", "items", "item", "inputs", "id", "part", "run", "'", '"'),
    *(
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "'a'",
        '"output"',
        "'",
        "\\",
        "\\'",
        '"""',
        "'''",
        ",",
        ":",
        "+",
        "?",
        "1",
        " ",
        "\n",
    ),
    *("steps.a.output", "steps['b'].outputs.q", "steps[inputs.id]", "'x' + ", "== ", "in ", "steps.b", "{'a': ", "#"),
]
JINJA = [
    *("{{ ", " }}", "{%", "%}", "{{", "}}", "{#", "#}", "{% raw %}", "{% endraw %}", "{%- raw -%}", "|default('d')"),
    *("|tojson", "|length", "()", "~ ", "{% set s = ", "{% for s in ", "{% endfor %}", "s", "{{ s }}", " and ", "-"),
    *("|attr('output')", "|list", "[inputs.part]", "{{ steps.a.output }}", " %}", "|string", ".get('output')"),
]
CEL = [
    "has(",
    "size(",
    ".map(x, x)",
    "//",
    "r'",
    'r"',
    "b'",
    "rb",
    " && ",
    "||",
    "x",
    "string(",
    ".exists(k, k == 'a')",
]


def outcome(expression: Expression, names: Mapping[str, object]) -> object:
    try:
        if isinstance(expression, Template):
            return templates.evaluate(expression.source, names)
        return without_order(cel_programs.evaluate(expression.source, names))
    except Fault as fault:
        return fault.reason


def without_order(value: object) -> object:
    """CEL's maps have none, and so have lists of what is in them."""
    if isinstance(value, dict):
        return {key: without_order(each) for key, each in value.items()}
    return sorted(map(without_order, value), key=repr) if isinstance(value, list) else value


def shipped(found: References) -> dict[str, object]:
    names: dict[str, object] = {name: value for name, value in NAMES_THERE.items() if name in found.names}
    if found.steps is ALL:
        return names | {"steps": STEPS}
    if "steps" in found.names:
        names["steps"] = {
            step: {part: STEPS[step][part] for part in STEPS[step] if part in found.steps[step]}
            for step in STEPS
            if step in found.steps
        }
    return names


def check(expression: Expression) -> None:
    """With what its references say an expression ends as it does with everything."""
    assert outcome(expression, shipped(references(expression))) == outcome(expression, NAMES_THERE | {"steps": STEPS})


@pytest.mark.filterwarnings("ignore:invalid escape:DeprecationWarning")
@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(COMMON + JINJA), max_size=14).map("".join))
@example("{{ steps.a.output }}")
@example("{{ steps.items.output }}")
def test_a_template_misses_nothing_that_its_references_leave_out(source: str) -> None:
    check(Template(source))
    check(Template(f"{{{{ {source} }}}}"))


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(COMMON + CEL), max_size=10).map("".join))
@example("steps.items.output")
def test_a_cel_expression_misses_nothing_that_its_references_leave_out(source: str) -> None:
    check(Cel(source))
