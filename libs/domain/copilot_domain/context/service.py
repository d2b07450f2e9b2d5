"""What a principal can do with items, except searching in them.

Seeing is for the creator and whom the access list names (everybody where it is empty). Changing is for the creator and,
of what they see, for the tenant's admins. What may not be seen does not exist (NotFound).
"""

import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import UUID

from copilot_common.base.errors import Conflict, EgressRefused, Forbidden, InvalidInput
from copilot_common.base.ids import new_id
from copilot_common.blobs import BlobInfo, BlobStore
from copilot_common.encryption import HashPurpose
from copilot_common.platform.egress.rules import EgressRules
from copilot_common.queue import Ledger
from copilot_common.tenancy import Principal, Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.context.jobs import request_ingestion, request_merge
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


@dataclass(frozen=True)
class Opened:
    """Read `pieces` once; each is read when it is asked for."""

    size_bytes: int
    pieces: AsyncIterator[bytes] = field(repr=False)


class ContextService:
    """Each method that takes a transaction is one step of it; the caller commits."""

    def __init__(
        self, repository: ContextRepository, blobs: BlobStore, ledger: Ledger, rules: EgressRules | None = None
    ) -> None:
        """`rules` are what URLs are checked by before anybody fetches them; by default only public ones will do."""
        self._repository = repository
        self._ledger = ledger
        self._blobs = blobs
        self._rules = rules or EgressRules()

    async def create(self, tx: Transaction, new: NewItem) -> Item:
        """Stored and to be ingested; a URL is fetched by the ingestion. Raises InvalidInput."""
        check_item(new)
        if new.url is not None:
            self._check_url(new.url)
        content = Content() if new.content is None else await self._put_content(tx, new.content)
        return await self._insert(tx, new, content)

    async def create_file(self, tx: Transaction, new: NewItem, source: BlobInfo, media_type: str) -> Item:
        """Its bytes are a blob already. Raises InvalidInput."""
        check_item(new)
        content = Content(
            source_id=source.blob_id,
            hash=await _keyed_hash(tx, source.sha256),
            media_type=media_type,
            size_bytes=source.size_bytes,
        )
        return await self._insert(tx, new, content)

    async def _insert(self, tx: Transaction, new: NewItem, content: Content) -> Item:
        item_id = new_id()
        row = await self._repository.insert(tx, item_id, new, content)
        row = await request_ingestion(tx, self._ledger, row)
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

    async def open(self, principal: Principal, stored: Stored) -> Opened:
        """Its first piece has been read, so that what cannot be read is known before anything is answered."""
        info = await self._blobs.find(principal, stored.blob_id)
        pieces = self._blobs.read(principal, stored.blob_id)
        return Opened(info.size_bytes, _after(await anext(pieces, b""), pieces))

    async def update(self, tx: Transaction, item_id: UUID, changes: ItemChanges) -> Item:
        """Another content is ingested anew, and is there once it is found; the same one again is not. Raises
        InvalidInput, Forbidden."""
        row = await self._changeable(tx, item_id)
        old = row.open(await tx.cipher())
        new = NewItem(
            name=old.name if changes.name is None else changes.name,
            type=old.type,
            content=changes.content,
            metadata=old.metadata if changes.metadata is None else changes.metadata,
            acl=tuple(old.acl) if changes.acl is None else changes.acl,
        )
        check_item(new)
        updated = await self._repository.update(tx, item_id, new, await self._content(tx, row, changes.content))
        if (updated.content_id, updated.source_id) != (row.content_id, row.source_id):
            updated = await request_ingestion(tx, self._ledger, updated)
        fields = [name for name in ItemChanges.__struct_fields__ if getattr(changes, name) is not None]
        await record_audit(tx, "context.updated", item_id, details={"fields": ", ".join(fields)})
        return updated.open(await tx.cipher())

    async def delete(self, tx: Transaction, item_id: UUID) -> None:
        row = await self._changeable(tx, item_id)
        await self._repository.delete(tx, item_id)
        for blob_id in {row.content_id, row.source_id, *row.staged_blob_ids}:
            if blob_id is not None:
                await self._blobs.delete(tx, blob_id)
        if row.chunk_count:
            await request_merge(tx, self._ledger)
        await record_audit(tx, "context.deleted", item_id)

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

    async def _changeable(self, tx: Transaction, item_id: UUID) -> ItemRow:
        row = await self._repository.get(tx, item_id, for_update=True)
        if row.user_id != tx.principal.user_id and "admin" not in tx.principal.scopes:
            raise Forbidden("Only its creator or an admin may change this item.")
        return row

    async def _content(self, tx: Transaction, row: ItemRow, text: str | None) -> Content:
        """Another text takes the place of the one before when its chunks do; what is found is its text until then."""
        if text is not None and row.type in {"file", "url"}:
            raise InvalidInput({"content": f"of a {row.type} is what was read from it"})
        same = Content(id=row.content_id, source_id=row.source_id, hash=row.content_hash)
        if text is None or hmac.compare_digest(await _keyed_hash(tx, text.encode()), row.content_hash or b""):
            return same
        is_found = row.live_attempt > 0
        replaced = row.source_id if is_found else row.content_id  # a text that was never found goes at once
        if replaced is not None:
            await self._blobs.delete(tx, replaced)
        following = await self._put_content(tx, text)
        return Content(id=row.content_id, source_id=following.id, hash=following.hash) if is_found else following

    async def _put_content(self, tx: Transaction, text: str) -> Content:
        data, content_id = text.encode(), new_id()
        await self._blobs.put(tx, content_id, data)
        return Content(id=content_id, hash=await _keyed_hash(tx, data))


async def _keyed_hash(tx: Transaction, data: bytes) -> bytes:
    return hmac.digest((await tx.cipher()).hash_key(HashPurpose.CONTEXT_CONTENT), data, "sha256")


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def check_item(new: NewItem) -> None:
    """What its shape does not say of it. Raises InvalidInput."""
    check_metadata(new.metadata)
    for number, entry in enumerate(new.acl):
        if (entry.user_id is None) == (entry.role is None):
            raise InvalidInput({f"acl[{number}]": "must have either user_id or role"})
