"""What is stored of a batch of chunks, but their vectors: sealed, hashed, counted. CPU only: run it in a thread."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import msgspec

from copilot_common.base.ids import new_id
from copilot_common.encryption import HashPurpose, Purpose, TenantCipher
from copilot_domain.context.languages import DEFAULT
from copilot_domain.context.segments.types import ChunkTerms
from copilot_domain.context.terms import TermHasher, count_terms, detect
from copilot_domain.documents.types import Piece

_TEXT_HASH_BYTES: Final = 16
_SAMPLES: Final = 8  # texts of a batch that tell its language


@dataclass(frozen=True, slots=True)
class ItemVersion:
    """Which generation of an item is ingested, and by which attempt: the number is what its chunks carry. `is_refresh`:
    only what has changed since is to be cut anew."""

    item_id: UUID
    generation: int
    attempt_id: UUID
    attempt: int
    is_refresh: bool = False


@dataclass(slots=True)
class Batch:
    """Of some chunks that follow each other. `shown` is what is embedded: a chunk is also found by its headings."""

    pieces: list[Piece] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    ids: list[UUID] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    headings: list[bytes | None] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    terms: list[ChunkTerms] = field(default_factory=list)
    language: str = DEFAULT

    @property
    def token_count(self) -> int:
        return sum(piece.token_count for piece in self.pieces)


def prepare(version: ItemVersion, pieces: Sequence[Piece], texts: Sequence[str], cipher: TenantCipher) -> Batch:
    """`texts` may go on behind their pieces, as `cut_texts` makes them: that part is stored, and nothing else."""
    hash_term = TermHasher(cipher)
    text_key = cipher.hash_key(HashPurpose.CONTEXT_CONTENT)
    language = detect(texts[:: len(texts) // _SAMPLES + 1])
    batch = Batch(pieces=list(pieces), language=language)
    for piece, text in zip(pieces, texts, strict=True):
        chunk_id = new_id()
        shown = "\n".join([*piece.heading, text[: piece.end - piece.start]])
        counted = {hash_term(term): times for term, times in count_terms(shown, language).items()}
        heading = msgspec.json.encode(piece.heading) if piece.heading else None
        batch.shown.append(shown)
        batch.ids.append(chunk_id)
        batch.hashes.append(hmac.digest(text_key, shown.encode(), "sha256")[:_TEXT_HASH_BYTES])
        batch.headings.append(heading and cipher.seal(Purpose.CONTEXT_HEADING, chunk_id, heading))
        batch.texts.append(cipher.seal_text(Purpose.CONTEXT_TEXT, chunk_id, text))
        batch.terms.append(ChunkTerms(chunk_id, version.item_id, version.attempt, counted))
    return batch
