"""BM25 (Robertson and Zaragoza 2009, with Lucene's idf) over the posting lists of all of a tenant's segments."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from copilot_domain.context.segments.types import Layout, Numbers, Postings

K1: Final = 1.2
B: Final = 0.75


def bm25_scores(layouts: Sequence[Layout], found: Sequence[Mapping[int, Postings]], total_terms: int) -> list[Numbers]:
    """Each segment's scores by ordinal. `found`: of each segment, the query's terms that it has.

    How rare a term is and how long chunks are is that of all segments together, what is dead in them included.
    """
    size = sum(layout.size for layout in layouts)
    average = total_terms / max(size, 1) or 1.0
    frequencies: dict[int, int] = {}
    for lists in found:
        for term, postings in lists.items():
            frequencies[term] = frequencies.get(term, 0) + len(postings.ordinals)
    idf = {term: math.log(1 + (size - count + 0.5) / (count + 0.5)) for term, count in frequencies.items()}
    return [_scores(layout, lists, idf, average) for layout, lists in zip(layouts, found, strict=True)]


def _scores(layout: Layout, lists: Mapping[int, Postings], idf: Mapping[int, float], average: float) -> Numbers:
    scores = np.zeros(layout.size, np.float32)
    for term, postings in lists.items():
        norms = K1 * (1 - B + B / average * layout.lengths[postings.ordinals].astype(np.float32))
        # An ordinal stands once in a list, so this adds to each but once.
        scores[postings.ordinals] += idf[term] * (K1 + 1) * postings.counts / (postings.counts + norms)
    return scores
