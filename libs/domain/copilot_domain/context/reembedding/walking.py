"""The job that makes the next model's vectors, segment by segment, and then switches to it.

A segment that has codes of the next model is done: whoever goes on after a crash begins with the others, and reuses the
vectors that are stored. What is ingested meanwhile has them already, as a rule; what a merge makes of segments of which
not all were done is done again, from stored vectors. The switch is made in a transaction that sees that nothing is
missing, and in which nobody else writes.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec
import numpy as np
from pgvector import Vector

from copilot_common.embedding import Embedder
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.platform.background import in_background
from copilot_common.queue import Job, Ledger, NewJob, complete, note_progress
from copilot_common.tenancy import TenantDatabase, Transaction
from copilot_domain.context.columns import GUIDE_DIMENSIONS, accept_arrays
from copilot_domain.context.ingestion.writing import find_vectors
from copilot_domain.context.jobs import FORGET_MODEL, ForgetModel, Reembed
from copilot_domain.context.reembedding.embedders import Embedders
from copilot_domain.context.reembedding.indexes import lock_index, sql
from copilot_domain.context.reembedding.service import FORGET_AFTER
from copilot_domain.context.reembedding.vectors import embed_missing
from copilot_domain.context.segments.codes import encode_vectors
from copilot_domain.context.segments.store import load_segments
from copilot_domain.context.segments.types import Numbers, to_uuid

_BATCH: Final = 256  # chunks: some 300 KB of text
_KEPT_AFTER_FAILURE: Final = timedelta(days=1)  # whoever mends the cause pays for no vector twice
_PAUSE_SECONDS: Final = 0.05  # until a chunk that is being deleted is gone

_decode_heading = msgspec.json.Decoder(list[str]).decode


class _NotWanted(Exception):
    """The re-embedding was ended, or is another job's."""


@dataclass(frozen=True, slots=True)
class _Missing:
    id: UUID
    chunk_count: int


@dataclass(frozen=True, slots=True)
class _Chunk:
    id: UUID
    text_hash: bytes
    heading_sealed: bytes | None
    text_sealed: bytes
    length: int

    def shown(self, cipher: TenantCipher) -> str:
        """What is embedded of it, as its ingestion has prepared it."""
        heading: list[str] = []
        if self.heading_sealed is not None:
            heading = _decode_heading(cipher.open(Purpose.CONTEXT_HEADING, self.id, self.heading_sealed))
        text = cipher.open_text(Purpose.CONTEXT_TEXT, self.id, self.text_sealed)
        return "\n".join([*heading, text[: self.length]])


@dataclass(frozen=True, slots=True)
class _Id:
    id: UUID


class Reembedder:
    """The re-embedder of a process."""

    def __init__(self, db: TenantDatabase, embedders: Embedders, ledger: Ledger) -> None:
        self._db = db
        self._embedders = embedders
        self._ledger = ledger

    async def reembed(self, job: Job[Reembed]) -> None:
        """Until the tenant's searches use the job's model, or the re-embedding is not wanted any more. Raises
        ModelUnavailable, ProviderError, JobLost."""
        async with self._embedders.use(job.payload.model) as embedder:
            walk = _Walk(self._db, embedder, job)
            try:
                while not await self._switch(walk):
                    for segment in await walk.find_missing():
                        await walk.fill(segment)
            except _NotWanted:
                return

    async def fail(self, job: Job[Reembed], code: str, text: str) -> None:
        """Searches stay with the model they have; the index says why. `text` is shown."""
        async with self._db.transaction(job.principal) as tx:
            params = {"tenant_id": job.tenant_id, "model": job.payload.model, "code": code, "error": text}
            if await tx.execute(sql["give_up_reembedding"], params):
                await self._forget(tx, job.payload.model, _KEPT_AFTER_FAILURE)

    async def _switch(self, walk: "_Walk") -> bool:
        """False where something is missing."""
        if await walk.find_missing():
            return False
        async with self._db.transaction(walk.job.principal) as tx:
            before = await lock_index(tx)
            await walk.note(tx)
            if before is None or await walk.missing(tx):
                return False
            await tx.execute(sql["switch_model"], {"tenant_id": walk.job.tenant_id})
            await self._forget(tx, before.model, FORGET_AFTER)
            await complete(tx, walk.job)
        return True

    async def _forget(self, tx: Transaction, model: str, delay: timedelta) -> None:
        await self._ledger.enqueue(tx, NewJob(type=FORGET_MODEL, payload=ForgetModel(model), delay=delay))


class _Walk:
    def __init__(self, db: TenantDatabase, embedder: Embedder, job: Job[Reembed]) -> None:
        self.job = job
        self._db = db
        self._embedder = embedder
        self._model = embedder.spec.name
        self._done = self._total = 0

    async def find_missing(self) -> Sequence[_Missing]:
        async with self._db.transaction(self.job.principal) as tx:
            missing = await self.missing(tx)
            total = await tx.fetch_value(sql["count_chunks"], {"tenant_id": self.job.tenant_id})
        self._total = int(str(total))
        self._done = self._total - sum(segment.chunk_count for segment in missing)
        return missing

    async def missing(self, tx: Transaction) -> Sequence[_Missing]:
        return await tx.fetch_all(_Missing, sql["find_missing"], self._key())

    async def fill(self, segment: _Missing) -> None:
        """The vectors of its chunks, batch by batch, then its codes. A chunk that is no more has none."""
        async with self._db.transaction(self.job.principal) as tx:
            loaded = await load_segments(tx, [segment.id])
        if segment.id not in loaded:
            return  # merged meanwhile
        ids = [to_uuid(chunk_id) for chunk_id in loaded[segment.id][0].chunk_ids]
        codes: list[Numbers] = []
        for first in range(0, len(ids), _BATCH):
            vectors = await self._fill_batch(ids[first : first + _BATCH])
            codes.append(encode_vectors(vectors))
        async with self._transaction() as tx:
            data = np.concatenate(codes).tobytes()
            await tx.execute(sql["fill_codes"], {**self._key(), "id": segment.id, "codes": data})

    async def note(self, tx: Transaction) -> None:
        """First in a transaction that writes. The index's row comes before the job's, as where both are begun."""
        params = {**self._key(), "job_id": self.job.id, "done": self._done, "total": self._total}
        if not await tx.execute(sql["note_reembedding"], params):
            raise _NotWanted
        await note_progress(tx, self.job)

    async def _fill_batch(self, ids: Sequence[UUID]) -> Numbers:
        """A row per id."""
        while True:
            async with self._db.transaction(self.job.principal) as tx:
                chunks = await tx.fetch_all(_Chunk, sql["read_chunks"], {**self._key(), "ids": list(ids)})
                known = await find_vectors(tx, [chunk.text_hash for chunk in chunks], self._embedder.spec)
                cipher = await tx.cipher()
            unknown = [chunk for chunk in chunks if chunk.text_hash not in known]
            texts = await in_background(_texts, unknown, cipher)
            await embed_missing(self._embedder, known, texts)
            vectors = {chunk.id: known[chunk.text_hash] for chunk in chunks}
            if await self._write(vectors):
                break
            await asyncio.sleep(_PAUSE_SECONDS)
        self._done = min(self._done + len(ids), self._total)
        nothing = np.zeros(self._embedder.spec.dimensions, np.float32)
        return np.stack([vectors.get(chunk_id, nothing) for chunk_id in ids])

    async def _write(self, vectors: dict[UUID, Numbers]) -> bool:
        """False where one of the chunks is being deleted: whether it will be gone is not known yet."""
        is_guides = self._embedder.spec.dimensions == GUIDE_DIMENSIONS
        async with self._transaction() as tx:
            params = {**self._key(), "ids": list(vectors)}
            staying = {row.id for row in await tx.fetch_all(_Id, sql["lock_chunks"], params)}
            accept_arrays(tx)
            rows = [
                {**self._key(), "chunk_id": chunk_id, "embedding": Vector(vectors[chunk_id])}
                for chunk_id in sorted(staying)
                if vectors[chunk_id].any()  # else it is found by its words alone
            ]
            await tx.execute_many(sql["fill_embedding" if is_guides else "fill_wide_embedding"], rows)
            present = await tx.fetch_all(_Id, sql["find_chunks"], params)
            return all(row.id in staying for row in present)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Transaction]:
        async with self._db.transaction(self.job.principal) as tx:
            await self.note(tx)
            yield tx

    def _key(self) -> dict[str, object]:
        return {"tenant_id": self.job.tenant_id, "model": self._model}


def _texts(chunks: Sequence[_Chunk], cipher: TenantCipher) -> dict[bytes, str]:
    return {chunk.text_hash: chunk.shown(cipher) for chunk in chunks}
