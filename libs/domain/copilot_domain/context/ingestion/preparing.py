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
from copilot_domain.context.terms import TermHasher, detect
from copilot_domain.documents.types import Piece

_TEXT_HASH_BYTES: Final = 16
_SAMPLES: Final = 8  # texts of a batch that tell its language


@dataclass(frozen=True, slots=True)
class ItemVersion:
    """Which generation of an item is ingested, and by which attempt: the number is what its chunks carry. `is_refresh`:
    only what has changed since is to be cut anew. `models`: of the tenant's index, and of its re-embedding."""

    item_id: UUID
    generation: int
    attempt_id: UUID
    attempt: int
    is_refresh: bool = False
    models: Sequence[str] = ()


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
    text_key = cipher.hash_key(HashPurpose.CONTEXT_CONTENT)
    language = detect(texts[:: len(texts) // _SAMPLES + 1])
    ids = [new_id() for _ in pieces]
    shown = [_shown(piece, text) for piece, text in zip(pieces, texts, strict=True)]
    counted = TermHasher(cipher).count(shown, language)
    return Batch(
        pieces=list(pieces),
        shown=shown,
        ids=ids,
        hashes=[hmac.digest(text_key, text.encode(), "sha256")[:_TEXT_HASH_BYTES] for text in shown],
        headings=[_seal_heading(cipher, chunk_id, piece) for chunk_id, piece in zip(ids, pieces, strict=True)],
        texts=[cipher.seal_text(Purpose.CONTEXT_TEXT, *pair) for pair in zip(ids, texts, strict=True)],
        terms=[ChunkTerms(one, version.item_id, version.attempt, of) for one, of in zip(ids, counted, strict=True)],
        language=language,
    )


def _shown(piece: Piece, text: str) -> str:
    return "\n".join([*piece.heading, text[: piece.end - piece.start]])


def _seal_heading(cipher: TenantCipher, chunk_id: UUID, piece: Piece) -> bytes | None:
    if not piece.heading:
        return None
    return cipher.seal(Purpose.CONTEXT_HEADING, chunk_id, msgspec.json.encode(piece.heading))
