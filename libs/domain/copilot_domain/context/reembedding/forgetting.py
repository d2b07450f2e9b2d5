"""The vectors of a model that an index has left: deleted in batches, a while after the last search used them."""

from typing import Final, LiteralString
from uuid import UUID

from copilot_common.queue import Job, note_progress
from copilot_common.tenancy import TenantDatabase
from copilot_domain.context.jobs import ForgetModel
from copilot_domain.context.reembedding.indexes import IndexModels, hold_index, lock_index, sql

_SEGMENTS_AT_ONCE: Final = 20  # codes of up to 2 MB each, with 256 dimensions
_VECTORS_AT_ONCE: Final = 2_000  # some 50 ms
_FIRST: Final = UUID(int=0)


class ModelForgetter:
    """Codes first, while no merge copies them: where a segment has codes of a model, its chunks have its vectors."""

    def __init__(self, db: TenantDatabase) -> None:
        self._db = db

    async def forget(self, job: Job[ForgetModel]) -> None:
        """Stops where the index has come back to that model. Raises JobLost."""
        if await self._forget_codes(job):
            for query in (sql["forget_embeddings"], sql["forget_wide_embeddings"]):
                await self._forget_vectors(job, query)

    async def _forget_codes(self, job: Job[ForgetModel]) -> bool:
        count = _SEGMENTS_AT_ONCE
        while count == _SEGMENTS_AT_ONCE:
            async with self._db.transaction(job.principal) as tx:
                if _uses(await lock_index(tx), job.payload.model):
                    return False
                await note_progress(tx, job)
                params = {"tenant_id": job.tenant_id, "model": job.payload.model, "limit": _SEGMENTS_AT_ONCE}
                count = await tx.execute(sql["forget_codes"], params)
        return True

    async def _forget_vectors(self, job: Job[ForgetModel], query: LiteralString) -> None:
        after: object = _FIRST
        while after is not None:
            async with self._db.transaction(job.principal) as tx:
                if _uses(await hold_index(tx), job.payload.model):
                    return
                await note_progress(tx, job)
                params = {"tenant_id": job.tenant_id, "model": job.payload.model, "limit": _VECTORS_AT_ONCE}
                after = await tx.fetch_value(query, {**params, "after": after})


def _uses(index: IndexModels | None, model: str) -> bool:
    """It stays so until the transaction ends: who begins a re-embedding waits for the index's row."""
    return index is not None and model in {index.model, index.next_model}
