"""Candidates in their order."""

from dataclasses import dataclass

import numpy as np

from copilot_domain.context.search.candidates import Candidates
from copilot_domain.context.search.fusion import fuse, rank_hybrid
from copilot_domain.context.segments.types import Numbers
from copilot_domain.context.types import SearchMode


@dataclass(frozen=True, slots=True)
class Ranking:
    """Chunks, the best first: their places, their ids (16 bytes each), their scores, their vectors (a row each, zeros
    for none)."""

    places: Numbers
    ids: Numbers
    scores: Numbers
    vectors: Numbers

    @property
    def size(self) -> int:
        return len(self.ids)

    def part(self, first: int, last: int) -> "Ranking":
        return self.at(slice(first, last))

    def at(self, chosen: Numbers | slice) -> "Ranking":
        return Ranking(self.places[chosen], self.ids[chosen], self.scores[chosen], self.vectors[chosen])


def rank(mode: SearchMode, query: Numbers | None, candidates: Candidates) -> Ranking:
    """By id among equals, so that a repeat gives the same. `query` None: by words alone."""
    by_text, vectors = candidates.text_scores, candidates.vectors
    if not candidates.size:
        return Ranking(candidates.places, candidates.chunk_ids, by_text, vectors)
    is_found = by_text > 0
    if query is None:
        scores = by_text if mode == "text" else fuse(np.zeros_like(by_text), by_text)
    elif mode == "vector":
        scores, is_found = vectors @ query, np.any(vectors, axis=1)
    else:
        scores, is_found = rank_hybrid(query, vectors, by_text), is_found | np.any(vectors, axis=1)
    order = np.lexsort((candidates.chunk_ids, -scores))
    return Ranking(candidates.places, candidates.chunk_ids, scores, vectors).at(order[is_found[order]])
