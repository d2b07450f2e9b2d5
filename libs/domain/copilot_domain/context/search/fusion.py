"""Two rankings made one."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

VECTOR_WEIGHT: Final = 0.3  # measured with WordLlama on Cranfield (docs/adr/0014): best from 0.2 to 0.4

Scores = Mapping[UUID, float]


def fuse(vectors: Scores, text: Scores, *, vector_weight: float = VECTOR_WEIGHT) -> dict[UUID, float]:
    """The weighted mean of both scores, each stretched to 0…1 over its own ranking; 0 where a ranking lacks the chunk.

    A convex combination, which beats reciprocal ranks where the scores mean something (Bruch, Gai, Ingber 2023).
    """
    near, matching = _stretched(vectors), _stretched(text)
    return {
        chunk: vector_weight * near.get(chunk, 0.0) + (1 - vector_weight) * matching.get(chunk, 0.0)
        for chunk in {**near, **matching}
    }


def _stretched(scores: Scores) -> dict[UUID, float]:
    if not scores:
        return {}
    low, high = min(scores.values()), max(scores.values())
    if high == low:
        return dict.fromkeys(scores, 1.0)
    return {chunk: (score - low) / (high - low) for chunk, score in scores.items()}


def best(scores: Scores, limit: int) -> list[tuple[UUID, float]]:
    """The highest first; by id among equals, so that a repeat gives the same."""
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]
