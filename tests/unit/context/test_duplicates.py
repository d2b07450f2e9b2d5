"""When two texts are one to a reader."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_domain.context.search.duplicates import KeptTexts, Text, _is_same
from copilot_domain.context.segments.types import Numbers

LONG = " ".join(f"word{number:03}" for number in range(100))
ONE_WORD_LESS = LONG.removesuffix(" word099")
OTHER = LONG.replace("word", "term")
SHORT = "the quick brown fox jumps over the very lazy old dog"

words = st.frozensets(st.sampled_from("abcdefghijklmnopqrstuvwxyz"))


@given(words, words, words)
def test_texts_with_nine_tenths_of_their_words_in_common_are_the_same(
    shared: frozenset[str], a: frozenset[str], b: frozenset[str]
) -> None:
    one, other = shared | a, shared | b
    are_same = 10 * len(one & other) >= 9 * len(one | other)
    assert _is_same(one, other) == are_same


def kept(vectors: Numbers, texts: list[str], *, batch: int = 2) -> list[str]:
    """Of these texts, which come in such batches, those that are like none kept before."""
    texts_kept, left = KeptTexts(), []
    for first in range(0, len(texts), batch):
        for place in texts_kept.announce(vectors[first : first + batch]):
            text = Text(texts[place])
            if not texts_kept.has_one_like(place, text):
                texts_kept.keep(place, text)
                left.append(texts[place])
    return left


def towards(*degrees: float) -> Numbers:
    """A vector for each, of length 1."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_nearly_the_same_text_in_nearly_the_same_direction_is_left_out(batch: int) -> None:
    assert kept(towards(0, 5, 10), [LONG, ONE_WORD_LESS, OTHER], batch=batch) == [LONG, OTHER]


@pytest.mark.parametrize("batch", [1, 2])
def test_a_long_text_in_another_direction_is_not_taken_apart(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Text, "words", property(lambda _: pytest.fail("taken apart")))
    assert kept(towards(0, 60), [LONG, OTHER], batch=batch) == [LONG, OTHER]


def test_a_short_text_may_have_turned_with_one_word() -> None:
    assert kept(towards(0, 60), [SHORT, f"{SHORT} {SHORT}"]) == [SHORT]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("blank", [0, 1])
def test_without_a_vector_words_tell(batch: int, blank: int) -> None:
    vectors = towards(0, 0)
    vectors[blank] = 0
    assert kept(vectors, [LONG, ONE_WORD_LESS], batch=batch) == [LONG]


def test_what_is_not_kept_is_like_none() -> None:
    texts = KeptTexts()
    texts.announce(towards(0, 0))
    assert not texts.has_one_like(0, Text(LONG))
    assert not texts.has_one_like(1, Text(LONG))
