"""An item's way into the index: read, cut, embed, and then take the place of what was there before.

An ingestion is one attempt at one generation of its item. Chunks are written batch by batch, unseen; with the last one
the generation is live. Whatever happens meanwhile (the text edited, the item deleted, another process doing the same),
it changes something only while the item is at that generation and that attempt: it may be run again after any crash,
and two at once do no harm.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, Literal, Protocol
from uuid import UUID

from prometheus_client import CollectorRegistry

from copilot_common.base.errors import NotFound
from copilot_common.base.ids import new_id
from copilot_common.blobs import BlobStore
from copilot_common.encryption import DecryptionError
from copilot_common.platform.background import in_background
from copilot_common.queue import Ledger
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_domain.context.ingestion.errors import IngestionError, describe
from copilot_domain.context.ingestion.metrics import IngestionMetrics
from copilot_domain.context.ingestion.preparing import Batch, ItemVersion, prepare
from copilot_domain.context.ingestion.texts import cut_texts, once
from copilot_domain.context.ingestion.writing import (
    ModelSwitched,
    Overtaken,
    Unchanged,
    finish,
    hold,
    keep,
    purge,
    sql,
    version_key,
    write_batch,
)
from copilot_domain.context.jobs import request_merge
from copilot_domain.context.quotas import QuotaExceeded, Quotas
from copilot_domain.context.reembedding.embedders import Embedders
from copilot_domain.context.reembedding.vectors import BatchVectors
from copilot_domain.context.repository import ItemRow
from copilot_domain.context.segments.merging import is_merge_due
from copilot_domain.context.segments.types import Numbers
from copilot_domain.documents.types import Piece
from copilot_domain.webhooks import publish

Outcome = Literal["ready", "failed", "stale"]
Progress = Callable[[int, int], Awaitable[None]]

BATCH: Final = 256
"""Chunks that are embedded and written together: some 300 KB of text, 0.2 s."""


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """Which blob holds an item's text, and where its chunks are in it. `cutting` tells how those were counted and
    sized. `text`: in UTF-8, where it is so small that it need not be read twice."""

    content_id: UUID
    pieces: Sequence[Piece]
    cutting: str
    text: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A batch of a document; `token_count` up to its end."""

    row: ItemRow
    document: ReadDocument
    batch: Batch
    first_number: int
    token_count: int

    @property
    def done(self) -> int:
        return self.first_number - 1 + len(self.batch.pieces)

    @property
    def total(self) -> int:
        return len(self.document.pieces)


@dataclass(frozen=True, slots=True)
class _Begun(ItemRow):
    models: list[str | None]


class Reader(Protocol):
    async def read(self, principal: Principal, item: ItemRow, version: ItemVersion) -> ReadDocument:
        """Raises IngestionError for what will never be read, QuotaExceeded, Overtaken, Unchanged, and what another try
        may mend."""
        ...


class Ingestion:
    """The ingester of a process."""

    def __init__(
        self,
        db: TenantDatabase,
        blobs: BlobStore,
        embedders: Embedders,
        ledger: Ledger,
        reader: Reader,
        quotas: Quotas | None = None,
        metrics: IngestionMetrics | None = None,
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._vectors = BatchVectors(db, embedders)
        self._ledger = ledger
        self._reader = reader
        self._quotas = quotas or Quotas()
        self._metrics = metrics or IngestionMetrics(CollectorRegistry())

    async def ingest(
        self,
        principal: Principal,
        item_id: UUID,
        generation: int,
        *,
        on_progress: Progress | None = None,
        is_refresh: bool = False,
    ) -> Outcome:
        """`stale`: there was nothing to do any more. `failed`: the item says why. What another try may mend (a provider
        or the database being away) is raised and leaves the item `processing`: try again, or give up with `fail`.

        `on_progress` is told how many of how many chunks are embedded. `is_refresh`: chunks stay where nothing has
        changed, and nobody is told.
        """
        version = ItemVersion(item_id, generation, new_id(), 0, is_refresh)
        row, version, is_clean = await self._begin(principal, version)
        if not is_clean:
            await self._purge(principal, version)
        if row is None:
            return "stale"
        try:
            document = await self._reader.read(principal, row, version)
            if not document.pieces:
                raise IngestionError("EMPTY", "There is no text in it.")
            if len(document.pieces) > BATCH:  # else it is known soon enough
                async with self._db.transaction(principal) as tx:
                    await self._quotas.foresee(tx, chunks=len(document.pieces) - row.chunk_count)
            is_ready = await self._index(principal, version, row, document, on_progress)
        except Overtaken:
            return "stale"
        except Unchanged:
            async with self._db.transaction(principal) as tx:
                is_ready = await keep(tx, version)
            return self._ended(is_ready)
        except (IngestionError, QuotaExceeded) as error:
            has_failed = await self._fail(principal, item_id, generation, error, attempt_id=version.attempt_id)
            await self._purge(principal, version)
            return "failed" if has_failed else "stale"
        if is_ready and row.chunk_count:
            await self._purge(principal, version)
        return self._ended(is_ready)

    def _ended(self, is_ready: bool) -> Outcome:
        if not is_ready:
            return "stale"
        self._metrics.ready()
        return "ready"

    async def fail(self, principal: Principal, item_id: UUID, generation: int, error: BaseException) -> None:
        """Give that generation up, with a reason that is safe to show. Nothing happens where the item has moved on."""
        await self._fail(principal, item_id, generation, error, attempt_id=None)

    async def _fail(
        self, principal: Principal, item_id: UUID, generation: int, error: BaseException, *, attempt_id: UUID | None
    ) -> bool:
        """False where the item has moved on, or another attempt than `attempt_id` is at work."""
        code, message = describe(error)
        key = {"tenant_id": principal.tenant_id, "id": item_id, "generation": generation, "attempt_id": attempt_id}
        async with self._db.transaction(principal) as tx:
            has_failed = bool(await tx.execute(sql["fail_ingestion"], {**key, "error_code": code, "error": message}))
            if has_failed:
                await publish(tx, self._ledger, "context.failed", {"item_id": item_id, "code": code})
        if has_failed:
            self._metrics.failed(code)
        return has_failed

    async def _begin(self, principal: Principal, version: ItemVersion) -> tuple[ItemRow | None, ItemVersion, bool]:
        """The item, with the number of this attempt; False: chunks that are not live may be left."""
        async with self._db.transaction(principal) as tx:
            key = version_key(tx, version)
            row = await tx.fetch_one(_Begun, sql["begin_ingestion"], key)
            if row is not None and row.staged_blob_ids:
                for blob_id in row.staged_blob_ids:
                    await self._blobs.delete(tx, blob_id)
                await tx.execute(sql["unstage_blobs"], key)
            if row is not None:
                version = replace(version, attempt=row.attempts, models=[model for model in row.models if model])
            is_first = row is not None and row.attempts == 1
            return row, version, is_first or not await purge(tx, version)

    async def _purge(self, principal: Principal, version: ItemVersion) -> None:
        """What was replaced, or left by an attempt that died."""
        is_more = True
        while is_more:
            async with self._db.transaction(principal) as tx:
                is_more = await purge(tx, version)

    async def _index(
        self,
        principal: Principal,
        version: ItemVersion,
        row: ItemRow,
        document: ReadDocument,
        on_progress: Progress | None,
    ) -> bool:
        """False where the item has moved on."""
        total, done, token_count = len(document.pieces), 0, 0
        cipher = await self._db.cipher(principal)
        async with aclosing(self._texts(principal, document)) as texts:
            for pieces in _batches(document.pieces):
                batch = await in_background(prepare, version, pieces, [await anext(texts) for _ in pieces], cipher)
                token_count += batch.token_count
                work = _Work(row=row, document=document, batch=batch, first_number=done + 1, token_count=token_count)
                if not await self._add_embedded(principal, version, work):
                    return False
                done += len(pieces)
                if on_progress is not None:
                    await on_progress(done, total)
        return True

    async def _add_embedded(self, principal: Principal, version: ItemVersion, work: _Work) -> bool:
        while True:
            vectors = await self._vectors.embed(principal, work.batch)
            try:
                async with self._db.transaction(principal) as tx:
                    return await self._add(tx, version, work, vectors)
            except ModelSwitched:
                continue  # another model's are wanted since

    async def _add(self, tx: Transaction, version: ItemVersion, work: _Work, vectors: Mapping[str, Numbers]) -> bool:
        """With the last batch the generation is live. False where the item has moved on."""
        if not await hold(tx, version):
            return False
        await write_batch(tx, version, work.batch, vectors, first_number=work.first_number)
        await self._note(tx, version, work)
        if work.done == work.total:
            counts = {"chunk_count": work.total, "token_count": work.token_count}
            await finish(tx, version, work.document.content_id, **counts, tokenizer=work.document.cutting)
            if work.row.content_id not in (None, work.document.content_id):
                await self._blobs.delete(tx, work.row.content_id)
            await publish(tx, self._ledger, "context.ready", {"item_id": version.item_id})
            await self._quotas.claim(tx, chunks=work.total - work.row.chunk_count)
        return True

    async def _note(self, tx: Transaction, version: ItemVersion, work: _Work) -> None:
        if work.done < work.total:
            progress = {"done": work.done, "total": work.total}
            await tx.execute_last(sql["note_progress"], {**version_key(tx, version), **progress})
        if await is_merge_due(tx, adding=len(work.batch.pieces)):
            await request_merge(tx, self._ledger, delay=timedelta())

    async def _texts(self, principal: Principal, document: ReadDocument) -> AsyncGenerator[str, None]:
        try:
            content = self._blobs.read(principal, document.content_id) if document.text is None else once(document.text)
            async for text in cut_texts(content, document.pieces):
                yield text
        except NotFound:
            raise IngestionError("CONTENT_MISSING", "Its content is not there.") from None
        except (DecryptionError, ValueError):
            raise IngestionError("CONTENT_UNREADABLE", "Its content cannot be read as text.") from None


def _batches(pieces: Sequence[Piece]) -> Iterator[Sequence[Piece]]:
    for first in range(0, len(pieces), BATCH):
        yield pieces[first : first + BATCH]
