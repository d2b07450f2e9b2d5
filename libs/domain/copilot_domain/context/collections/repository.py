"""Rows of collections, unsealed into the domain's types."""

from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from copilot_common.base.errors import NotFound
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Transaction
from copilot_domain.context.access import decode_acl, encode_acl
from copilot_domain.context.repository import BEFORE_ALL, seen_by
from copilot_domain.context.types import Collection, NewCollection

sql = Queries(__package__)


@dataclass(frozen=True, slots=True)
class CollectionRow:
    id: UUID
    user_id: UUID
    name_sealed: bytes
    acl: list[str]
    created_at: datetime
    updated_at: datetime

    def open(self, cipher: TenantCipher) -> Collection:
        return Collection(
            id=self.id,
            name=cipher.open_text(Purpose.COLLECTION_NAME, self.id, self.name_sealed),
            user_id=self.user_id,
            acl=decode_acl(self.acl),
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


class CollectionRepository:
    """Every method runs in the caller's transaction, as its principal."""

    async def insert(self, tx: Transaction, collection_id: UUID, new: NewCollection) -> CollectionRow:
        columns = await _columns(tx, collection_id, new) | {"user_id": tx.principal.acting_user}
        return _present(await tx.fetch_one(CollectionRow, sql["insert_collection"], columns))

    async def update(self, tx: Transaction, collection_id: UUID, new: NewCollection) -> CollectionRow:
        columns = await _columns(tx, collection_id, new)
        return _present(await tx.fetch_one(CollectionRow, sql["update_collection"], columns))

    async def get(self, tx: Transaction, collection_id: UUID, *, for_update: bool = False) -> CollectionRow:
        """Raises NotFound also where it is another tenant's, or not this principal's to see."""
        query = sql["lock_collection"] if for_update else sql["get_collection"]
        return _present(await tx.fetch_one(CollectionRow, query, {"id": collection_id, **seen_by(tx.principal)}))

    async def hold(self, tx: Transaction, collection_id: UUID) -> bool:
        """Nobody deletes it until the transaction ends; False where the principal may not see it."""
        found = await tx.fetch_value(sql["hold_collection"], {"id": collection_id, **seen_by(tx.principal)})
        return found is not None

    async def page(self, tx: Transaction, *, before: UUID | None, offset: int, limit: int) -> list[CollectionRow]:
        params = {"before": before or BEFORE_ALL, "offset": offset, "limit": limit}
        return await tx.fetch_all(CollectionRow, sql["list_collections"], {**params, **seen_by(tx.principal)})

    async def count_seen(self, tx: Transaction) -> int:
        return cast(int, await tx.fetch_value(sql["count_seen_collections"], seen_by(tx.principal)))

    async def count(self, tx: Transaction) -> int:
        """Also those that the principal may not see."""
        return cast(int, await tx.fetch_value(sql["count_collections"], {"tenant_id": tx.principal.tenant_id}))

    async def count_items(self, tx: Transaction, collection_id: UUID, *, up_to: int) -> int:
        """Also those that the principal may not see."""
        params = {**_key(tx, collection_id), "count_limit": up_to}
        return cast(int, await tx.fetch_value(sql["count_items_of"], params))

    async def delete(self, tx: Transaction, collection_id: UUID) -> None:
        await tx.execute(sql["delete_collection"], _key(tx, collection_id))


async def _columns(tx: Transaction, collection_id: UUID, new: NewCollection) -> dict[str, object]:
    sealed = (await tx.cipher()).seal_text(Purpose.COLLECTION_NAME, collection_id, new.name)
    return {**_key(tx, collection_id), "name_sealed": sealed, "acl": encode_acl(new.acl)}


def _key(tx: Transaction, collection_id: UUID) -> dict[str, object]:
    return {"tenant_id": tx.principal.tenant_id, "id": collection_id}


def _present(row: CollectionRow | None) -> CollectionRow:
    if row is None:
        raise NotFound("collection")
    return row
