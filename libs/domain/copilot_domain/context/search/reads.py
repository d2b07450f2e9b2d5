"""What the questions of one transaction read. They are answered side by side, and what they ask for in the same turn of
the event loop is one statement: the round trips of a group are those of a single question."""

from collections.abc import Awaitable, Mapping, Sequence
from itertools import chain
from uuid import UUID

import numpy as np

from copilot_common.platform.coalescing import Coalesced, CoalescedEach
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Transaction
from copilot_domain.context.columns import GUIDE_DIMENSIONS, Uuids, accept_arrays
from copilot_domain.context.search.candidates import Checked, check_candidates
from copilot_domain.context.search.index import OpenIndex
from copilot_domain.context.search.passages import Found
from copilot_domain.context.segments.store import find_postings
from copilot_domain.context.segments.types import Numbers, Postings

_sql = Queries(__package__)


class Reads:
    """Of one index. `vector`: one of the questions', None where they have none."""

    def __init__(self, tx: Transaction, index: OpenIndex, model: str, vector: Numbers | None) -> None:
        self.tx = tx
        self.index = index
        self._model = model
        self._dimensions = GUIDE_DIMENSIONS if vector is None else len(vector)
        self._postings = Coalesced(self._find_postings)
        self._near = CoalescedEach(index.vector_scores)
        self._checked = Coalesced(self._check)
        self._shown = Coalesced(self._show)

    async def text_scores(self, terms: Sequence[int]) -> Numbers:
        """BM25 by place."""
        new = [term for term in terms if term not in self.index.scored_terms]
        found = await self._postings(new) if self.index.stored and new else {}
        return await self.index.text_scores(terms, found)

    def vector_scores(self, vector: Numbers) -> Awaitable[Numbers]:
        """About how near each chunk's vector is, by place; -inf where it is not known. Begins at once."""
        return self._near(vector)

    async def check(self, places: Numbers) -> Checked:
        """Of these places, which rise, those that may be shown."""
        return (await self._checked(places)).of(places)

    async def rows(self, ids: Numbers, scores: Numbers) -> tuple[list[Found], list[float]]:
        """Of these chunks, in their order. What an ingestion has replaced since it was found is left out."""
        known = await self._shown(ids) if len(ids) else {}
        found = [(known[one], score) for one, score in zip(ids.tolist(), scores.tolist(), strict=True) if one in known]
        return [row for row, _ in found], [score for _, score in found]

    async def _find_postings(self, parts: Sequence[Sequence[int]]) -> Mapping[UUID, Mapping[int, Postings]]:
        return await find_postings(self.tx, self.index.stored, list(set(chain.from_iterable(parts))))

    async def _check(self, parts: Sequence[Numbers]) -> Checked:
        places = np.unique(np.concatenate(parts))
        return await check_candidates(self.tx, self.index, places, self._model, self._dimensions)

    async def _show(self, parts: Sequence[Numbers]) -> Mapping[bytes, Found]:
        """By the chunk's id."""
        accept_arrays(self.tx)
        ids = np.array(sorted(set(chain.from_iterable(part.tolist() for part in parts))), "V16")
        params = {"tenant_id": self.tx.principal.tenant_id, "ids": Uuids(ids)}
        rows = await self.tx.fetch_all(Found, _sql["show_chunks"], params)
        return {row.id.bytes: row for row in rows}
