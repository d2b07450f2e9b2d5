"""What every embedder does, whoever computes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import msgspec

from copilot_common.llm import Prices

if TYPE_CHECKING:  # numpy is only in processes that embed
    import numpy
    from numpy.typing import NDArray

Purpose = Literal["query", "document"]
"""What a text is embedded for: many models place a question near its answers only when told which of the two it is."""

TokenCounter = Literal["wordllama", "estimate"]

Vectors: TypeAlias = "NDArray[numpy.float32]"
"""n × d, a row per text: of length 1, or all zeros for a text without meaning to the model."""


class EmbedderSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors of two texts can be compared only where `name` is the same: it is stored with each of them, and names
    provider, model and dimensions. Longer texts than `max_input_tokens` are cut there. `tokenizer` counts for whoever
    cuts chunks: into `chunk_tokens` at most, where longer ones would not be read to their end, and `shown_tokens` with
    the headings above them. `prices` is None where nothing is paid, or nothing known.
    """

    name: str
    dimensions: int
    max_batch: int
    max_batch_tokens: int
    max_input_tokens: int
    tokenizer: TokenCounter = "estimate"
    chunk_tokens: int | None = None
    prices: Prices | None = None

    @property
    def shown_tokens(self) -> int | None:
        # What the catalogue's share of a chunk leaves, and about what MiniLM's longer tokens do.
        return None if self.chunk_tokens is None else self.chunk_tokens * 6 // 5


@dataclass(frozen=True, slots=True)
class Embedded:
    """`input_tokens` are those the provider counted (or we estimated for it), and 0 where nobody is to be paid."""

    vectors: Vectors
    input_tokens: int = 0
    estimated: bool = False


class Embedder(Protocol):
    """The one interface every adapter and every wrapper around it has."""

    @property
    def spec(self) -> EmbedderSpec: ...

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        """One row per text, in order. An adapter takes up to `spec.max_batch` texts, what `build_embedder` returns any
        number of them. Raises ProviderError."""
        ...

    async def load(self) -> None:
        """Whatever takes time before the first text, now."""
        ...

    async def aclose(self) -> None: ...
