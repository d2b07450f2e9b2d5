"""When two texts are one to a reader."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_domain.context.search.duplicates import KeptTexts, Text, _is_same
from copilot_domain.context.segments.types import Numbers
from unit.context.alike import LONG, ONE_WORD_LESS, OTHER, towards

SHORT = "the quick brown fox jumps over the very lazy old dog"
SHORT_TWICE = " ".join([SHORT] * 10)  # the same words, but too many of them to be short

words = st.frozensets(st.sampled_from("abcdefghijklmnopqrstuvwxyz"))


@given(words, words, words)
def test_texts_with_nine_tenths_of_their_words_in_common_are_the_same(
    shared: frozenset[str], a: frozenset[str], b: frozenset[str]
) -> None:
    one, other = shared | a, shared | b
    are_same = 10 * len(one & other) >= 9 * len(one | other)
    assert _is_same(one, other) == are_same


def kept(vectors: Numbers, *several: str, has_heading: bool = False, batch: int = 100) -> list[str]:
    """Of these texts, which come by so many, those that are like none kept before."""
    shown = KeptTexts()
    for first in range(0, len(several), batch):
        part = slice(first, first + batch)
        for text, direction in zip(several[part], shown.directions(vectors[part]), strict=True):
            one = Text(text, direction, has_heading)
            if not shown.has_one_like(one):
                shown.keep(one)
    return [text.text for text in shown._texts]


def test_nearly_the_same_text_in_nearly_the_same_direction_is_left_out() -> None:
    assert kept(towards(0, 5, 10), LONG, ONE_WORD_LESS, OTHER) == [LONG, OTHER]


def test_a_long_text_in_another_direction_is_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Text, "words", property(lambda _: pytest.fail("taken apart")))
    assert kept(towards(0, 60), LONG, OTHER) == [LONG, OTHER]


def test_under_headings_the_same_text_may_have_turned() -> None:
    assert kept(towards(0, 40), LONG, ONE_WORD_LESS) == [LONG, ONE_WORD_LESS]
    assert kept(towards(0, 40), LONG, ONE_WORD_LESS, has_heading=True) == [LONG]


def test_exactly_the_same_text_is_left_out_wherever_it_points() -> None:
    assert kept(towards(0, 90), LONG, LONG) == [LONG]


@pytest.mark.parametrize("several", [(SHORT, SHORT_TWICE), (SHORT_TWICE, SHORT)])
def test_a_short_text_may_have_turned_with_one_word(several: tuple[str, str]) -> None:
    assert kept(towards(0, 60), *several) == [several[0]]


@pytest.mark.parametrize("blank", [0, 1])
def test_without_a_vector_words_tell(blank: int) -> None:
    vectors = towards(0, 0)
    vectors[blank] = 0
    assert kept(vectors, LONG, ONE_WORD_LESS) == [LONG]


@pytest.mark.parametrize("batch", [1, 7, 200])
def test_each_is_compared_with_all_that_are_kept(batch: int) -> None:
    several = [LONG.replace("word", f"w{number}x") for number in range(60)]
    vectors = towards(*range(0, 360, 6))
    again = [several[number].rsplit(" ", 1)[0] for number in range(60)]
    assert kept(np.concatenate([vectors, vectors]), *several, *again, batch=batch) == several
