"""How large pieces are, and how much neighbours share."""

from typing import Final, Literal

import msgspec

TokenizerName = Literal["wordllama", "estimate"]

# A character is up to four tokens (its bytes): the least in which any structure shows.
_MIN_TOKENS: Final = 32


class ChunkRules(msgspec.Struct, frozen=True, kw_only=True):
    """Both numbers are in tokens of `tokenizer`; ValueError where they make no sense. `overlap_tokens` is the most that
    two neighbours share: whole sentences, of prose only."""

    tokenizer: TokenizerName
    max_tokens: int = 400  # from 300 to 500 the same quality (docs/adr/0014); larger is cheaper
    overlap_tokens: int = 40

    def __post_init__(self) -> None:
        if self.max_tokens < _MIN_TOKENS:
            raise ValueError(f"max_tokens is less than {_MIN_TOKENS}")
        if not 0 <= self.overlap_tokens <= self.max_tokens // 4:
            raise ValueError("overlap_tokens is not between 0 and a quarter of max_tokens")
