import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_common.llm import split_passages

# Characters that meet every rule of the splitter, next to any others.
TEXTS = st.lists(
    st.one_of(st.sampled_from(["\n", "\n\n", " ", ". ", "# ", "。", "word", "\r\n", "\u2028"]), st.text(max_size=40))
).map("".join)


@given(TEXTS, st.integers(20, 200))
def test_every_passage_is_exactly_the_text_at_its_range(text: str, target: int) -> None:
    for passage in split_passages("a", text, 1, target):
        assert text[passage.start : passage.end] == passage.text


@given(TEXTS, st.integers(20, 200))
def test_every_character_that_is_not_space_is_in_exactly_one_passage(text: str, target: int) -> None:
    covered = [index for passage in split_passages("a", text, 1, target) for index in range(passage.start, passage.end)]
    assert len(covered) == len(set(covered))
    left_out = set(range(len(text))) - set(covered)
    assert all(text[index].isspace() for index in left_out)


@given(TEXTS, st.integers(20, 200))
def test_no_passage_is_empty_or_longer_than_the_target(text: str, target: int) -> None:
    assert all(0 < len(passage.text) <= target for passage in split_passages("a", text, 1, target))


@given(TEXTS, st.integers(0, 50))
def test_numbers_count_up_from_the_first(text: str, first: int) -> None:
    numbers = [passage.number for passage in split_passages("a", text, first)]
    assert numbers == list(range(first, first + len(numbers)))


def test_a_new_section_begins_a_new_passage() -> None:
    text = "# One\n" + "first section. " * 20 + "\n# Two\n" + "second section. " * 20
    assert [passage.text.split("\n")[0] for passage in split_passages("a", text, 1)] == ["# One", "# Two"]


def test_short_paragraphs_share_a_passage() -> None:
    assert len(split_passages("a", "one\n\ntwo\n\nthree", 1)) == 1


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    passages = split_passages("a", "This is a sentence. " * 100, 1)
    assert len(passages) > 1
    assert all(passage.text.endswith(".") for passage in passages)


def test_a_long_sentence_is_cut_between_words() -> None:
    passages = split_passages("a", "word " * 1000, 1)
    assert {word for passage in passages for word in passage.text.split()} == {"word"}


@pytest.mark.parametrize("unit", ["a", " ", "\n", ". ", "\n ", "\n# ", "。", "a.\n", "\u0301", "\u2028"])
def test_a_hostile_megabyte_gives_a_bounded_number_of_passages(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    assert len(split_passages("a", text, 1)) <= 1_000_000 // 150 + 1
