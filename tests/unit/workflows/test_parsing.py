"""From text to JSON structure: what comes out, and what is refused with its place."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_common.base.errors import CopilotError, InvalidInput, TooLarge
from copilot_domain.workflows.parsing import MAX_DEFINITION_BYTES, Syntax, parse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(max_codepoint=0xFFFF, exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(min_codepoint=32, max_codepoint=126)), inner),
    max_leaves=20,
)  # fmt: skip


def refusal(text: str | bytes, syntax: Syntax) -> CopilotError:
    with pytest.raises(CopilotError) as caught:
        parse(text if isinstance(text, bytes) else text.encode(), syntax)
    return caught.value


@given(JSON)
def test_json_comes_out_as_it_went_in(value: object) -> None:
    assert parse(json.dumps(value).encode(), "json") == value


@given(JSON)
def test_json_is_yaml_too(value: object) -> None:
    again = parse(json.dumps(value).encode(), "yaml")
    assert again == value or json.dumps(again) == json.dumps(value)


def test_yaml_is_read_by_the_rules_of_version_1_2() -> None:
    text = """
      no: no
      time: 1:30
      day: 2026-01-31
      octal: 010
      hex: 0x1f
      number: -1.5e3
      whole: 42
      quoted: '42'
      truth: [true, False]
      nothing: [~, null, ]
      block: |
        =not an expression
      cel: =inputs.x
      merge: {<<: {a: 1}}
      1: key
    """
    assert parse(text.encode(), "yaml") == {
        "no": "no", "time": "1:30", "day": "2026-01-31", "octal": 10, "hex": "0x1f", "number": -1500.0, "whole": 42,
        "quoted": "42", "truth": [True, False], "nothing": [None, None], "block": "=not an expression\n",
        "cel": "=inputs.x", "merge": {"<<": {"a": 1}}, "1": "key",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: &x [1]\nb: *x", "an alias (*name); write it out (line 2, column 4)"),
        ("a: !!python/object/apply:os.system [x]", "a tag (!name) (line 1, column 4)"),
        ("a: !!set {x}", "a tag"),
        ("!x y: 1", "a tag"),
        ("a: 1\nb: 1\na: 2", "a key that stands twice (line 3, column 1)"),
        ("---\na: 1\n---\nb: 1", "a second document (line 3, column 1)"),
        ("? [a]\n: b", "a key that is no text"),
        ("[" * 100_000, "more than 64 levels"),
        ("- " * 100_000, "more than 64 levels"),
        ("{a: " * 100_000, "more than 64 levels"),
    ],
)
def test_yaml_that_does_more_than_json_can_is_refused_with_its_place(text: str, what: str) -> None:
    error = refusal(text, "yaml")
    assert error.code == "BAD_REQUEST"
    assert f"The body has {what}" in error.message


@pytest.mark.parametrize("text", ["[a, b", "a: b: c", "\t- a", "a: \x01", '"\\ud800"', "%YAML 9\n---\n", "@"])
def test_what_is_no_yaml_is_a_400(text: str) -> None:
    assert refusal(text, "yaml").code == "BAD_REQUEST"


@pytest.mark.parametrize(
    "text", ["{", "[1,]", "{}{}", "NaN", "[Infinity]", "'a'", '"\\ud800"', '{"\\udc00": 1}', "[" * 100_000]
)
def test_what_is_no_json_is_a_400(text: str) -> None:
    assert refusal(text, "json").code == "BAD_REQUEST"


@pytest.mark.parametrize("syntax", ["json", "yaml"])
def test_an_empty_body_is_named(syntax: Syntax) -> None:
    error = refusal(" \n", syntax)
    assert isinstance(error, InvalidInput)
    assert error.fields == {"body": "is required"}


def test_a_key_that_stands_twice_is_refused_in_json_too() -> None:
    error = refusal('{"a": {"b": 1, "c": 1, "b": 1}}', "json")
    assert error.message == "The body has an object with a key that stands twice: b."


@pytest.mark.parametrize("syntax", ["json", "yaml"])
def test_what_is_not_utf_8_is_a_400(syntax: Syntax) -> None:
    assert refusal(b'{"a": "\xff"}', syntax).code == "BAD_REQUEST"


@pytest.mark.parametrize("syntax", ["json", "yaml"])
def test_a_definition_may_be_a_megabyte_and_no_more(syntax: Syntax) -> None:
    text = json.dumps("x" * (MAX_DEFINITION_BYTES - 2))
    assert parse(text.encode(), syntax) == "x" * (MAX_DEFINITION_BYTES - 2)
    with pytest.raises(TooLarge):
        parse(text.encode() + b" ", syntax)


def test_values_that_cannot_be_kept_are_named_by_their_place() -> None:
    text = f'{{"a": {{"b": [1, 1e999]}}, "c": "x\\u0000", "d": {"9" * 500}, "e": -{"9" * 30}}}'
    error = refusal(text, "json")
    assert isinstance(error, InvalidInput)
    number = "is a number out of range"
    assert error.fields == {"a.b[1]": number, "c": "must not contain NUL characters", "d": number, "e": number}


def test_json_that_is_nested_too_deeply_is_refused() -> None:
    error = refusal("[" * 100 + "]" * 100, "json")
    assert isinstance(error, InvalidInput)
    assert list(error.fields.values()) == ["must not be nested deeper than 64 levels"]


@given(st.text(max_size=60), st.sampled_from(["json", "yaml"]))
def test_any_text_is_read_or_refused(text: str, syntax: Syntax) -> None:
    with suppress(CopilotError):
        parse(text.encode(errors="surrogatepass"), syntax)
