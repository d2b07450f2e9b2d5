"""Chunks are exact ranges of their text, in order, bounded, and leave no character out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_common.llm.estimates import estimate_tokens
from copilot_domain.context.chunking import MAX_CHUNK_TOKENS, split_chunks
from copilot_domain.context.types import Chunk, ItemType

KINDS: tuple[ItemType, ...] = ("text", "code", "document")
words = st.text(max_size=30) | st.sampled_from(
    ["word", "Sentence. ", "\n", "\n\n", "# Head\n", "```\n", "- a\n", "漢字", "é", "> q"]
)
texts = st.lists(words, max_size=400).map("".join)


def check(text: str, chunks: list[Chunk]) -> None:
    end = 0
    for number, chunk in enumerate(chunks, 1):
        assert chunk.number == number
        assert text[chunk.start : chunk.end] == chunk.text
        assert text[end : chunk.start].strip() == "", "a character in no chunk, or in two"
        assert 0 < chunk.token_count == estimate_tokens(chunk.text) <= MAX_CHUNK_TOKENS
        end = chunk.end
    assert text[end:].strip() == ""


@settings(max_examples=150, deadline=None)
@given(text=texts, kind=st.sampled_from(KINDS))
def test_chunks_cover_any_text_in_order(text: str, kind: ItemType) -> None:
    check(text, split_chunks(text, kind))


HOSTILE = {
    "one word": "x" * 100_000,
    "no spaces": "漢字" * 50_000,
    "brackets": "[" * 100_000,
    "quotes": "> " * 50_000,
    "lines": "a\n" * 50_000,
    "spaces": " " * 100_000,
    "combining": "e" + "\u0301" * 50_000,
    "family": "👨‍👩‍👧‍👦" * 5_000,
    "line separators": "a\u2028b\x0cc\x85" * 20_000,
    "headings": "# h\n" * 25_000,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_chunks_cover_hostile_texts(text: str, kind: ItemType) -> None:
    check(text, split_chunks(text, kind))


def test_a_text_is_filled_into_few_chunks() -> None:
    text = "A sentence of some words stands here. " * 1_000
    assert len(split_chunks(text, "text")) <= estimate_tokens(text) / (0.8 * MAX_CHUNK_TOKENS)


MARKDOWN = """Before.

# One

Text of one.

## Deep ##

```
# no heading
```

Text of deep.

# Two

Text of two.
"""


def test_a_chunk_knows_the_headings_it_stands_under() -> None:
    filler = "A sentence of some words stands here. " * 30
    paths = {
        word: chunk.heading
        for chunk in split_chunks(MARKDOWN.replace("Text", filler + "Text"), "document")
        for word in ("of one", "of deep", "of two")
        if f"Text {word}" in chunk.text
    }
    assert paths == {"of one": ("One",), "of deep": ("One", "Deep"), "of two": ("Two",)}


def test_only_a_document_has_headings() -> None:
    for kind in ("text", "code"):
        assert {chunk.heading for chunk in split_chunks(MARKDOWN, kind)} == {()}
