"""Chunks are as long as the embedder reads: nothing of them is lost to their vectors."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

import numpy as np
import pytest

from copilot_common.embedding import Embedded, EmbedderSpec
from copilot_common.embedding.cutting import cut
from copilot_common.embedding.protocol import Purpose
from integration.context.ground import ContextGround, open_context
from support.api import Site

MAX_INPUT: Final = 512
WORDS: Final = " ".join(f"Sentence {number} tells of the walrus and what it ate." for number in range(400))
DEEP: Final = "\n\n".join(f"{'#' * level} {'Of walruses' * 4}" for level in range(1, 7)) + f"\n\n{WORDS}"

TOO_DEEP: Final = "\n\n".join(f"{'#' * level} {'Of walruses' * 17}" for level in range(1, 7)) + f"\n\n{WORDS}"


class Short:
    """Reads 512 tokens, and keeps what it was given."""

    spec = EmbedderSpec(
        name="compatible/short@8",
        dimensions=8,
        max_batch=64,
        max_batch_tokens=99_999,
        max_input_tokens=MAX_INPUT,
        chunk_tokens=300,
    )

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        self.texts += texts
        return Embedded(np.full((len(texts), 8), 8**-0.5, np.float32))

    async def load(self) -> None: ...

    async def aclose(self) -> None: ...


@pytest.fixture
async def short(site: Site) -> AsyncIterator[tuple[ContextGround, Short]]:
    embedder = Short()
    async with open_context(site, embedder) as context:
        yield context, embedder


@pytest.mark.parametrize(
    "content", [WORDS, DEEP, TOO_DEEP], ids=["without headings", "under long ones", "under too long ones"]
)
async def test_an_embedder_that_reads_little_reads_all_of_each_chunk(
    short: tuple[ContextGround, Short], content: str
) -> None:
    context, embedder = short
    item = await context.add(content, type="document")
    assert item.status == "ready"
    assert len(embedder.texts) > 10
    assert [text for text in embedder.texts if cut(text, MAX_INPUT) != text] == []
    assert max(len(text) for text in embedder.texts) > MAX_INPUT  # nor are they much shorter than they may be


async def test_the_size_is_kept_with_what_was_cut_by_it(short: tuple[ContextGround, Short]) -> None:
    context, _ = short
    await context.add(WORDS)
    assert context.site.rows("SELECT live_tokenizer FROM context_items")[0][0] == "estimate 300"
