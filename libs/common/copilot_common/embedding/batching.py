"""Any number of texts, as batches that a model takes."""

import asyncio
from collections.abc import Iterator, Sequence

import numpy

from copilot_common.embedding.cutting import cut
from copilot_common.embedding.protocol import Embedded, Embedder, EmbedderSpec, Purpose
from copilot_common.llm import estimate_tokens


class Batching:
    """An Embedder that splits its texts for another one, by count and by tokens, and puts the rows together again.

    Up to `concurrency` batches of documents are under way at once, whoever asks; a query never waits behind them. A
    blank text is not sent, and zeros. `cuts` is for a model that refuses texts longer than `spec.max_input_tokens`:
    they are cut there, counted as three bytes each. Local models cut by themselves, exactly.
    """

    def __init__(self, embedder: Embedder, *, concurrency: int, cuts: bool) -> None:
        self._embedder, self._cuts = embedder, cuts
        self._places = asyncio.Semaphore(concurrency)

    @property
    def spec(self) -> EmbedderSpec:
        return self._embedder.spec

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        said = [index for index, text in enumerate(texts) if text.strip()]
        max_tokens = self.spec.max_input_tokens if self._cuts else None
        batches = list(self._split([cut(texts[index], max_tokens) for index in said]))
        parts = await self._embed_all(batches, purpose)
        vectors = numpy.zeros((len(texts), self.spec.dimensions), dtype=numpy.float32)
        if parts:
            vectors[said] = numpy.concatenate([part.vectors for part in parts])
        tokens = sum(part.input_tokens for part in parts)
        return Embedded(vectors, tokens, any(part.estimated for part in parts))

    async def load(self) -> None:
        await self._embedder.load()

    async def aclose(self) -> None:
        await self._embedder.aclose()

    async def _embed_all(self, batches: list[list[str]], purpose: Purpose) -> list[Embedded]:
        if len(batches) == 1:
            return [await self._embed_one(batches[0], purpose)]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._embed_one(batch, purpose)) for batch in batches]
        except ExceptionGroup as failures:
            # The first cancels the others: without its rows theirs are of no use.
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _embed_one(self, batch: list[str], purpose: Purpose) -> Embedded:
        if purpose == "query":
            return await self._embedder.embed(batch, purpose=purpose)
        async with self._places:
            return await self._embedder.embed(batch, purpose=purpose)

    def _split(self, texts: list[str]) -> Iterator[list[str]]:
        batch: list[str] = []
        tokens = 0
        for text in texts:
            count = estimate_tokens(text)
            if batch and (len(batch) >= self.spec.max_batch or tokens + count > self.spec.max_batch_tokens):
                yield batch
                batch, tokens = [], 0
            batch.append(text)
            tokens += count
        if batch:
            yield batch
