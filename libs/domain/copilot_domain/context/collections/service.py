"""What a principal can do with collections.

Seeing is for the creator and whom the access list names (everybody where it is empty), changing for the creator and, of
what they see, for the tenant's admins. Whoever sees a collection may put items into it. What is in it is seen by the
item's creator, and by those whom both lists let see it; who may see an item is looked up with each statement, so that a
change of the list holds at once (docs/adr/0027).
"""

from uuid import UUID

from copilot_common.base.errors import Conflict, Forbidden
from copilot_common.base.ids import new_id
from copilot_common.tenancy import Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.context.access import check_acl
from copilot_domain.context.collections.repository import CollectionRepository, CollectionRow
from copilot_domain.context.types import Collection, CollectionChanges, NewCollection
from copilot_domain.pagination import EXACT_TOTAL, Page, PageRequest, page

MAX_COLLECTIONS = 1_000
"""Of one tenant: each search that meets an item of one looks up which of them may be seen."""


class CollectionService:
    """Each method is one step of the caller's transaction; the caller commits."""

    def __init__(self) -> None:
        self._repository = CollectionRepository()

    async def create(self, tx: Transaction, new: NewCollection) -> Collection:
        """Raises InvalidInput, or Conflict where the tenant has as many as it may have."""
        check_acl(new.acl)
        if await self._repository.count(tx) >= MAX_COLLECTIONS:
            raise Conflict(f"A tenant may have {MAX_COLLECTIONS} collections.", details={"limit": MAX_COLLECTIONS})
        collection_id = new_id()
        row = await self._repository.insert(tx, collection_id, new)
        await record_audit(tx, "collection.created", collection_id)
        return row.open(await tx.cipher())

    async def get(self, tx: Transaction, collection_id: UUID) -> Collection:
        """Raises NotFound."""
        return (await self._repository.get(tx, collection_id)).open(await tx.cipher())

    async def list(self, tx: Transaction, request: PageRequest) -> Page[Collection]:
        """The newest first."""
        cipher = await tx.cipher()
        before = request.position(UUID)
        rows = await self._repository.page(tx, before=before, offset=request.offset, limit=request.fetch)
        counted = await self._repository.count_seen(tx)
        return page(request, rows, key=lambda row: row.id, item=lambda row: row.open(cipher), counted=counted)

    async def update(self, tx: Transaction, collection_id: UUID, changes: CollectionChanges) -> Collection:
        """Raises NotFound, InvalidInput, Forbidden."""
        old = (await self._changeable(tx, collection_id)).open(await tx.cipher())
        new = NewCollection(
            name=old.name if changes.name is None else changes.name,
            acl=tuple(old.acl) if changes.acl is None else changes.acl,
        )
        check_acl(new.acl)
        row = await self._repository.update(tx, collection_id, new)
        fields = [name for name in CollectionChanges.__struct_fields__ if getattr(changes, name) is not None]
        await record_audit(tx, "collection.updated", collection_id, details={"fields": ", ".join(fields)})
        return row.open(await tx.cipher())

    async def delete(self, tx: Transaction, collection_id: UUID) -> None:
        """Raises NotFound, Forbidden, or Conflict with the number of its items (`items`; null for more than 1 000)."""
        await self._changeable(tx, collection_id)
        count = await self._repository.count_items(tx, collection_id, up_to=EXACT_TOTAL + 1)
        if count:
            known = count if count <= EXACT_TOTAL else None
            told = f"more than {EXACT_TOTAL}" if known is None else known
            raise Conflict(f"This collection is not empty; it has {told} items.", details={"items": known})
        await self._repository.delete(tx, collection_id)
        await record_audit(tx, "collection.deleted", collection_id)

    async def _changeable(self, tx: Transaction, collection_id: UUID) -> CollectionRow:
        row = await self._repository.get(tx, collection_id, for_update=True)
        if row.user_id != tx.principal.user_id and "admin" not in tx.principal.scopes:
            raise Forbidden("Only its creator or an admin may change this collection.")
        return row
