"""Bodies are decoded strictly; whatever comes is decoded or refused, never anything else."""

import json
from contextlib import suppress
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from copilot_api.http.body import RequestBody, decode_strict
from copilot_common.base.errors import CopilotError, InvalidInput


class Inner(RequestBody):
    name: Annotated[str, Meta(max_length=5)]


class Body(RequestBody):
    number: int
    items: list[Inner] = []  # noqa: RUF012 — msgspec copies mutable defaults
    free: dict[str, object] = {}  # noqa: RUF012


FAULTS = [
    ({}, {"number"}),
    ({"number": "5"}, {"number"}),
    ({"number": 5.5}, {"number"}),
    ({"number": True}, {"number"}),
    ({"number": None}, {"number"}),
    ({"number": 1, "more": 1}, {"more"}),
    ({"number": "x", "more": 1, "items": 7}, {"number", "more", "items"}),
    ({"number": 1, "items": [{"name": "ok"}, {"name": "too long"}]}, {"items[1].name"}),
    ({"number": 1, "items": [{}]}, {"items[0].name"}),
    ({"number": 1, "items": [{"name": "a", "x": 1}]}, {"items[0].x"}),
    ({"number": 1, "free": {"a": [{"b": "\0"}]}}, {"free.a[0].b"}),
    ({"number": 1, "items": [{"name": "\0"}]}, {"items[0].name"}),
]


@pytest.mark.parametrize(("body", "fields"), FAULTS)
def test_each_wrong_field_is_named_by_its_path(body: object, fields: set[str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode_strict(json.dumps(body).encode(), Body)
    assert refused.value.fields.keys() == fields
    assert all(sentence and "`" not in sentence for sentence in refused.value.fields.values())


def test_a_good_body_is_decoded() -> None:
    body = decode_strict(b'{"number": 5, "items": [{"name": "\xc3\xa4"}], "free": {"a": null}}', Body)
    assert (body.number, body.items[0].name, body.free) == (5, "ä", {"a": None})


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 5_000])
@pytest.mark.parametrize(
    ("template", "field"), [('{"number": %s}', "number"), ('{"number": 1, "free": {"a": [%s]}}', "free.a[0]")]
)
def test_a_number_out_of_range_is_named_by_its_path(template: str, number: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode_strict((template % number).encode(), Body)
    assert refused.value.fields == {field: "is a number out of range"}


@pytest.mark.parametrize("raw", [b"{", b'{"number": NaN}', b'{"number": Infinity}', b'{"number": 1e}', b"\xff"])
def test_what_is_no_json_is_a_bad_request(raw: bytes) -> None:
    with pytest.raises(CopilotError) as refused:
        decode_strict(raw, Body)
    assert refused.value.code == "BAD_REQUEST"


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(InvalidInput) as refused:
        decode_strict(b'{"number": "hunter2-hunter2"}', Body)
    assert "hunter2" not in str(refused.value.details)


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(raw: bytes) -> None:
    with pytest.raises(CopilotError) as refused:
        decode_strict(raw, Body)
    assert refused.value.code in {"BAD_REQUEST", "VALIDATION_ERROR"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(["number", "items", "free", "other"]), json_values))
def test_any_json_is_decoded_or_refused(value: object) -> None:
    with suppress(CopilotError):
        assert isinstance(decode_strict(json.dumps(value).encode(), Body), Body)
