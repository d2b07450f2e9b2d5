"""An Embedder that does what a test tells it."""

import asyncio
from collections.abc import Sequence

import numpy

from copilot_common.base.errors import ProviderError
from copilot_common.embedding import Embedded, EmbedderSpec, Purpose


def spec(*, max_batch: int = 3, max_batch_tokens: int = 1_000, max_input_tokens: int = 1_000) -> EmbedderSpec:
    return EmbedderSpec(
        name="fake-2",
        dimensions=2,
        max_batch=max_batch,
        max_batch_tokens=max_batch_tokens,
        max_input_tokens=max_input_tokens,
    )


def failure(*, status: int = 503, retryable: bool = True, retry_after: float | None = None) -> ProviderError:
    return ProviderError("no", provider="fake", retryable=retryable, status=status, retry_after_seconds=retry_after)


class FakeEmbedder:
    """A text's vector is its length, twice. A batch waits for `gate`, then takes the next of `faults`."""

    def __init__(self, described: EmbedderSpec | None = None, *faults: ProviderError | None) -> None:
        self.spec = described or spec()
        self.batches: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.two_at_once = asyncio.Event()
        self.at_once = self.most_at_once = 0
        self._faults = list(faults)

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        self.batches.append(list(texts))
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        if self.at_once > 1:
            self.two_at_once.set()
        try:
            await asyncio.sleep(0)  # as a request would, it lets others go on
            await self.gate.wait()
            if self._faults and (fault := self._faults.pop(0)) is not None:
                raise fault
            return Embedded(numpy.array([[len(text)] * 2 for text in texts], dtype=numpy.float32), len(texts))
        finally:
            self.at_once -= 1

    async def load(self) -> None: ...

    async def aclose(self) -> None: ...
