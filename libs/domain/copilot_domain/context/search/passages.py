"""From ranked chunks to the passages that are shown: no text twice, neighbours as one, within the budget."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import msgspec

from copilot_common.encryption import Purpose, TenantCipher
from copilot_domain.context.types import SearchHit

_MAX_MERGED: Final = 4  # chunks: a passage is for reading, not the document
_SAME_SHARE: Final = 0.9  # of the words of two texts in common: they are one text to a reader

_decode_heading = msgspec.json.Decoder(list[str]).decode


@dataclass(frozen=True, slots=True)
class Found:
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


@dataclass(slots=True)
class _Passage:
    """Neighbouring chunks; `best` is the one that was found first."""

    best: Found
    score: float
    chunks: list[Found] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    token_count: int = 0

    def touches(self, other: Found) -> bool:
        first, last = self.chunks[0], self.chunks[-1]
        return (
            other.item_id == self.best.item_id
            and len(self.chunks) < _MAX_MERGED
            and (other.number == last.number + 1 or other.number == first.number - 1)
        )

    def add(self, chunk: Found, text: str) -> None:
        at_end = not self.chunks or chunk.number > self.chunks[-1].number
        place = len(self.chunks) if at_end else 0
        self.chunks.insert(place, chunk)
        self.texts.insert(place, text)
        self.token_count += chunk.token_count


def assemble(
    ranked: Sequence[tuple[Found, float]], cipher: TenantCipher, *, limit: int, max_tokens: int | None
) -> list[SearchHit]:
    """At most `limit` passages, from the best down, until one does not fit the budget any more."""
    passages: list[_Passage] = []
    seen: list[frozenset[str]] = []
    hashes: set[bytes] = set()
    left = max_tokens
    for chunk, score in ranked:
        text = cipher.open_text(Purpose.CONTEXT_TEXT, chunk.id, chunk.text_sealed)
        words = frozenset(text[: chunk.end_offset - chunk.start_offset].split())
        if chunk.text_hash in hashes or any(_is_same(words, other) for other in seen):
            continue
        neighbour = next((passage for passage in passages if passage.touches(chunk)), None)
        if neighbour is None and len(passages) == limit:
            break
        if left is not None and (left := left - chunk.token_count) < 0:
            break
        hashes.add(chunk.text_hash)
        seen.append(words)
        if neighbour is None:
            neighbour = _Passage(chunk, score)
            passages.append(neighbour)
        neighbour.add(chunk, text)
    return [_hit(passage, cipher) for passage in passages]


def _is_same(one: frozenset[str], other: frozenset[str]) -> bool:
    fewer, more = sorted((len(one), len(other)))
    return fewer >= _SAME_SHARE * more and len(one & other) >= _SAME_SHARE * len(one | other)


def _hit(passage: _Passage, cipher: TenantCipher) -> SearchHit:
    best, first, last = passage.best, passage.chunks[0], passage.chunks[-1]
    heading = first.heading_sealed
    return SearchHit(
        item_id=best.item_id,
        chunk_id=best.id,
        name=cipher.open_text(Purpose.CONTEXT_NAME, best.item_id, best.name_sealed),
        text=_joined(passage.chunks, passage.texts),
        score=passage.score,
        start=first.start_offset,
        end=last.end_offset,
        page=first.page,
        heading=_decode_heading(cipher.open(Purpose.CONTEXT_HEADING, first.id, heading)) if heading else [],
        metadata=best.metadata,
    )


def _joined(chunks: Sequence[Found], texts: Sequence[str]) -> str:
    """`content[start:end]` of all of them: each up to where the next one begins."""
    parts = []
    for number, (chunk, text) in enumerate(zip(chunks, texts, strict=True)):
        is_last = number + 1 == len(chunks)
        end = chunk.end_offset if is_last else chunks[number + 1].start_offset
        parts.append(text[: end - chunk.start_offset])
    return "".join(parts)
