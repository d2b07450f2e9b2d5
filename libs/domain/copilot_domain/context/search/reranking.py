"""The best candidates, put in order once more by a model that reads them together with the query.

What they hold leaves for the reranker that the operator has configured, and only for a search that asks for it. They
are read in the search's transaction and sent after it: none is open while another server is waited for. What says the
same as another one is not sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from loguru import logger

from copilot_common.base.errors import ProviderError
from copilot_common.encryption import TenantCipher
from copilot_common.reranking import Reranker
from copilot_domain.context.search.passages import Assembler, DifferentTexts, Found, shown_text
from copilot_domain.context.segments.types import Numbers
from copilot_domain.context.types import SearchHit, SearchRequest

# A reranker takes a millisecond or more for each, and what is further down rarely belongs among the best ten.
_RERANKED: Final = 50
_LIMIT_SHARE: Final = 2  # of the limit, where that is more: some are near-duplicates or neighbours


@dataclass(frozen=True, slots=True)
class Ranked:
    """Candidates with their rows, the best first, and the key to what they hold."""

    rows: Sequence[Found]
    scores: Sequence[float]
    vectors: Numbers
    cipher: TenantCipher


@dataclass(slots=True)
class Shortlist:
    """Takes chunks of different texts, from the best down, as many as are reranked for `limit` results: only these are
    shown, as only these have its scores."""

    cipher: TenantCipher
    limit: int
    rows: list[Found] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    vectors: list[Numbers] = field(default_factory=list)
    texts: DifferentTexts = field(init=False)

    def __post_init__(self) -> None:
        self.texts = DifferentTexts(self.cipher)

    @property
    def is_full(self) -> bool:
        return len(self.rows) >= self._most

    @property
    def has_enough(self) -> bool:
        """For so many results, though not to choose from."""
        return len(self.rows) >= _LIMIT_SHARE * self.limit

    def needs(self, places: Numbers) -> int:
        return min(self._most, len(places))

    @property
    def _most(self) -> int:
        return max(_RERANKED, _LIMIT_SHARE * self.limit)

    def add_all(self, rows: Sequence[Found], scores: Sequence[float], vectors: Numbers) -> None:
        for place, _ in self.texts.among(rows, vectors):
            self.rows.append(rows[place])
            self.scores.append(scores[place])
            self.vectors.append(vectors[place])
            if self.is_full:
                break

    def ranked(self) -> Ranked:
        vectors = np.stack(self.vectors) if self.vectors else np.empty((0, 0), np.float32)
        return Ranked(self.rows, self.scores, vectors, self.cipher)


async def rerank(reranker: Reranker, query: str, ranked: Ranked) -> tuple[Ranked, bool]:
    """In its order and with its scores, and True; as they were, and False, where it fails. Not within a transaction."""
    rows = ranked.rows[: reranker.spec.max_documents]
    if not rows:
        return ranked, True
    try:
        scores = await reranker.rerank(query, [shown_text(row, ranked.cipher) for row in rows])
    except ProviderError as error:
        logger.bind(error_type=type(error).__name__, status=error.status).warning("Not reranked")
        return ranked, False
    order = sorted(range(len(rows)), key=lambda place: -scores[place])
    in_order = [rows[place] for place in order]
    return Ranked(in_order, [scores[place] for place in order], ranked.vectors[order], ranked.cipher), True


def assemble(ranked: Ranked, request: SearchRequest) -> list[SearchHit]:
    assembler = Assembler(ranked.cipher, limit=request.limit, max_tokens=request.max_tokens)
    assembler.add_all(ranked.rows, ranked.scores, ranked.vectors)
    return assembler.hits()
