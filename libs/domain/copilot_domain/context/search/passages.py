"""From ranked chunks to the passages that are shown: no text twice, neighbours as one, within the budget."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec

from copilot_common.encryption import Purpose, TenantCipher
from copilot_domain.context.search.duplicates import KeptTexts, Text
from copilot_domain.context.segments.types import Numbers
from copilot_domain.context.types import SearchHit

_MAX_MERGED: Final = 4  # chunks: a passage is for reading, not the document
_SPARE: Final = 2  # chunks are read that likely are one too many: some are near-duplicates

_decode_heading = msgspec.json.Decoder(list[str]).decode


class Found(msgspec.Struct, frozen=True):
    """A chunk that was found. Its sealed text goes on to where the next chunk begins, which is white space."""

    id: UUID
    item_id: UUID
    number: int
    start_offset: int
    end_offset: int
    token_count: int
    page: int | None
    text_hash: bytes
    heading_sealed: bytes | None
    text_sealed: bytes
    name_sealed: bytes
    metadata: dict[str, object]


@dataclass(slots=True, eq=False)
class _Passage:
    """Neighbouring chunks; `best` is the one that was found first."""

    best: Found
    score: float
    chunks: list[Found]
    texts: list[str]

    def touches(self, other: "_Passage") -> bool:
        """Whether they can be shown as one."""
        if len(self.chunks) + len(other.chunks) > _MAX_MERGED:
            return False
        return self._goes_on_to(other) or other._goes_on_to(self)

    def take(self, other: "_Passage") -> None:
        """One that touches it."""
        at = len(self.chunks) if self._goes_on_to(other) else 0
        self.chunks[at:at] = other.chunks
        self.texts[at:at] = other.texts

    def _goes_on_to(self, other: "_Passage") -> bool:
        """Whether the other is next, and the text of the last chunk goes on to where it begins."""
        last, first = self.chunks[-1], other.chunks[0]
        is_next = last.item_id == first.item_id and last.number + 1 == first.number
        return is_next and last.start_offset + len(self.texts[-1]) >= first.start_offset


class DifferentTexts:
    """Opens chunks, and passes over those that say what one before has said."""

    def __init__(self, cipher: TenantCipher) -> None:
        self._cipher = cipher
        self._hashes: set[bytes] = set()
        self._kept = KeptTexts()

    def among(self, rows: Sequence[Found], vectors: Numbers) -> Iterator[tuple[int, str]]:
        """The places of those that are left, and what was sealed in them. `vectors` has a row for each, zeros for
        none."""
        for place, (row, direction) in enumerate(zip(rows, self._kept.directions(vectors), strict=True)):
            if row.text_hash in self._hashes:
                continue
            self._hashes.add(row.text_hash)
            opened = self._cipher.open_text(Purpose.CONTEXT_TEXT, row.id, row.text_sealed)
            text = Text(opened[: row.end_offset - row.start_offset], direction, row.heading_sealed is not None)
            if not self._kept.has_one_like(text):
                self._kept.keep(text)
                yield place, opened


class Assembler:
    """Takes chunks, from the best down, until it has `limit` passages or one does not fit the budget any more."""

    def __init__(self, cipher: TenantCipher, *, limit: int, max_tokens: int | None) -> None:
        self._cipher = cipher
        self._limit = limit
        self._left = max_tokens
        self._passages: list[_Passage] = []
        self._texts = DifferentTexts(cipher)
        self.is_full = False

    @property
    def has_enough(self) -> bool:
        """Another one could only be joined to what it has."""
        return self.is_full or len(self._passages) == self._limit

    def needs(self, places: Numbers) -> int:
        """Until there is one passage too many: what ranks before it may be joined to another. Chunks at places that
        follow one another do so in their item, or begin another one."""
        passages, seen, most = len(self._passages), set[int](), _MAX_MERGED * self._limit
        for count, place in enumerate(places.tolist(), 1):
            passages += 1 - (place - 1 in seen) - (place + 1 in seen)
            seen.add(place)
            if passages > self._limit or count > most:
                return count + _SPARE
        return len(places)

    def add_all(self, rows: Sequence[Found], scores: Sequence[float], vectors: Numbers) -> None:
        """`vectors` as in DifferentTexts."""
        for place, opened in self._texts.among(rows, vectors):
            self._add(rows[place], scores[place], opened)
            if self.is_full:
                break

    def _add(self, chunk: Found, score: float, opened: str) -> None:
        # What was looked for later, among what was left, is not above what came before.
        score = min(score, self._passages[-1].score) if self._passages else score
        found = _Passage(chunk, score, [chunk], [opened])
        better = self._touching(found)
        if not self._fits(chunk, is_new=better is None):
            self.is_full = True
        elif better is None:
            self._passages.append(found)
        else:
            self._join(better, found)

    def _touching(self, passage: _Passage) -> _Passage | None:
        """The best of them."""
        return next((one for one in self._passages if one.touches(passage)), None)

    def _join(self, passage: _Passage, found: _Passage) -> None:
        """What was found may have lain between two passages: all are one, then, and there is room for another."""
        passage.take(found)
        worse = self._touching(passage)
        if worse is not None:
            passage.take(worse)
            self._passages.remove(worse)

    def hits(self) -> list[SearchHit]:
        return [_hit(passage, self._cipher) for passage in self._passages]

    def _fits(self, chunk: Found, *, is_new: bool) -> bool:
        if is_new and len(self._passages) == self._limit:
            return False
        if self._left is not None:
            self._left -= chunk.token_count
        return self._left is None or self._left >= 0


def shown_text(chunk: Found, cipher: TenantCipher) -> str:
    """What of a chunk was embedded: its headings and its text."""
    text = cipher.open_text(Purpose.CONTEXT_TEXT, chunk.id, chunk.text_sealed)
    return "\n".join([*_heading(chunk, cipher), text[: chunk.end_offset - chunk.start_offset]])


def _hit(passage: _Passage, cipher: TenantCipher) -> SearchHit:
    best, first, last = passage.best, passage.chunks[0], passage.chunks[-1]
    return SearchHit(
        item_id=best.item_id,
        chunk_id=best.id,
        name=cipher.open_text(Purpose.CONTEXT_NAME, best.item_id, best.name_sealed),
        text=_joined(passage.chunks, passage.texts),
        score=passage.score,
        start=first.start_offset,
        end=last.end_offset,
        page=first.page,
        heading=_heading(first, cipher),
        metadata=best.metadata,
    )


def _heading(chunk: Found, cipher: TenantCipher) -> list[str]:
    sealed = chunk.heading_sealed
    return _decode_heading(cipher.open(Purpose.CONTEXT_HEADING, chunk.id, sealed)) if sealed else []


def _joined(chunks: Sequence[Found], texts: Sequence[str]) -> str:
    """`content[start:end]` of all of them: each up to where the next one begins."""
    parts = []
    for number, (chunk, text) in enumerate(zip(chunks, texts, strict=True)):
        is_last = number + 1 == len(chunks)
        end = chunk.end_offset if is_last else chunks[number + 1].start_offset
        parts.append(text[: end - chunk.start_offset])
    return "".join(parts)
