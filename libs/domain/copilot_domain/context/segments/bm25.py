"""BM25 (Robertson and Zaragoza 2009, with Lucene's idf) over the posting lists of all of a tenant's segments."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from copilot_domain.context.segments.types import Layout, Numbers, Postings

K1: Final = 1.2
B: Final = 0.75


def bm25_scores(layouts: Sequence[Layout], found: Sequence[Mapping[int, Postings]], total_terms: int) -> Numbers:
    """Of all chunks, one segment's after the other's. `found`: of each segment, the query's terms that it has.

    How rare a term is and how long chunks are is that of all segments together, what is dead in them included.
    """
    size = sum(layout.size for layout in layouts)
    scores = np.zeros(size, np.float32)
    if not size:
        return scores
    lengths = np.concatenate([layout.lengths for layout in layouts])
    norms = K1 * (1 - B + B / (total_terms / size or 1.0) * lengths.astype(np.float32))
    for postings in _joined(layouts, found):
        count = len(postings.ordinals)
        idf = math.log(1 + (size - count + 0.5) / (count + 0.5))
        # A chunk stands once in a list, so this adds to each but once.
        scores[postings.ordinals] += idf * (K1 + 1) * postings.counts / (postings.counts + norms[postings.ordinals])
    return scores


def _joined(layouts: Sequence[Layout], found: Sequence[Mapping[int, Postings]]) -> list[Postings]:
    """Each term's postings in all segments, by the chunk's place among all."""
    start = 0
    parts: dict[int, list[tuple[Numbers, Numbers]]] = {}
    for layout, lists in zip(layouts, found, strict=True):
        for term, postings in lists.items():
            parts.setdefault(term, []).append((postings.ordinals.astype(np.int64) + start, postings.counts))
        start += layout.size
    return [Postings(*(np.concatenate(columns) for columns in zip(*pairs, strict=True))) for pairs in parts.values()]
