"""How much a server may say: counted piece by piece, never too little."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_common.base.errors import EgressFailed
from copilot_domain.workflows.execution.mcp.budget import Budget, ValueCounter

json_values = st.recursive(
    st.none() | st.integers() | st.text(st.sampled_from('"\\,[]{}\n\r\u2028ä: x')),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=5),
    max_leaves=30,
)


def values_in(value: object) -> int:
    match value:
        case list():
            return 1 + sum(map(values_in, value))
        case dict():
            return 1 + sum(map(values_in, value.values()))
        case _:
            return 1


def count(*pieces: bytes) -> int:
    counter = ValueCounter()
    return sum(counter.count(piece) for piece in pieces)


def cut(content: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(content) + 1) for place in places} | {len(content)})
    return [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@given(value=json_values, places=st.lists(st.integers(0, 10_000), max_size=8), spaced=st.booleans())
def test_no_value_is_missed_however_it_is_cut(value: object, places: list[int], spaced: bool) -> None:
    content = json.dumps(value, indent=1 if spaced else None, ensure_ascii=False).encode()
    pieces = cut(content, places)
    assert b"".join(pieces) == content
    counted = count(*pieces)
    assert counted >= values_in(value)
    assert counted <= 2 * values_in(value) + content.count(b"\n") + len(pieces) + 1


@pytest.mark.parametrize("mark", [b': "\n', b'event: "\r\n', b'data: "\r', b'id: \\"\n', b"x\\\n"])
def test_a_quotation_mark_elsewhere_hides_nothing(mark: bytes) -> None:
    assert count(mark + b"data: [" + b"1," * 1_000) > 1_000
    assert count(mark, b"data: [", b"1," * 1_000) > 1_000


def test_commas_in_a_text_are_no_values() -> None:
    table = json.dumps({"type": "text", "text": "a,b,[c],{d}\n" * 10_000}).encode()
    assert count(*cut(table, list(range(0, len(table), 777)))) < 1_000


def test_a_budget_holds_over_all_that_is_said() -> None:
    budget = Budget(max_bytes=10, max_values=5)
    budget.spend(5, 3)
    budget.spend(5, 2)
    with pytest.raises(EgressFailed, match="bytes"):
        budget.spend(1, 0)
    with pytest.raises(EgressFailed, match="values"):
        Budget(max_bytes=10, max_values=5).spend(1, 6)
