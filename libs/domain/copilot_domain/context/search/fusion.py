"""Two rankings made one: by meaning and by words, over the same candidates."""

from typing import Final

import numpy as np

from copilot_domain.context.segments.types import Numbers

# Measured with WordLlama on Cranfield, cross-validated (docs/retrieval.md).
VECTOR_WEIGHT: Final = 0.3
FEEDBACK: Final = 3
"""So many of the best candidates say what the query means."""
FEEDBACK_WEIGHT: Final = 1.0
"""Of their mean beside the query, which has 1."""
FEEDBACK_VECTOR_WEIGHT: Final = 0.5
"""Of meaning, once it is known better."""


def fuse(by_vector: Numbers, by_text: Numbers, *, vector_weight: float = VECTOR_WEIGHT) -> Numbers:
    """The weighted mean of both scores, each stretched to 0…1 over all candidates.

    A convex combination, which beats reciprocal ranks where the scores mean something (Bruch, Gai, Ingber 2023).
    """
    return vector_weight * _stretched(by_vector) + (1 - vector_weight) * _stretched(by_text)


def rank_hybrid(query: Numbers, vectors: Numbers, by_text: Numbers) -> Numbers:
    """A score from 0 to 1 for each candidate. `vectors` has a row for each, zeros for one without a direction.

    Twice: the best of the first time move the query towards what was meant (Rocchio 1971, pseudo-relevance feedback).
    """
    first = fuse(vectors @ query, by_text)
    best = vectors[np.argsort(-first, kind="stable")[:FEEDBACK]]
    moved = query + FEEDBACK_WEIGHT * best.mean(axis=0)
    moved /= max(float(np.linalg.norm(moved)), 1e-9)
    return fuse(vectors @ moved, by_text, vector_weight=FEEDBACK_VECTOR_WEIGHT)


def _stretched(scores: Numbers) -> Numbers:
    """Where all are equal they say nothing: 1, if there is a score at all."""
    low, high = scores.min(), scores.max()
    if high == low:
        return np.full(len(scores), float(high > 0))
    stretched: Numbers = (scores - low) / (high - low)
    return stretched
