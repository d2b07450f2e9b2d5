"""What every reranker does, whoever computes it."""

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

PROVIDER: Final = "reranker"
"""In errors."""


class RerankerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """`max_documents` in one call; each of them, and the query, is cut at about `max_tokens`."""

    name: str
    max_documents: int
    max_tokens: int


class Reranker(Protocol):
    """The one interface the adapter and every wrapper around it has."""

    @property
    def spec(self) -> RerankerSpec: ...

    async def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """A score for each text, in order; higher answers the query better. Scores of one call can be compared with
        each other, and with nothing else. Takes up to `spec.max_documents`. Raises ProviderError."""
        ...

    async def aclose(self) -> None: ...
