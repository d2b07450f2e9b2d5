"""The vectors of chunks that are new, by every model that the tenant's index needs."""

from collections.abc import Mapping
from contextlib import suppress

import numpy as np

from copilot_common.base.errors import ProviderError
from copilot_common.embedding import Embedder
from copilot_common.tenancy import Principal, TenantDatabase
from copilot_domain.context.ingestion.errors import IngestionError, describe
from copilot_domain.context.ingestion.preparing import Batch
from copilot_domain.context.ingestion.writing import find_vectors
from copilot_domain.context.reembedding.embedders import Embedders
from copilot_domain.context.reembedding.indexes import find_index
from copilot_domain.context.segments.types import Numbers


class BatchVectors:
    def __init__(self, db: TenantDatabase, embedders: Embedders) -> None:
        self._db = db
        self._embedders = embedders

    async def embed(self, principal: Principal, batch: Batch) -> dict[str, Numbers]:
        """A row per chunk, by model: what searches use comes first. The next model's are there too where the index is
        being re-embedded, unless its embedder fails: the re-embedding then makes them later.

        Raises IngestionError where the model is not configured here or refuses the texts, ProviderError where another
        try may do it.
        """
        default = self._embedders.default
        async with self._db.transaction(principal) as tx:
            index = await find_index(tx)
            model = index.model if index else default.name
            known = await find_vectors(tx, batch.hashes, default) if model == default.name else None
        try:
            vectors = {model: await self._embed_with(principal, batch, model, known)}
        except ProviderError as error:
            if not error.is_final:
                raise
            raise IngestionError(*describe(error)) from None
        if index and index.next_model:
            with suppress(ProviderError):
                vectors[index.next_model] = await self._embed_with(principal, batch, index.next_model)
        return vectors

    async def _embed_with(
        self, principal: Principal, batch: Batch, model: str, known: dict[bytes, Numbers] | None = None
    ) -> Numbers:
        """`known`: vectors of equal texts, where they have been looked for already."""
        async with self._embedders.use(model) as embedder:
            if known is None:
                async with self._db.transaction(principal) as tx:
                    known = await find_vectors(tx, batch.hashes, embedder.spec)
            texts = dict(zip(batch.hashes, batch.shown, strict=True))
            await embed_missing(embedder, known, texts)
        return np.stack([known[text_hash] for text_hash in batch.hashes])


async def embed_missing(embedder: Embedder, known: dict[bytes, Numbers], texts: Mapping[bytes, str]) -> None:
    """By the texts' hashes. What the tenant has embedded before is not embedded again."""
    missing = {text_hash: text for text_hash, text in texts.items() if text_hash not in known}
    if missing:
        embedded = await embedder.embed(list(missing.values()))
        known.update(zip(missing, embedded.vectors, strict=True))
