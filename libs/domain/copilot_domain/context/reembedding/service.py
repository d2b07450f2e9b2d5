"""What an admin can do with the tenant's index: look at it, and have it re-embedded with another model."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import msgspec

from copilot_common.base.errors import Conflict, InvalidInput
from copilot_common.platform.sql import Queries
from copilot_common.queue import Ledger, NewJob
from copilot_common.tenancy import Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.context.jobs import FORGET_MODEL, REEMBED, ForgetModel, Reembed
from copilot_domain.context.reembedding.indexes import lock_index, sql
from copilot_domain.context.types import ItemError

_segments_sql = Queries("copilot_domain.context.segments")  # its modules bring numpy

FORGET_AFTER: Final = timedelta(minutes=1)
"""Longer than a search takes that began with the model before."""


class IndexState(msgspec.Struct, frozen=True, kw_only=True):
    """`model` is what searches use. While `next_model` is there, `done` of `total` chunks have its vectors.
    `error` says why the last re-embedding came to nothing, or stands still."""

    model: str
    next_model: str | None = None
    done: int = 0
    total: int = 0
    error: ItemError | None = None
    chunk_count: int = 0
    segments: int = 0


@dataclass(frozen=True, slots=True)
class _Row:
    model: str
    next_model: str | None
    done: int
    total: int
    error_code: str | None
    error: str | None
    chunk_count: int
    segments: int


class IndexService:
    """Each method is one step of the caller's transaction. `stored_name` leads from a model's name to what its vectors
    are stored under, None where there can be none; `default` is that of EMBEDDING_MODEL."""

    def __init__(self, ledger: Ledger, default: str, stored_name: Callable[[str], str | None]) -> None:
        self._ledger = ledger
        self._default = default
        self._stored_name = stored_name

    async def show(self, tx: Transaction) -> IndexState:
        row = await tx.fetch_one(_Row, sql["show_index"], {"tenant_id": tx.principal.tenant_id})
        if row is None:
            return IndexState(model=self._default)
        return IndexState(
            model=row.model,
            next_model=row.next_model,
            done=row.done,
            total=row.total,
            error=ItemError(row.error_code, row.error or "") if row.error_code else None,
            chunk_count=row.chunk_count,
            segments=row.segments,
        )

    async def reembed(self, tx: Transaction, model: str) -> IndexState:
        """Asks for it; again while it is under way changes nothing. The model that the index has ends a re-embedding
        that is under way. Raises InvalidInput for a name that no embedder can have, Conflict for the model that the
        index has, or while it is re-embedded with a third one."""
        wanted = self._stored_name(model)
        if wanted is None:
            raise InvalidInput(
                {"model": "names no embedding model; give provider/model@dimensions for one of your own"}
            )
        key = {"tenant_id": tx.principal.tenant_id}
        await tx.execute(_segments_sql["begin_index"], {**key, "model": self._default})
        index = await lock_index(tx)
        current, under_way = (index.model, index.next_model) if index else (self._default, None)
        if wanted == current:
            await self._end(tx, under_way)
        elif under_way not in {None, wanted}:
            raise Conflict("The index is being re-embedded with another model.", details={"next_model": under_way})
        elif under_way is None or not await tx.fetch_value(sql["has_live_job"], key):
            job_id = await self._ledger.enqueue(tx, NewJob(type=REEMBED, payload=Reembed(wanted)))
            await tx.execute(sql["start_reembedding"], {**key, "model": wanted, "job_id": job_id})
        state = await self.show(tx)
        await record_audit(tx, "context.reembed_requested", None, details={"model": wanted})
        return state

    async def _end(self, tx: Transaction, under_way: str | None) -> None:
        if under_way is None:
            raise Conflict("The index has this model already.")
        params = {"tenant_id": tx.principal.tenant_id, "model": under_way, "code": None, "error": None}
        await tx.execute(sql["give_up_reembedding"], params)
        payload = ForgetModel(under_way)
        await self._ledger.enqueue(tx, NewJob(type=FORGET_MODEL, payload=payload, delay=FORGET_AFTER))
