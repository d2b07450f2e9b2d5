import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_common.llm import CitationScanner


def scan(*deltas: str, valid: range = range(1, 10)) -> list[int]:
    scanner = CitationScanner(valid)
    return [number for delta in deltas for number in scanner.feed(delta)]


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("so [1].", [1]),
        ("so [1, 2].", [1, 2]),
        ("so [2][1].", [2, 1]),
        ("so [1] and again [1]", [1]),
        ("so [3-5]", [3, 4, 5]),
        ("array[0] and [99] and [x] and []", []),
        (r"quoted \[1]", []),
        ("[1-999999]", list(range(1, 10))),
        ("[[4]]", [4]),
        ("[12[3]", [3]),
    ],
)
def test_markers_are_found(text: str, cited: list[int]) -> None:
    assert scan(text) == cited


@given(
    st.lists(st.sampled_from(["[", "]", "1", "2", ",", " ", "\\", "x", "-", "[3]", "[1, 2]"])).map("".join), st.data()
)
def test_any_split_of_a_text_finds_the_same(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert scan(*pieces) == scan(text)


def test_a_bracket_that_never_closes_is_not_remembered_for_ever() -> None:
    scanner = CitationScanner({1})
    scanner.feed("[" + "1," * 10_000)
    assert len(scanner._tail) < 100


def test_a_number_is_reported_when_its_marker_ends() -> None:
    scanner = CitationScanner({12})
    assert [scanner.feed(delta) for delta in ("as said [", "1", "2", "] here")] == [[], [], [], [12]]
