"""Ways to rank the same candidates, and which constants of ours hold on questions they were not chosen by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from bench.retrieval.cranfield import ndcg
from bench.retrieval.rankings import Candidates
from copilot_domain.context.search import fusion
from copilot_domain.context.search.fusion import fuse
from copilot_domain.context.segments.types import Numbers

_RRF = 60  # Cormack, Clarke, Büttcher 2009
_FOLDS = 5


@dataclass(frozen=True)
class Constants:
    """As in `fusion`; `feedback` 0 for none."""

    vector_weight: float
    feedback: int
    feedback_weight: float
    feedback_vector_weight: float


PRODUCT = Constants(fusion.VECTOR_WEIGHT, fusion.FEEDBACK, fusion.FEEDBACK_WEIGHT, fusion.FEEDBACK_VECTOR_WEIGHT)

GRID = [
    *(Constants(weight, 0, 0.0, 0.0) for weight in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)),
    *(
        Constants(*values)
        for values in product(
            (0.2, 0.3, 0.4, 0.5, 0.6), (2, 3, 5, 10), (0.5, 1.0, 1.5), (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
        )
    ),
]

Ranking = Callable[[Candidates], Numbers]
"""A score for each candidate; -inf for one that is not found."""


@dataclass(frozen=True)
class Judged:
    """A question's candidates with the number of the document each is of, and those that answer it."""

    candidates: Candidates
    documents: Numbers
    relevant: frozenset[int]

    def ndcg(self, scores: Numbers) -> float:
        order = np.argsort(-scores, kind="stable")
        ranked = dict.fromkeys(self.documents[order[np.isfinite(scores[order])]].tolist())
        return ndcg(list(ranked), self.relevant)


@dataclass(frozen=True)
class CrossValidated:
    """`ndcg`: chosen on four folds, scored on the fifth; `chosen` are those of each fold, `best` those of all."""

    ndcg: float
    chosen: list[Constants]
    best: Constants
    best_ndcg: float


def by_words(candidates: Candidates) -> Numbers:
    scores: Numbers = np.where(candidates.text_scores > 0, candidates.text_scores, -np.inf)
    return scores


def by_meaning(candidates: Candidates) -> Numbers:
    scores: Numbers = candidates.vectors @ candidates.vector
    return scores


def by_ranks(candidates: Candidates) -> Numbers:
    """Reciprocal rank fusion."""
    return _reciprocal(by_words(candidates)) + _reciprocal(by_meaning(candidates))


def hybrid(constants: Constants) -> Ranking:
    """As `fusion.rank_hybrid`, by any constants."""

    def rank(candidates: Candidates) -> Numbers:
        query, vectors, by_text = candidates.vector, candidates.vectors, candidates.text_scores
        first = fuse(vectors @ query, by_text, vector_weight=constants.vector_weight)
        if not constants.feedback:
            return first
        best = vectors[np.argsort(-first, kind="stable")[: constants.feedback]]
        moved = query + constants.feedback_weight * best.mean(axis=0)
        moved /= max(float(np.linalg.norm(moved)), 1e-9)
        return fuse(vectors @ moved, by_text, vector_weight=constants.feedback_vector_weight)

    return rank


PARTS: Mapping[str, Ranking] = {
    "BM25 alone": by_words,
    "vectors alone": by_meaning,
    f"reciprocal ranks ({_RRF})": by_ranks,
    f"weighted once ({PRODUCT.vector_weight:g})": hybrid(Constants(PRODUCT.vector_weight, 0, 0.0, 0.0)),
    "with feedback, as the product ranks": hybrid(PRODUCT),
}


def mean_ndcg(judged: Sequence[Judged], rank: Ranking) -> float:
    return float(np.mean([one.ndcg(rank(one.candidates)) for one in judged]))


def cross_validate(judged: Sequence[Judged], grid: Sequence[Constants] = GRID) -> CrossValidated:
    """Every fifth question is of one fold."""
    gains = np.array([[one.ndcg(hybrid(constants)(one.candidates)) for one in judged] for constants in grid])
    folds = np.arange(len(judged)) % _FOLDS
    chosen = [int(np.argmax(gains[:, folds != fold].mean(axis=1))) for fold in range(_FOLDS)]
    scored = np.concatenate([gains[choice, folds == fold] for fold, choice in enumerate(chosen)])
    best = int(np.argmax(gains.mean(axis=1)))
    return CrossValidated(
        float(scored.mean()), [grid[choice] for choice in chosen], grid[best], float(gains[best].mean())
    )


def _reciprocal(scores: Numbers) -> Numbers:
    """Ranks count from 1; 0 for what is not found."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return np.where(np.isfinite(scores), 1 / (_RRF + ranks), 0.0)
