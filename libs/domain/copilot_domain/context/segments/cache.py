"""What searches read again and again of segments, which never change: kept in memory, up to a number of bytes.

A tenant's segments are asked for by the ids that its own transaction has listed, so one tenant is never served what is
another's.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from copilot_common.tenancy import Transaction
from copilot_domain.context.segments.codes import Codes
from copilot_domain.context.segments.store import load_codes, load_segments
from copilot_domain.context.segments.types import Layout, PostingLists

CACHE_BYTES: Final = 128 * 1024 * 1024
"""Some 500 000 chunks with vectors of 256 components: what is left of 400 MB beside the model and the libraries."""

_ENTRY_BYTES: Final = 1_000  # of Python's objects around the arrays

Known = tuple[Layout, PostingLists | None]


class SegmentCache:
    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._entries: OrderedDict[tuple[UUID, str], tuple[object, int]] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    async def segments(self, tx: Transaction, ids: Sequence[UUID]) -> dict[UUID, Known]:
        """Those of the ids that are still there."""
        known: dict[UUID, Known] = {}
        for one in ids:
            if isinstance(entry := self._get(one, ""), tuple):
                known[one] = entry
        missing = [one for one in ids if one not in known]
        if missing:
            for one, loaded in (await load_segments(tx, missing)).items():
                known[one] = loaded
                layout, fresh = loaded
                self._put(one, "", loaded, layout.memory_bytes + (fresh.memory_bytes if fresh else 0))
        return known

    async def codes(self, tx: Transaction, sizes: dict[UUID, int], model: str) -> dict[UUID, Codes]:
        """Of `sizes` (chunks by segment) those that have codes of that model."""
        known: dict[UUID, Codes] = {}
        for one in sizes:
            if isinstance(entry := self._get(one, model), Codes):
                known[one] = entry
        missing = [one for one in sizes if one not in known]
        if missing:
            for one, data in (await load_codes(tx, missing, model)).items():
                codes = known[one] = Codes.decode(data, sizes[one])
                self._put(one, model, codes, codes.memory_bytes)
        return known

    def _get(self, segment_id: UUID, what: str) -> object:
        entry = self._entries.get((segment_id, what))
        if entry is None:
            return None
        self._entries.move_to_end((segment_id, what))
        return entry[0]

    def _put(self, segment_id: UUID, what: str, value: object, size_bytes: int) -> None:
        size_bytes += _ENTRY_BYTES
        before = self._entries.pop((segment_id, what), None)
        self._size_bytes += size_bytes - (before[1] if before else 0)
        self._entries[segment_id, what] = value, size_bytes
        while self._size_bytes > self._max_bytes and self._entries:
            _, (_, freed) = self._entries.popitem(last=False)
            self._size_bytes -= freed
