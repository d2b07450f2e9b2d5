"""From attached documents to passages for the model, and from the model's `[n]` back to citations.

A citation is never the model's word: it is a passage of ours, cut from the source, so `text[start:end] == quote` holds
by construction.
"""

import asyncio
from collections.abc import Sequence

from copilot_common.base.tokens import estimate_tokens
from copilot_common.llm.citations import CitationScanner
from copilot_common.llm.passages import split_passages
from copilot_common.llm.ranking import rank_passages
from copilot_common.llm.types import Passage
from copilot_domain.conversations.types import Citation, Document

_INLINE_CHARACTERS = 20_000  # below this, splitting and ranking take less than a thread's hand-over


async def select_passages(question: str, documents: Sequence[Document], *, max_tokens: int) -> tuple[Passage, ...]:
    """The documents as numbered passages: all of them where they fit, else those that match the question best, or the
    first ones where none does."""
    if not documents:
        return ()
    if sum(len(document.text) for document in documents) < _INLINE_CHARACTERS:
        return _select(question, documents, max_tokens)
    return await asyncio.to_thread(_select, question, documents, max_tokens)


def _select(question: str, documents: Sequence[Document], max_tokens: int) -> tuple[Passage, ...]:
    passages: list[Passage] = []
    for document in documents:
        passages.extend(split_passages(document.name, document.text, len(passages) + 1))
    sizes = {passage.number: estimate_tokens(passage.text) for passage in passages}
    if sum(sizes.values()) <= max_tokens:
        return tuple(passages)
    kept: list[Passage] = []
    left = max_tokens
    # "Summarise this" shares no word with the text: then its beginning serves better than nothing.
    for passage in rank_passages(question, passages, len(passages)) or passages:
        left -= sizes[passage.number]
        if left < 0:
            break
        kept.append(passage)
    return tuple(sorted(kept, key=lambda passage: passage.number))


class CitationCollector:
    """Turns the markers in an answer's text into citations, each passage once."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = {passage.number: passage for passage in passages}
        self._scanner = CitationScanner(self._passages.keys()) if passages else None

    def feed(self, text: str) -> list[Citation]:
        if self._scanner is None:
            return []
        return [_citation(self._passages[number]) for number in self._scanner.feed(text)]


def _citation(passage: Passage) -> Citation:
    return Citation(
        source=passage.source,
        name=passage.name,
        start=passage.start,
        end=passage.end,
        quote=passage.text,
        item_id=passage.item_id,
        chunk_id=passage.chunk_id,
    )
