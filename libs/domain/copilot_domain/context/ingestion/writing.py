"""The rows of a batch of chunks, and the moment they take the place of those before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from copilot_common.embedding import EmbedderSpec
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Transaction
from copilot_domain.context.columns import GUIDE_DIMENSIONS, Uuids, accept_arrays, decode_vector, reals
from copilot_domain.context.ingestion.preparing import Batch, ItemVersion
from copilot_domain.context.reembedding.indexes import hold_index
from copilot_domain.context.segments.store import add_fresh
from copilot_domain.context.segments.store import sql as segments_sql
from copilot_domain.context.segments.types import Numbers, ids_array

sql = Queries(__package__)

_PURGED_AT_ONCE: Final = 1_000  # chunks with their embeddings: some 50 ms


class Overtaken(Exception):
    """The item has moved on, or another attempt has: this one has nothing more to do."""


class Unchanged(Exception):
    """What was fetched again is what the item's chunks were cut from: they are to stay."""


class ModelSwitched(Exception):
    """The tenant's index has another model than the vectors have: they are to be made anew."""


@dataclass(frozen=True, slots=True)
class _KnownVector:
    text_hash: bytes
    embedding: bytes


def version_key(tx: Transaction, version: ItemVersion) -> dict[str, object]:
    return {
        "tenant_id": tx.principal.tenant_id,
        "id": version.item_id,
        "generation": version.generation,
        "attempt": version.attempt,
        "attempt_id": version.attempt_id,
    }


async def hold(tx: Transaction, version: ItemVersion) -> bool:
    """Nobody else changes the item until the transaction ends. False where it has moved on, or another attempt has."""
    return await tx.fetch_value(sql["hold_attempt"], version_key(tx, version)) is not None


async def find_vectors(tx: Transaction, hashes: Sequence[bytes], embedder: EmbedderSpec) -> dict[bytes, Numbers]:
    """Those of texts that are embedded already."""
    query = sql["find_vectors"] if embedder.dimensions == GUIDE_DIMENSIONS else sql["find_wide_vectors"]
    params = {"tenant_id": tx.principal.tenant_id, "hashes": list(hashes), "model": embedder.name}
    rows = await tx.fetch_all(_KnownVector, query, params)
    return {row.text_hash: decode_vector(row.embedding) for row in rows}


async def write_batch(
    tx: Transaction, version: ItemVersion, batch: Batch, vectors: Mapping[str, Numbers], *, first_number: int
) -> None:
    """After `hold`; the rows go with the transaction's end. `vectors`: by model, a row per chunk, zeros for one without
    a direction; a new index is of the first model. Raises ModelSwitched."""
    key = version_key(tx, version)
    index = await hold_index(tx)
    if index is None:
        await tx.execute(segments_sql["begin_index"], {**key, "model": next(iter(vectors))})
        index = await hold_index(tx)
    if index is None or index.model not in vectors:
        raise ModelSwitched
    wanted = {model: matrix for model, matrix in vectors.items() if model in {index.model, index.next_model}}
    columns = {
        "ids": batch.ids,
        "numbers": list(range(first_number, first_number + len(batch.ids))),
        "starts": [piece.start for piece in batch.pieces],
        "ends": [piece.end for piece in batch.pieces],
        "token_counts": [piece.token_count for piece in batch.pieces],
        "pages": [piece.page for piece in batch.pieces],
        "hashes": batch.hashes,
        "headings": batch.headings,
        "texts": batch.texts,
    }
    await tx.execute_last(sql["insert_chunks"], {**key, **columns})
    for model, matrix in wanted.items():
        await _write_vectors(tx, batch.ids, matrix, model)
    await add_fresh(tx, batch.terms, wanted, [batch.language])


async def finish(
    tx: Transaction, version: ItemVersion, content_id: UUID, *, chunk_count: int, token_count: int, tokenizer: str
) -> None:
    """After `hold`, with the end of the last batch's transaction."""
    key = version_key(tx, version)
    counts = {"chunk_count": chunk_count, "token_count": token_count, "tokenizer": tokenizer}
    await tx.execute_last(sql["finish_ingestion"], {**key, **counts, "content_id": content_id})


async def keep(tx: Transaction, version: ItemVersion) -> bool:
    """The item is as it was. False where it has moved on, or another attempt has."""
    return await hold(tx, version) and bool(await tx.execute(sql["keep_chunks"], version_key(tx, version)))


async def purge(tx: Transaction, version: ItemVersion) -> bool:
    """Delete some chunks that are not live, which are dead in their segments then; True where there may be more."""
    params = {**version_key(tx, version), "limit": _PURGED_AT_ONCE}
    count = await tx.execute(sql["purge_chunks"], params)
    if count:
        await tx.execute(segments_sql["count_dead"], {**params, "count": count})
    return count == _PURGED_AT_ONCE


async def _write_vectors(tx: Transaction, ids: Sequence[UUID], vectors: Numbers, model: str) -> None:
    """A chunk without a direction has none: it is found by its words alone."""
    dimensions = vectors.shape[1]
    query = sql["insert_embeddings" if dimensions == GUIDE_DIMENSIONS else "insert_wide_embeddings"]
    has_direction = vectors.any(axis=1)
    params = {
        "tenant_id": tx.principal.tenant_id,
        "model": model,
        "ids": Uuids(ids_array(ids)[has_direction]),
        "numbers": reals(vectors[has_direction]),
        "dimensions": dimensions,
    }
    accept_arrays(tx)
    await tx.execute_last(query, params)
