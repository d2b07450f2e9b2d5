"""A tenant's row of context_indexes, as those read it who write vectors."""

from dataclasses import dataclass

from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Transaction

sql = Queries(__package__)


@dataclass(frozen=True, slots=True)
class IndexModels:
    """What searches use, and what a re-embedding is making vectors of."""

    model: str
    next_model: str | None


async def find_index(tx: Transaction) -> IndexModels | None:
    """None for a tenant that never had an item."""
    return await tx.fetch_one(IndexModels, sql["find_index"], {"tenant_id": tx.principal.tenant_id})


async def hold_index(tx: Transaction) -> IndexModels | None:
    """From here on no model changes until the transaction ends. Does not wait for merges, nor they for it."""
    return await tx.fetch_one(IndexModels, sql["hold_index"], {"tenant_id": tx.principal.tenant_id})


async def lock_index(tx: Transaction) -> IndexModels | None:
    """From here on nobody else writes vectors or merges until the transaction ends."""
    return await tx.fetch_one(IndexModels, sql["lock_index"], {"tenant_id": tx.principal.tenant_id})
