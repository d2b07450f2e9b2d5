"""JSON whose strings are expressions, without evaluating them."""

import pytest

from copilot_common.expressions.source import Cel, Expression, Template, read
from copilot_common.expressions.structure import Structure


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a = b", "a = b"),
        ("100 %}", "100 %}"),
        ("=1 + 1", Cel("1 + 1")),
        ("=", Cel("")),
        ("={{1: 2}: 3}", Cel("{{1: 2}: 3}")),
        ("==1 + 1", "=1 + 1"),
        ("=={{ a }}", "={{ a }}"),
        ("===", "=="),
        ("{{ item }}", Template("{{ item }}")),
        (" ={{ item }}", Template(" ={{ item }}")),
        ("{% if a %}b{% endif %}", Template("{% if a %}b{% endif %}")),
        ("a{# b #}", Template("a{# b #}")),
    ],
)
def test_a_string_is_cel_a_template_or_itself(text: str, meaning: Expression | str) -> None:
    assert read(text) == meaning


def test_a_structure_keeps_its_shape_and_knows_where_its_expressions_stand() -> None:
    value = {"a": ["=1", {"{{ key }}": "{{ x }}"}], "b": "==c", "d": [None, True, 1.5, ["=2"]]}
    structure = Structure.of(value)
    assert structure.expressions == [Cel("1"), Template("{{ x }}"), Cel("2")]
    assert structure.paths == ["a[0]", "a[1].{{ key }}", "d[3][0]"]
    filled = structure.filled([{"n": "=not again"}, "x", None])
    assert filled == {"a": [{"n": "=not again"}, {"{{ key }}": "x"}], "b": "=c", "d": [None, True, 1.5, [None]]}
    assert value["b"] == "==c"


def test_the_path_of_the_value_itself_is_empty() -> None:
    assert Structure.of("=1").paths == [""]
