"""What the questions of one transaction read. They are answered side by side, and what they ask for in the same turn of
the event loop is one statement: the round trips of a group are those of a single question. No read is two: what nobody
waits for any more must end before its transaction does."""

from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TypeAlias

import numpy as np

from copilot_common.platform.coalescing import Coalesced, CoalescedEach
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Principal, Transaction
from copilot_domain.context.columns import Uuids, accept_arrays
from copilot_domain.context.search.candidates import Checked, check_candidates, check_rights
from copilot_domain.context.search.index import OpenIndex
from copilot_domain.context.search.passages import Found
from copilot_domain.context.search.ranking import Ranking
from copilot_domain.context.segments.store import find_postings
from copilot_domain.context.segments.types import Numbers, SpreadPostings

_sql = Queries(__package__)

PostingsOfTerms: TypeAlias = Mapping[int, SpreadPostings]
"""By term, of the index's stored segments."""


class Reads:
    """Of one index."""

    def __init__(self, tx: Transaction, index: OpenIndex, model: str) -> None:
        self.tx = tx
        self.index = index
        # Nothing here holds what holds it: half a million scores must not wait for the garbage collector.
        self._postings = Coalesced(partial(_find_postings, tx, index))
        self._near = CoalescedEach(index.vector_scores)
        self._live = Coalesced(partial(_check_live, tx, index, model))
        self._check_rights = partial(_check_rights, tx, index)
        self._rights: dict[Principal, Coalesced[Numbers, Numbers]] = {}
        self._shown = Coalesced(partial(_show, tx))

    def postings(self, terms: Sequence[int]) -> Awaitable[PostingsOfTerms]:
        """Of the stored segments the posting lists of those terms that are not scored yet. Asked for at once."""
        return self._postings.begin(self.index.unscored(terms))[0]

    def vector_scores(self, vector: Numbers) -> Awaitable[Numbers]:
        """How near each chunk's vector is, by place; UNKNOWN where that is not known. Begins at once."""
        return self._near(vector)

    async def check(self, principal: Principal, places: Numbers) -> Checked:
        """Of these places, which rise, those that are live and that the principal may see. What not everybody may see
        is asked for by a statement for each principal, with nobody's rights but his own."""
        live = (await self._live(places)).of(places)
        closed = live.places[~live.are_open]
        if not len(closed):
            return live
        rights = self._rights.get(principal)
        if rights is None:
            rights = self._rights[principal] = Coalesced(partial(self._check_rights, principal))
        return live.at(live.are_open | np.isin(live.places, await rights(closed)))

    async def rows(self, ranking: Ranking) -> tuple[list[Found], list[float], Numbers]:
        """Of these chunks, in their order: rows, scores, vectors. What an ingestion has replaced since it was found is
        left out."""
        known = await self._shown(ranking.ids) if ranking.size else {}
        ids = ranking.ids.tolist()
        there = [place for place, one in enumerate(ids) if one in known]
        return [known[ids[place]] for place in there], ranking.scores[there].tolist(), ranking.vectors[there]


async def _find_postings(tx: Transaction, index: OpenIndex, parts: Sequence[Sequence[int]]) -> PostingsOfTerms:
    terms = list(dict.fromkeys(chain.from_iterable(parts)))
    found = await find_postings(tx, index.stored, terms) if index.stored and terms else {}
    await index.score_together(terms, found)
    return found


async def _check_live(tx: Transaction, index: OpenIndex, model: str, parts: Sequence[Numbers]) -> Checked:
    return await check_candidates(tx, index, _together(parts), model)


async def _check_rights(tx: Transaction, index: OpenIndex, principal: Principal, parts: Sequence[Numbers]) -> Numbers:
    return await check_rights(tx, principal, index, _together(parts))


def _together(parts: Sequence[Numbers]) -> Numbers:
    """Places that rise."""
    return np.unique(np.concatenate(parts))


async def _show(tx: Transaction, parts: Sequence[Numbers]) -> Mapping[bytes, Found]:
    """By the chunk's id."""
    accept_arrays(tx)
    ids = np.array(sorted(set(chain.from_iterable(part.tolist() for part in parts))), "V16")
    rows = await tx.fetch_all(Found, _sql["show_chunks"], {"tenant_id": tx.principal.tenant_id, "ids": Uuids(ids)})
    return {row.id.bytes: row for row in rows}
