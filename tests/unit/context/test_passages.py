"""When two texts are one to a reader."""

from hypothesis import given
from hypothesis import strategies as st

from copilot_domain.context.search.passages import _is_same

words = st.frozensets(st.sampled_from("abcdefghijklmnopqrstuvwxyz"))


@given(words, words, words)
def test_texts_with_nine_tenths_of_their_words_in_common_are_the_same(
    shared: frozenset[str], a: frozenset[str], b: frozenset[str]
) -> None:
    one, other = shared | a, shared | b
    are_same = 10 * len(one & other) >= 9 * len(one | other)
    assert _is_same(one, other) == are_same
