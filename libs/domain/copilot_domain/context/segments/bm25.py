"""BM25 (Robertson and Zaragoza 2009, with Lucene's idf) over the posting lists of all of a tenant's segments.

How rare a term is and how long chunks are is that of all segments together, what is dead in them included.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from copilot_domain.context.segments.types import Layout, Numbers, Postings

K1: Final = 1.2
B: Final = 0.75


@dataclass(frozen=True, slots=True)
class TermScores:
    """What a term adds to the scores of the chunks that have it, by their places among all: numbers of as few bytes as
    hold them."""

    places: Numbers
    scores: Numbers

    @property
    def memory_bytes(self) -> int:
        return int(self.places.nbytes + self.scores.nbytes)


def length_norms(layouts: Sequence[Layout], total_terms: int) -> Numbers:
    """What chunks' lengths do to their scores, by place."""
    if not layouts:
        return np.empty(0, np.float32)
    lengths = np.concatenate([layout.lengths for layout in layouts])
    norms: Numbers = K1 * (1 - B + B / (total_terms / max(len(lengths), 1) or 1.0) * lengths.astype(np.float32))
    return norms


def score_term(parts: Sequence[tuple[int | Numbers, Postings]], norms: Numbers) -> TermScores:
    """`parts`: its postings in each segment that has it, and the place of that segment's first chunk; or in several,
    and that place for each posting."""
    if not parts:
        return TermScores(np.empty(0, np.uint32), np.empty(0, np.float32))
    places = np.concatenate([postings.ordinals + np.asarray(start, np.uint32) for start, postings in parts])
    counts = np.concatenate([postings.counts for _, postings in parts]).astype(np.float32)
    idf = math.log(1 + (len(norms) - len(places) + 0.5) / (len(places) + 0.5))
    scores = idf * (K1 + 1) * counts / (counts + norms[places])
    return TermScores(places.astype(np.min_scalar_type(len(norms) - 1)), scores)


def add_up(size: int, terms: Iterable[TermScores]) -> Numbers:
    """The scores of all chunks for a query of these terms."""
    scores = np.zeros(size, np.float32)
    for term in terms:
        # For long lists in 0.6 of the time of `scores[places] += …`.
        np.add.at(scores, term.places.astype(np.intp), term.scores)
    return scores
