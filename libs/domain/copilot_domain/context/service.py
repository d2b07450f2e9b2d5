"""What a principal can do with items, except searching in them.

Seeing is for the creator and whom the access list names (everybody where it is empty), and also its collection's list
where it is in one. Changing is for the creator and, of what they see, for the tenant's admins. What may not be seen, or
has expired, does not exist (NotFound).
"""

import hmac
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from msgspec import UNSET

from copilot_common.base.errors import Conflict, EgressRefused, Forbidden, InvalidInput
from copilot_common.base.ids import new_id
from copilot_common.blobs import BlobInfo, BlobStore, OpenBlob
from copilot_common.encryption import HashPurpose
from copilot_common.platform.egress.rules import EgressRules
from copilot_common.queue import Ledger
from copilot_common.tenancy import Principal, Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.context.access import check_acl
from copilot_domain.context.collections.repository import CollectionRepository
from copilot_domain.context.jobs import request_ingestion, request_merge
from copilot_domain.context.quotas import ContextUsage, Quotas
from copilot_domain.context.repository import Content, ContextRepository, ItemRow
from copilot_domain.context.types import Item, ItemChanges, ItemFilter, NewItem
from copilot_domain.metadata import check_metadata
from copilot_domain.pagination import EXACT_TOTAL, Page, PageRequest, page


@dataclass(frozen=True)
class Stored:
    """Bytes of an item that a principal may read, and what they are called."""

    blob_id: UUID
    name: str
    media_type: str | None


class ContextService:
    """Each method that takes a transaction is one step of it; the caller commits."""

    def __init__(
        self,
        repository: ContextRepository,
        blobs: BlobStore,
        ledger: Ledger,
        rules: EgressRules | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        """`rules` are what URLs are checked by before anybody fetches them; by default only public ones will do."""
        self._repository = repository
        self._collections = CollectionRepository()
        self._ledger = ledger
        self._blobs = blobs
        self._rules = rules or EgressRules()
        self._quotas = quotas or Quotas()

    async def usage(self, tx: Transaction) -> ContextUsage:
        """What the tenant has in its context, and what it may have."""
        return await self._quotas.usage(tx)

    async def foresee(self, tx: Transaction, *, size_bytes: int) -> None:
        """Before a file is received. Raises QuotaExceeded where it would not fit."""
        await self._quotas.foresee(tx, items=1, size_bytes=size_bytes)

    async def create(self, tx: Transaction, new: NewItem) -> Item:
        """Stored and to be ingested; a URL is fetched by the ingestion. Raises InvalidInput, QuotaExceeded."""
        check_item(new)
        if new.url is not None:
            self._check_url(new.url)
        content = Content() if new.content is None else await self._put_content(tx, new.content)
        item = await self._insert(tx, new, content)
        await self._quotas.claim(tx, items=1, size_bytes=content.size_bytes or 0)
        return item

    async def create_file(self, tx: Transaction, new: NewItem, source: BlobInfo, media_type: str) -> Item:
        """Its bytes are a blob already. After the last one of a transaction comes `claim`. Raises InvalidInput."""
        check_item(new)
        content = Content(
            source_id=source.blob_id,
            hash=await _keyed_hash(tx, source.sha256),
            media_type=media_type,
            size_bytes=source.size_bytes,
        )
        return await self._insert(tx, new, content)

    async def claim(self, tx: Transaction, *, items: int, size_bytes: int) -> None:
        """That so much altogether is created in this transaction. Raises QuotaExceeded."""
        await self._quotas.claim(tx, items=items, size_bytes=size_bytes)

    async def _insert(self, tx: Transaction, new: NewItem, content: Content) -> Item:
        _check_expiry(new.expires_at)
        await self._check_collection(tx, new.collection_id)
        item_id = new_id()
        row = await self._repository.insert(tx, item_id, new, content)
        row = await request_ingestion(tx, self._ledger, row, is_bulk=new.is_bulk)
        await record_audit(tx, "context.created", item_id, details={"type": new.type})
        return row.open(await tx.cipher())

    async def get(self, tx: Transaction, item_id: UUID) -> Item:
        row = await self._repository.get(tx, item_id)
        return row.open(await tx.cipher())

    async def list(self, tx: Transaction, chosen: ItemFilter, request: PageRequest) -> Page[Item]:
        """The newest first."""
        check_metadata(chosen.metadata)
        cipher = await tx.cipher()
        rows = await self._repository.page(
            tx, chosen, before=request.position(UUID), offset=request.offset, limit=request.fetch
        )
        counted = await self._repository.count(tx, chosen, up_to=EXACT_TOTAL + 1)
        return page(request, rows, key=lambda row: row.id, item=lambda row: row.open(cipher), counted=counted)

    async def content(self, tx: Transaction, item_id: UUID, *, original: bool = False) -> Stored:
        """Its text, or the bytes that it came as, for `open` after the transaction. Raises Conflict while there are
        none."""
        row = await self._repository.get(tx, item_id)
        is_source = original and row.type in {"file", "url"}
        blob_id = row.source_id if is_source else row.content_id
        if blob_id is None:
            what = "has not been fetched" if is_source else "has no text"
            raise Conflict(f"This item {what}; its status is {row.status}.", details={"status": row.status})
        return Stored(blob_id, row.open(await tx.cipher()).name, row.media_type)

    async def open(self, principal: Principal, stored: Stored) -> OpenBlob:
        """Its first piece has been read, so that what cannot be read is known before anything is answered."""
        return await self._blobs.open(principal, stored.blob_id)

    async def update(self, tx: Transaction, item_id: UUID, changes: ItemChanges) -> Item:
        """Another content is ingested anew, and is there once it is found; the same one again is not. Raises
        InvalidInput, Forbidden and QuotaExceeded."""
        row = await self._changeable(tx, item_id)
        old = row.open(await tx.cipher())
        new = NewItem(
            name=old.name if changes.name is None else changes.name,
            type=old.type,
            content=changes.content,
            refresh_seconds=old.refresh_seconds if changes.refresh_seconds is UNSET else changes.refresh_seconds,
            metadata=old.metadata if changes.metadata is None else changes.metadata,
            acl=tuple(old.acl) if changes.acl is None else changes.acl,
            collection_id=old.collection_id if changes.collection_id is UNSET else changes.collection_id,
            expires_at=old.expires_at if changes.expires_at is UNSET else changes.expires_at,
        )
        check_item(new)
        if new.expires_at != old.expires_at:
            _check_expiry(new.expires_at)
        if new.collection_id != old.collection_id:
            await self._check_collection(tx, new.collection_id)
        if changes.refresh_seconds is not UNSET:
            await self._repository.set_refresh(tx, item_id, changes.refresh_seconds)
        updated = await self._repository.update(tx, item_id, new, await self._content(tx, row, changes.content))
        if (updated.content_id, updated.source_id) != (row.content_id, row.source_id):
            updated = await request_ingestion(tx, self._ledger, updated)
        await self._quotas.claim(tx, size_bytes=(updated.size_bytes or 0) - (row.size_bytes or 0))
        await record_audit(tx, "context.updated", item_id, details={"fields": ", ".join(changes.named)})
        return updated.open(await tx.cipher())

    async def delete(self, tx: Transaction, item_id: UUID) -> None:
        await self._delete(tx, await self._changeable(tx, item_id))
        await record_audit(tx, "context.deleted", item_id)

    async def expire(self, tx: Transaction, item_id: UUID) -> bool:
        """Delete it if it has expired, as the product, for whatever principal. False where there was nothing to do."""
        row = await self._repository.lock_expired(tx, item_id)
        if row is None:
            return False
        await self._delete(tx, row)
        await record_audit(tx, "context.expired", item_id)
        return True

    async def _delete(self, tx: Transaction, row: ItemRow) -> None:
        await self._repository.delete(tx, row.id)
        for blob_id in {row.content_id, row.source_id, *row.staged_blob_ids}:
            if blob_id is not None:
                await self._blobs.delete(tx, blob_id)
        if row.chunk_count:
            await request_merge(tx, self._ledger)

    async def reindex(self, tx: Transaction, item_id: UUID) -> Item:
        row = await request_ingestion(tx, self._ledger, await self._changeable(tx, item_id))
        await self._repository.label(tx, row)  # an item from before there were labels has none
        await record_audit(tx, "context.reindexed", item_id)
        return row.open(await tx.cipher())

    def _check_url(self, url: str) -> None:
        try:
            self._rules.check_url(url)
        except EgressRefused as error:
            raise InvalidInput({"url": error.message}) from None

    async def _check_collection(self, tx: Transaction, collection_id: UUID | None) -> None:
        if collection_id is not None and not await self._collections.hold(tx, collection_id):
            raise InvalidInput({"collection_id": "is no collection that you may see"})

    async def _changeable(self, tx: Transaction, item_id: UUID) -> ItemRow:
        row = await self._repository.get(tx, item_id, for_update=True)
        if row.user_id != tx.principal.user_id and "admin" not in tx.principal.scopes:
            raise Forbidden("Only its creator or an admin may change this item.")
        return row

    async def _content(self, tx: Transaction, row: ItemRow, text: str | None) -> Content:
        """Another text takes the place of the one before when its chunks do; what is found is its text until then."""
        if text is not None and row.type in {"file", "url"}:
            raise InvalidInput({"content": f"of a {row.type} is what was read from it"})
        same = Content(id=row.content_id, source_id=row.source_id, hash=row.content_hash, size_bytes=row.size_bytes)
        if text is None or hmac.compare_digest(await _keyed_hash(tx, text.encode()), row.content_hash or b""):
            return same
        is_found = row.live_attempt > 0
        replaced = row.source_id if is_found else row.content_id  # a text that was never found goes at once
        if replaced is not None:
            await self._blobs.delete(tx, replaced)
        following = await self._put_content(tx, text)
        return replace(following, id=row.content_id, source_id=following.id) if is_found else following

    async def _put_content(self, tx: Transaction, text: str) -> Content:
        data, content_id = text.encode(), new_id()
        await self._blobs.put(tx, content_id, data)
        return Content(id=content_id, hash=await _keyed_hash(tx, data), size_bytes=len(data))


async def _keyed_hash(tx: Transaction, data: bytes) -> bytes:
    return hmac.digest((await tx.cipher()).hash_key(HashPurpose.CONTEXT_CONTENT), data, "sha256")


def check_item(new: NewItem) -> None:
    """What its shape does not say of it. Raises InvalidInput."""
    check_metadata(new.metadata)
    if new.refresh_seconds is not None and new.type != "url":
        raise InvalidInput({"refresh_seconds": f"does not go with the type {new.type}"})
    check_acl(new.acl)


def _check_expiry(moment: datetime | None) -> None:
    """Not part of `check_item`: a repeat of a request comes later, and is answered as the first one was."""
    if moment is None:
        return
    try:
        is_ahead = moment.astimezone(UTC) > datetime.now(UTC)
    except OverflowError:  # in UTC it is before the year 1 or after 9999, which PostgreSQL's answer could not say
        is_ahead = False
    if not is_ahead:
        raise InvalidInput({"expires_at": "must be in the future, and before the year 10000"})
