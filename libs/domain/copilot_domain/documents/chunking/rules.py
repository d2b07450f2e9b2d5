"""How large pieces are, and how much neighbours share."""

from typing import Final, Literal

import msgspec

from copilot_domain.documents.types import MAX_CHUNK_TOKENS

TokenizerName = Literal["wordllama", "estimate"]

# A character is up to four tokens (its bytes): the least in which any structure shows.
_MIN_TOKENS: Final = 32
_OVERLAP: Final = 10  # as many parts of a piece as one is shared


class ChunkRules(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers are in tokens of `tokenizer`; ValueError where they make no sense. `overlap_tokens` is the most that two
    neighbours share: whole sentences, of prose only. `shown_tokens` is the most that a piece has with its headings,
    each a line above it; None: as many as there are."""

    tokenizer: TokenizerName
    max_tokens: int = MAX_CHUNK_TOKENS
    overlap_tokens: int = MAX_CHUNK_TOKENS // _OVERLAP
    shown_tokens: int | None = None

    @classmethod
    def of_size(cls, tokenizer: TokenizerName, max_tokens: int, shown_tokens: int | None = None) -> "ChunkRules":
        """With the usual overlap, and the least size where that is less."""
        size = max(max_tokens, _MIN_TOKENS)
        shown = None if shown_tokens is None else max(shown_tokens, size)
        return cls(tokenizer=tokenizer, max_tokens=size, overlap_tokens=size // _OVERLAP, shown_tokens=shown)

    def __post_init__(self) -> None:
        if self.max_tokens < _MIN_TOKENS:
            raise ValueError(f"max_tokens is less than {_MIN_TOKENS}")
        if not 0 <= self.overlap_tokens <= self.max_tokens // 4:
            raise ValueError("overlap_tokens is not between 0 and a quarter of max_tokens")
        if self.shown_tokens is not None and self.shown_tokens < self.max_tokens:
            raise ValueError("shown_tokens is less than max_tokens")
