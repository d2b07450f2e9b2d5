"""What searches need again and again of segments, which never change: kept in memory, up to a number of bytes.

A tenant's segments are asked for by the ids that its own transaction has listed, so one tenant is never served what is
another's.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final
from uuid import UUID

from copilot_common.tenancy import Transaction
from copilot_domain.context.segments.bm25 import TermScores
from copilot_domain.context.segments.codes import Codes
from copilot_domain.context.segments.kept import ENTRY_BYTES, Kept
from copilot_domain.context.segments.read_vectors import SegmentVectors, vector_bytes
from copilot_domain.context.segments.store import load_codes, load_segments
from copilot_domain.context.segments.types import Layout, PostingLists

CACHE_BYTES: Final = 128 * 1024 * 1024
"""Some 500 000 chunks with vectors of 256 components: with the two below what is left of 400 MB beside the model and
the libraries."""
SCORES_BYTES: Final = 16 * 1024 * 1024
"""Six for each time that a chunk has a term, eight in tenants of more than 65 536 chunks. They drive out nothing that
takes longer to have again."""
VECTORS_BYTES: Final = 32 * 1024 * 1024
"""Some 64 000 of 256 components."""

_DIGEST_BYTES: Final = 16
_SCORES_ENTRY_BYTES: Final = 600  # 560, measured: as much as the scores of most words

Known = tuple[Layout, PostingLists | None]


class KnownTerms:
    """What terms add to the scores of chunks, where a search of the same segments has computed it: how rare a term is
    and how long chunks are is that of all of them together."""

    def __init__(self, segments: Sequence[UUID], kept: Kept[tuple[bytes, int], TermScores]) -> None:
        ids = b"".join(one.bytes for one in segments)
        self._segments = blake2b(ids, digest_size=_DIGEST_BYTES).digest()
        self._kept = kept

    def get(self, term: int) -> TermScores | None:
        return self._kept.get((self._segments, term))

    def put(self, term: int, scores: TermScores) -> None:
        self._kept.put((self._segments, term), scores, scores.memory_bytes)


class SegmentCache:
    def __init__(
        self,
        max_bytes: int = CACHE_BYTES,
        max_scores_bytes: int = SCORES_BYTES,
        max_vectors_bytes: int = VECTORS_BYTES,
    ) -> None:
        self._kept: Kept[tuple[UUID, str], object] = Kept(max_bytes)
        self._scores: Kept[tuple[bytes, int], TermScores] = Kept(max_scores_bytes, entry_bytes=_SCORES_ENTRY_BYTES)
        self._vectors: Kept[UUID, SegmentVectors] = Kept(max_vectors_bytes)

    @property
    def size_bytes(self) -> int:
        return self._kept.size_bytes + self._scores.size_bytes + self._vectors.size_bytes

    async def segments(self, tx: Transaction, ids: Sequence[UUID]) -> dict[UUID, Known]:
        """Those of the ids that are still there."""
        known: dict[UUID, Known] = {}
        for one in ids:
            if isinstance(entry := self._kept.get((one, "")), tuple):
                known[one] = entry
        missing = [one for one in ids if one not in known]
        if missing:
            for one, loaded in (await load_segments(tx, missing)).items():
                known[one] = loaded
                layout, fresh = loaded
                self._kept.put((one, ""), loaded, layout.memory_bytes + (fresh.memory_bytes if fresh else 0))
        return known

    async def codes(self, tx: Transaction, sizes: dict[UUID, int], model: str) -> dict[UUID, Codes]:
        """Of `sizes` (chunks by segment) those that have codes of that model."""
        known: dict[UUID, Codes] = {}
        for one in sizes:
            if isinstance(entry := self._kept.get((one, model)), Codes):
                known[one] = entry
        missing = [one for one in sizes if one not in known]
        if missing:
            for one, data in (await load_codes(tx, missing, model)).items():
                codes = known[one] = Codes.decode(data, sizes[one])
                self._kept.put((one, model), codes, codes.memory_bytes)
        return known

    def terms(self, ids: Sequence[UUID]) -> KnownTerms:
        """Of these segments together, in this order."""
        return KnownTerms(ids, self._scores)

    def vectors(self, sizes: Mapping[UUID, int], model: str, dimensions: int) -> list[SegmentVectors] | None:
        """Of `sizes` (chunks by segment), to be added to as they are read. None where there would not be room for all:
        these segments would drive one another out with every search."""
        if sum(ENTRY_BYTES + size * vector_bytes(dimensions) for size in sizes.values()) > self._vectors.max_bytes:
            return None
        return [self._vectors_of(one, size, model, dimensions) for one, size in sizes.items()]

    def _vectors_of(self, segment_id: UUID, size: int, model: str, dimensions: int) -> SegmentVectors:
        known = self._vectors.get(segment_id)
        # Those of another model are not needed any more, and one day may be made anew under its name.
        if known is None or (known.model, known.dimensions) != (model, dimensions):
            known = SegmentVectors(size, model, dimensions)
        self._vectors.put(segment_id, known, known.memory_bytes)  # with what the search before has added
        return known
