"""Rows of items, unsealed into the domain's types."""

from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from copilot_common.base.errors import NotFound
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Principal, Transaction
from copilot_domain.context.access import decode_acl, encode_acl, identities
from copilot_domain.context.labels import label_hashes
from copilot_domain.context.types import Item, ItemError, ItemFilter, ItemStatus, ItemType, NewItem

sql = Queries(__package__)

BEFORE_ALL = UUID(int=2**128 - 1)
"""The place in a list where it begins, newest first."""


@dataclass(frozen=True, slots=True)
class ItemRow:
    id: UUID
    user_id: UUID
    name_sealed: bytes
    type: ItemType
    status: ItemStatus
    error_code: str | None
    error: str | None
    metadata: dict[str, object]
    acl: list[str]
    content_id: UUID | None
    content_hash: bytes | None
    source_id: UUID | None
    staged_blob_ids: list[UUID]
    media_type: str | None
    size_bytes: int | None
    url_sealed: bytes | None
    validators_sealed: bytes | None
    generation: int
    attempts: int
    refresh_seconds: int | None
    fetched_at: datetime | None
    next_fetch_at: datetime | None
    live_hash: bytes | None
    live_tokenizer: str | None
    live_attempt: int
    chunk_count: int
    token_count: int
    collection_id: UUID | None
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime

    def open(self, cipher: TenantCipher) -> Item:
        return Item(
            id=self.id,
            name=cipher.open_text(Purpose.CONTEXT_NAME, self.id, self.name_sealed),
            type=self.type,
            status=self.status,
            user_id=self.user_id,
            url=cipher.open_text(Purpose.CONTEXT_URL, self.id, self.url_sealed) if self.url_sealed else None,
            media_type=self.media_type,
            size_bytes=self.size_bytes,
            refresh_seconds=self.refresh_seconds,
            fetched_at=self.fetched_at,
            next_fetch_at=self.next_fetch_at,
            token_count=self.token_count,
            chunk_count=self.chunk_count,
            error=ItemError(self.error_code, self.error or "") if self.error_code else None,
            metadata=self.metadata,
            acl=decode_acl(self.acl),
            collection_id=self.collection_id,
            expires_at=self.expires_at,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Which blobs hold an item's text and what it was made of, and the keyed hash of what came in. A text has a source
    while it is to take the place of another one."""

    id: UUID | None = None
    source_id: UUID | None = None
    hash: bytes | None = None
    media_type: str | None = None
    size_bytes: int | None = None


class ContextRepository:
    """Every method runs in the caller's transaction, as its principal."""

    async def insert(self, tx: Transaction, item_id: UUID, new: NewItem, content: Content) -> ItemRow:
        cipher = await tx.cipher()
        columns: dict[str, object] = {
            "user_id": tx.principal.acting_user,
            "type": new.type,
            "source_id": content.source_id,
            "media_type": content.media_type,
            "url_sealed": new.url and cipher.seal_text(Purpose.CONTEXT_URL, item_id, new.url),
            "refresh_seconds": new.refresh_seconds,
            "refresh_user_id": new.refresh_seconds and tx.principal.acting_user,
        }
        return await self._write(tx, "insert_item", item_id, new, content, columns)

    async def update(self, tx: Transaction, item_id: UUID, new: NewItem, content: Content) -> ItemRow:
        """Writes all that may change; `type` stays."""
        return await self._write(tx, "update_item", item_id, new, content, {"source_id": content.source_id})

    async def get(self, tx: Transaction, item_id: UUID, *, for_update: bool = False) -> ItemRow:
        """Raises NotFound also where it is another tenant's, or not this principal's to see."""
        query = sql["lock_item"] if for_update else sql["get_item"]
        return _present(await tx.fetch_one(ItemRow, query, {"id": item_id, **seen_by(tx.principal)}))

    async def lock_expired(self, tx: Transaction, item_id: UUID) -> ItemRow | None:
        """None where it is gone, does not expire any more, or somebody else has it."""
        params = {"tenant_id": tx.principal.tenant_id, "id": item_id}
        return await tx.fetch_one(ItemRow, sql["lock_expired"], params)

    async def page(
        self, tx: Transaction, chosen: ItemFilter, *, before: UUID | None, offset: int, limit: int
    ) -> list[ItemRow]:
        params = {"before": before or BEFORE_ALL, "offset": offset, "limit": limit}
        return await tx.fetch_all(
            ItemRow, sql["list_items"], {**params, **_filter(chosen), **seen_by(tx.principal)}, prepare=False
        )

    async def count(self, tx: Transaction, chosen: ItemFilter, *, up_to: int) -> int:
        params = {"count_limit": up_to, **_filter(chosen), **seen_by(tx.principal)}
        return cast(int, await tx.fetch_value(sql["count_items"], params, prepare=False))

    async def request_ingestion(self, tx: Transaction, item_id: UUID) -> ItemRow:
        params = {"tenant_id": tx.principal.tenant_id, "id": item_id}
        return _present(await tx.fetch_one(ItemRow, sql["request_ingestion"], params))

    async def set_refresh(self, tx: Transaction, item_id: UUID, seconds: int | None) -> None:
        """Of a URL: fetched again every so often, as the transaction's user; None: not any more."""
        user = None if seconds is None else tx.principal.acting_user
        params = {"tenant_id": tx.principal.tenant_id, "id": item_id, "refresh_seconds": seconds}
        await tx.execute(sql["set_refresh"], {**params, "refresh_user_id": user})

    async def label(self, tx: Transaction, row: ItemRow) -> None:
        """What filters find it by, from its metadata."""
        labels = label_hashes(row.metadata, await tx.cipher())
        await tx.execute(sql["set_labels"], {"tenant_id": tx.principal.tenant_id, "id": row.id, "labels": labels})

    async def note_job(self, tx: Transaction, item_id: UUID, job_id: UUID | None) -> None:
        await tx.execute(sql["note_job"], {"tenant_id": tx.principal.tenant_id, "id": item_id, "job_id": job_id})

    async def delete(self, tx: Transaction, item_id: UUID) -> None:
        await tx.execute(sql["delete_item"], {"tenant_id": tx.principal.tenant_id, "id": item_id})

    async def _write(
        self, tx: Transaction, query: str, item_id: UUID, new: NewItem, content: Content, more: dict[str, object]
    ) -> ItemRow:
        cipher = await tx.cipher()
        columns = {
            "tenant_id": tx.principal.tenant_id,
            "id": item_id,
            "name_sealed": cipher.seal_text(Purpose.CONTEXT_NAME, item_id, new.name),
            "metadata": to_jsonb(new.metadata),
            "acl": encode_acl(new.acl),
            "content_id": content.id,
            "content_hash": content.hash,
            "collection_id": new.collection_id,
            "expires_at": new.expires_at,
            "size_bytes": content.size_bytes,
        }
        row = _present(await tx.fetch_one(ItemRow, sql[query], columns | more))
        await self.label(tx, row)
        return row


def seen_by(principal: Principal) -> dict[str, object]:
    """What the queries compare an item's creator and access list with."""
    return {
        "tenant_id": principal.tenant_id,
        "user_id": principal.acting_user,
        "identities": identities(principal),
    }


def to_jsonb(metadata: dict[str, object]) -> Jsonb:
    return Jsonb(metadata, dumps=msgspec.json.encode)


def wanted_metadata(metadata: dict[str, object]) -> Jsonb | None:
    """None where any will do: PostgreSQL would take even `@> '{}'` for something that few rows pass."""
    return to_jsonb(metadata) if metadata else None


def _filter(chosen: ItemFilter) -> dict[str, object]:
    return {
        "type": chosen.type,
        "status": chosen.status,
        "metadata": wanted_metadata(chosen.metadata),
        "collection_id": chosen.collection_id,
    }


def _present(row: ItemRow | None) -> ItemRow:
    if row is None:
        raise NotFound("context item")
    return row
