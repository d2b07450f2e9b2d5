"""What every embedder does, whoever computes it."""

from collections.abc import Sequence
from typing import Protocol


class Embedder(Protocol):
    """Vectors of two texts can be compared only where `name` is the same: it is stored with each of them."""

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    @property
    def max_batch(self) -> int:
        """How many texts `embed` takes at once."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector per text, of length 1; all zeros for a text without meaning to the model. Raises ProviderError."""
        ...
