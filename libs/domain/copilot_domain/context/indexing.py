"""From an item's content to what a search finds: read, cut, embed, and then replace everything in one transaction.

An ingestion is for one generation of its item. Whatever happens meanwhile (the text edited, the item deleted, another
process doing the same), it changes something only while that generation is the item's and not ready yet: it may be run
again after any crash, and two at once do no harm.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

import msgspec
from pgvector import Vector
from pgvector.psycopg.vector import VectorBinaryDumper

from copilot_common.base.errors import CopilotError, NotFound, ProviderError
from copilot_common.base.ids import new_id
from copilot_common.blobs import BlobStore
from copilot_common.embedding import Embedder
from copilot_common.encryption import DecryptionError, Purpose, TenantCipher
from copilot_common.queue import Ledger
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_domain.context.chunking import split_chunks
from copilot_domain.context.repository import ItemRow, sql
from copilot_domain.context.service import MAX_CONTENT_BYTES
from copilot_domain.context.terms import TermHasher, count_terms
from copilot_domain.context.types import Chunk, ItemType
from copilot_domain.webhooks import publish

Outcome = Literal["ready", "failed", "stale"]
Progress = Callable[[int, int], Awaitable[None]]

_POSTINGS_AT_ONCE = 5_000  # some 100 ms a statement


class IngestionError(CopilotError):
    """The item can't be ingested as it is: trying again would fail again. `reason` and the message go to the user."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass
class Prepared:
    """All rows of one item but the vectors, sealed and hashed."""

    texts: list[str] = field(default_factory=list)
    chunk_ids: list[UUID] = field(default_factory=list)
    chunks: list[dict[str, object]] = field(default_factory=list)
    postings: list[tuple[UUID, int, int, bytes]] = field(default_factory=list)
    token_count: int = 0
    term_count: int = 0


class Ingestion:
    """The ingester of a process."""

    def __init__(self, db: TenantDatabase, blobs: BlobStore, embedder: Embedder, ledger: Ledger) -> None:
        self._db = db
        self._ledger = ledger
        self._blobs = blobs
        self._embedder = embedder

    async def ingest(
        self, principal: Principal, item_id: UUID, generation: int, *, on_progress: Progress | None = None
    ) -> Outcome:
        """`stale`: there was nothing to do any more. `failed`: the item says why. What another try may mend (a provider
        or the database being away) is raised and leaves the item `processing`: try again, or give up with `fail`.

        `on_progress` is told how many of how many chunks are embedded.
        """
        row = await self._begin(principal, item_id, generation)
        if row is None:
            return "stale"
        try:
            text = await self._read(principal, row)
            prepared = await asyncio.to_thread(prepare, item_id, row.type, text, await self._db.cipher(principal))
            if not prepared.chunks:
                raise IngestionError("NO_TEXT", "There is no text in it.")
            vectors = await self._embed(prepared.texts, on_progress)
        except IngestionError as error:
            await self.fail(principal, item_id, generation, error)
            return "failed"
        async with self._db.transaction(principal) as tx:
            if not await _replace(tx, item_id, generation, prepared, vectors, model=self._embedder.name):
                return "stale"
            await publish(tx, self._ledger, "context.ready", {"item_id": item_id})
        return "ready"

    async def fail(self, principal: Principal, item_id: UUID, generation: int, error: BaseException) -> None:
        """Give that generation up, with a reason that is safe to show. Nothing happens where the item has moved on."""
        code, message = describe(error)
        async with self._db.transaction(principal) as tx:
            params = {"error_code": code, "error": message, **_key(tx, item_id, generation)}
            if await tx.execute(sql["fail_ingestion"], params):
                await publish(tx, self._ledger, "context.failed", {"item_id": item_id, "code": code})

    async def _begin(self, principal: Principal, item_id: UUID, generation: int) -> ItemRow | None:
        async with self._db.transaction(principal) as tx:
            return await tx.fetch_one(ItemRow, sql["begin_ingestion"], _key(tx, item_id, generation))

    async def _read(self, principal: Principal, row: ItemRow) -> str:
        if row.content_id is None:
            raise IngestionError("CONTENT_MISSING", "Its content is not there.")
        try:
            data = await self._blobs.read_all(principal, row.content_id, max_bytes=MAX_CONTENT_BYTES)
            return data.decode()
        except NotFound:
            raise IngestionError("CONTENT_MISSING", "Its content is not there.") from None
        except (DecryptionError, UnicodeDecodeError):
            raise IngestionError("CONTENT_UNREADABLE", "Its content cannot be read as text.") from None

    async def _embed(self, texts: Sequence[str], on_progress: Progress | None) -> list[list[float]]:
        vectors: list[list[float]] = []
        for start in range(0, len(texts), self._embedder.max_batch):
            vectors += await self._embedder.embed(texts[start : start + self._embedder.max_batch])
            if on_progress is not None:
                await on_progress(len(vectors), len(texts))
        return vectors


def describe(error: BaseException) -> tuple[str, str]:
    """Code and sentence for the item; a foreign exception's words are never passed on."""
    match error:
        case IngestionError():
            return error.reason, error.message
        case ProviderError():
            return "EMBEDDING_FAILED", "The embedding provider failed."
        case CopilotError():
            return error.code, error.message
        case _:
            return "INTERNAL_ERROR", "Something went wrong here."


def prepare(item_id: UUID, kind: ItemType, text: str, cipher: TenantCipher) -> Prepared:
    """CPU only, 0.1 to 3 s for a million characters: run it in a thread."""
    hasher = TermHasher(cipher)
    prepared = Prepared()
    for chunk in split_chunks(text, kind):
        chunk_id = new_id()
        # A chunk is found by the headings it stands under as well.
        shown = "\n".join([*chunk.heading, chunk.text])
        terms = count_terms(shown)
        length = terms.total()
        prepared.chunk_ids.append(chunk_id)
        prepared.texts.append(shown)
        prepared.chunks.append(_chunk_row(item_id, chunk_id, chunk, cipher))
        prepared.postings += [(chunk_id, times, length, hasher(term)) for term, times in terms.items()]
        prepared.token_count += chunk.token_count
        prepared.term_count += length
    return prepared


def _chunk_row(item_id: UUID, chunk_id: UUID, chunk: Chunk, cipher: TenantCipher) -> dict[str, object]:
    heading = msgspec.json.encode(chunk.heading) if chunk.heading else None
    return {
        "tenant_id": cipher.tenant_id,
        "id": chunk_id,
        "item_id": item_id,
        "number": chunk.number,
        "start_offset": chunk.start,
        "end_offset": chunk.end,
        "token_count": chunk.token_count,
        "heading_sealed": heading and cipher.seal(Purpose.CONTEXT_HEADING, chunk_id, heading),
        "text_sealed": cipher.seal_text(Purpose.CONTEXT_TEXT, chunk_id, chunk.text),
    }


async def _replace(
    tx: Transaction, item_id: UUID, generation: int, prepared: Prepared, vectors: list[list[float]], *, model: str
) -> bool:
    """False where the item has moved on."""
    key = _key(tx, item_id, generation)
    if await tx.fetch_value(sql["lock_generation"], key) is None:
        return False
    await tx.execute(sql["delete_chunks"], key)
    await tx.execute_many(sql["insert_chunk"], prepared.chunks)
    for columns in _posting_columns(prepared.postings):
        await tx.execute(sql["insert_postings"], {**key, **columns})
    accept_vectors(tx)
    embeddings = [
        {**key, "chunk_id": chunk_id, "model": model, "embedding": Vector(vector)}
        for chunk_id, vector in zip(prepared.chunk_ids, vectors, strict=True)
        if any(vector)  # else it has no direction, and is found by its words alone
    ]
    await tx.execute_many(sql["insert_embedding"], embeddings)
    await tx.execute(sql["begin_statistics"], key)
    counts = {
        "chunk_count": len(prepared.chunks),
        "token_count": prepared.token_count,
        "term_count": prepared.term_count,
    }
    await tx.execute(sql["finish_ingestion"], {**key, **counts})
    return True


def accept_vectors(tx: Transaction) -> None:
    """Let the connection send pgvector's `Vector` in binary. The statements cast it, so its type needs no look-up."""
    tx.connection.adapters.register_dumper(Vector, VectorBinaryDumper)


def _posting_columns(postings: list[tuple[UUID, int, int, bytes]]) -> Iterator[dict[str, object]]:
    for start in range(0, len(postings), _POSTINGS_AT_ONCE):
        chunk_ids, tfs, lengths, terms = zip(*postings[start : start + _POSTINGS_AT_ONCE], strict=True)
        yield {"chunk_ids": list(chunk_ids), "tfs": list(tfs), "lengths": list(lengths), "terms": list(terms)}


def _key(tx: Transaction, item_id: UUID, generation: int) -> dict[str, object]:
    return {"tenant_id": tx.principal.tenant_id, "id": item_id, "generation": generation}
