"""Tokens are counted as the embedder's own tokenizer counts them, at a fraction of its time."""

from pathlib import Path

import pytest
import wordllama
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from copilot_domain.documents.chunking.counters import WordLlamaCounter, open_counter
from copilot_domain.documents.chunking.rules import TokenizerName


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(
        str(Path(wordllama.__file__).parent / "tokenizers" / "l2_supercat_tokenizer_config.json")
    )


words = st.text(max_size=12) | st.sampled_from(
    ["word", "Überraschung", "don't", "漢字", "ひらがな", "\n", "\t", "   ", "👨‍👩‍👧‍👦", "3.14", "\u2581"]
)


@settings(max_examples=200, deadline=None)
@example(parts=["\u2581", ""], joint=" ")  # the vocabulary's own sign for a space
@example(parts=["a\u2581\u2581", "b\u2581c"], joint=" ")
@given(parts=st.lists(words, max_size=40), joint=st.sampled_from((" ", "\n", "  ", "")))
def test_wordllama_is_counted_as_it_counts(tokenizer: Tokenizer, parts: list[str], joint: str) -> None:
    text = joint.join(parts).replace("\ufffd", "")
    assume(not any(token.content in text for token in tokenizer.get_added_tokens_decoder().values()))
    if all(len(word) <= 64 for word in text.split()) and " " * 17 not in text.replace("\u2581", " "):
        assert WordLlamaCounter().count(text) == len(tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("name", ["wordllama", "estimate"])
@settings(max_examples=100, deadline=None)
@given(parts=st.lists(words, min_size=1, max_size=200), start=st.integers(0, 20), most=st.integers(32, 200))
def test_what_is_reached_fits_and_is_most_of_what_would(
    name: TokenizerName, parts: list[str], start: int, most: int
) -> None:
    text = " ".join(parts)
    start = min(start, len(text))
    counter = open_counter(name)
    reached = counter.reach(text, start, len(text), most)
    assert counter.count(text[start:reached]) <= most
    assert reached == len(text) or counter.count(text[start : reached + 80]) > most


def test_a_counter_remembers_a_bounded_number_of_words() -> None:
    counter = WordLlamaCounter()
    assert counter.count(" ".join(f"{number}x" for number in range(120_000))) > 120_000
    assert len(counter._counts) <= 50_000
