"""Schemas that tenants write: what is refused, what a value's faults are."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_common.base.errors import InvalidInput
from copilot_common.platform.json_schema import MAX_FAULTS, JsonSchema


def refused(schema: object) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        JsonSchema(schema)
    return caught.value.fields


def doubling(levels: int) -> dict[str, Any]:
    """Looks 2^levels times at the same place."""
    parts: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": parts | {f"d{levels}": {}}}


def unevaluated(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        schema = {"unevaluatedProperties": False, "anyOf": [schema, {"type": "string"}]}
    return schema


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ([], ""),
        (True, ""),
        ({"type": "strin"}, "type"),
        ({"properties": {"a": {"type": 5}}}, "properties.a.type"),
        ({"properties": {"a": {"pattern": "("}}}, "properties.a.pattern"),
        ({"pattern": "(?=a)b"}, "pattern"),
        ({"pattern": r"(a)\1"}, "pattern"),
        ({"pattern": "(a{1000}){1000}"}, "pattern"),
        ({"$schema": "https://example.com/mine"}, ""),
        ({"$ref": "https://example.com/x.json"}, "$ref"),
        ({"$ref": "file:///etc/passwd"}, "$ref"),
        ({"items": {"$ref": "other.json#/a"}}, "items.$ref"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "$ref"),
        ({"$ref": "#/$defs/x"}, "$ref"),
        ({"$ref": "#name", "$defs": {"x": {"$anchor": "name"}}}, "$ref"),
        ({"$dynamicRef": "#x"}, "$dynamicRef"),
        ({"properties": {"a": {"$id": "https://example.com/"}}}, "properties.a.$id"),
        ({"title": "\ud800"}, ""),
        (nested(70), ""),
        (doubling(40), ""),
        (unevaluated(20), ""),
        ({"properties": {"l": {"$ref": "#"}, "r": {"$ref": "#"}}}, ""),
        ({"properties": {f"p{n}": {} for n in range(11_000)}}, ""),
    ],
)  # fmt: skip
def test_a_schema_that_is_wrong_or_too_much_is_refused(schema: object, path: str) -> None:
    assert list(refused(schema)) == [path]


def test_all_wrong_references_are_named() -> None:
    wrong = refused({"properties": {f"p{n}": {"$ref": f"https://example.com/{n}"} for n in range(3)}})
    assert wrong.keys() == {"properties.p0.$ref", "properties.p1.$ref", "properties.p2.$ref"}


SCHEMA = {
    "type": "object",
    "required": ["name", "lines"],
    "properties": {
        "name": {"type": "string", "maxLength": 5, "pattern": "^[a-z]+$"},
        "email": {"format": "email"},
        "kind": {"enum": ["a", "b"]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line~1item"}},
    },
    "additionalProperties": False,
    "$defs": {"line/item": {"type": "object", "properties": {"count": {"type": "integer", "minimum": 1}}}},
}


def test_a_valid_value_has_no_faults() -> None:
    assert (
        JsonSchema(SCHEMA).faults({"name": "abc", "email": "a@b.example", "kind": "a", "lines": [{"count": 1}]}) == []
    )


def test_all_faults_are_told_by_their_path() -> None:
    value = {"name": "ABCDEFG", "email": "x", "kind": "c", "lines": [{"count": 1}, {"count": 0}, 5], "more": 1}
    faults = JsonSchema(SCHEMA).faults(value)
    assert {path for path, _ in faults} == {"name", "email", "kind", "lines[1].count", "lines[2]", ""}
    assert JsonSchema(SCHEMA).faults({"lines": []}) == [("name", "is required")]


def test_no_sentence_shows_a_value_or_is_long() -> None:
    secret = "zebra" * 1_000
    schema = {"properties": {"a": {"type": "integer"}, "b": {"enum": ["y" * 900]}, "c": {"pattern": "^y"}, "d": False}}
    faults = JsonSchema(schema | {"additionalProperties": False}).faults(dict.fromkeys("abcd", secret) | {secret: 1})
    assert len(faults) == 5
    assert not any("zebra" in text for path, text in faults if path)
    assert all(len(text) <= 200 and len(path) <= 200 for path, text in faults)


def test_faults_are_bounded_also_of_a_large_value() -> None:
    schema = JsonSchema({"items": {"type": "string"}})
    assert len(schema.faults([1] * 1_000)) == MAX_FAULTS
    assert schema.faults([1] * 300_000) == [("[0]", 'is not of type "string"')]


def test_a_value_too_large_for_its_schema_is_a_fault() -> None:
    schema = JsonSchema({"items": {"allOf": [{"type": "integer"}] * 4_000}})
    assert schema.faults([1] * 50_000) == [("", "is too large to be checked against its schema")]
    assert schema.faults([1] * 100) == []


def test_a_schema_may_refer_to_itself_once() -> None:
    tree = JsonSchema({"properties": {"value": {"type": "integer"}, "kids": {"items": {"$ref": "#"}}}})
    assert tree.faults({"kids": [{"kids": [{"value": "x"}]}]}) == [
        ("kids[0].kids[0].value", 'is not of type "integer"')
    ]
    named = {"$ref": "#/$defs/n", "$defs": {"n": {"properties": {"kids": {"items": {"$ref": "#/$defs/n"}}}}}}
    assert JsonSchema(named).faults({"kids": [{"kids": []}]}) == []


def test_a_pattern_does_not_backtrack() -> None:
    assert JsonSchema({"pattern": "^(a+)+$"}).faults("a" * 100_000 + "b") != []


def test_an_older_draft_is_read_by_its_own_rules() -> None:
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": {"type": "string"}}}
    assert JsonSchema(schema | {"$ref": "#/definitions/a"}).faults(5) != []


def test_what_is_no_json_value_is_a_fault() -> None:
    assert JsonSchema({"type": "string"}).faults("\ud800") == [("", "is not a value that can be checked")]


KEYWORDS = [
    "$ref", "$defs", "properties", "items", "allOf", "not", "type", "pattern", "enum", "$id", "if", "a", "minimum",
]  # fmt: skip
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYWORDS), inner | st.sampled_from(["#", "#/$defs/a", "#/a", "string", "^a"]))
    ),
    max_leaves=15,
)


@given(ANY, ANY)
def test_any_schema_is_taken_or_refused_and_any_value_has_faults_or_none(schema: object, value: object) -> None:
    try:
        made = JsonSchema(schema)
    except InvalidInput:
        return
    assert len(made.faults(value)) <= MAX_FAULTS
