"""What a principal can do with conversations, except asking for an answer (that is `generation`).

Reading is for the owner, and for every member of the tenant once `visibility` is `tenant`. Changing is for the owner;
of a shared conversation also for the tenant's admins. What may not be seen does not exist (NotFound).
"""

from datetime import datetime
from uuid import UUID

import msgspec

from copilot_common.base.errors import Forbidden, InvalidInput
from copilot_common.base.ids import new_id
from copilot_common.llm.registry import ModelRegistry
from copilot_common.queue import Ledger
from copilot_common.tenancy import Principal, Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.conversations.repository import ConversationRepository, ConversationRow, MessageRow
from copilot_domain.conversations.types import Conversation, Feedback, Message, NewConversation
from copilot_domain.metadata import check_metadata
from copilot_domain.pagination import EXACT_TOTAL, Page, PageRequest, page
from copilot_domain.webhooks import publish


class ConversationService:
    """Each method is one step of the caller's transaction; the caller commits."""

    def __init__(self, repository: ConversationRepository, models: ModelRegistry, ledger: Ledger) -> None:
        self._repository = repository
        self._ledger = ledger
        self._models = models

    async def create(self, tx: Transaction, new: NewConversation) -> Conversation:
        self._check(new)
        conversation_id = new_id()
        row = await self._repository.insert(tx, conversation_id, new)
        await record_audit(tx, "conversation.created", conversation_id)
        await publish(tx, self._ledger, "conversation.created", {"conversation_id": conversation_id})
        return row.open(await tx.cipher())

    async def get(self, tx: Transaction, conversation_id: UUID) -> Conversation:
        row = await self._repository.get(tx, conversation_id)
        return row.open(await tx.cipher())

    async def list(self, tx: Transaction, request: PageRequest) -> Page[Conversation]:
        """Newest activity first."""
        cipher = await tx.cipher()
        rows = await self._repository.page(
            tx,
            before=request.position(tuple[datetime, UUID]),
            offset=request.offset,
            limit=request.fetch,
        )
        counted = await self._repository.count(tx, up_to=EXACT_TOTAL + 1)
        return page(
            request, rows, key=lambda row: (row.updated_at, row.id), item=lambda row: row.open(cipher), counted=counted
        )

    async def update(self, tx: Transaction, conversation_id: UUID, changes: dict[str, object]) -> Conversation:
        """`changes` holds only fields of NewConversation that the caller sent, already of the right types."""
        row = await self._changeable(tx, conversation_id)
        cipher = await tx.cipher()
        new = _merge(row.open(cipher), changes)
        self._check(new)
        updated = await self._repository.update(tx, conversation_id, new)
        await record_audit(tx, "conversation.updated", conversation_id, details={"fields": ", ".join(sorted(changes))})
        return updated.open(cipher)

    async def delete(self, tx: Transaction, conversation_id: UUID) -> None:
        await self._changeable(tx, conversation_id)
        await self._repository.delete(tx, conversation_id)
        await record_audit(tx, "conversation.deleted", conversation_id)

    async def messages(self, tx: Transaction, conversation_id: UUID, request: PageRequest) -> Page[Message]:
        """Oldest first."""
        conversation = await self._repository.get(tx, conversation_id)
        cipher = await tx.cipher()
        rows = await self._repository.messages(
            tx,
            conversation_id,
            after_position=request.position(int) or 0,
            offset=request.offset,
            limit=request.fetch,
        )
        return page(
            request,
            rows,
            key=lambda row: row.position,
            item=lambda row: row.open(cipher),
            counted=conversation.message_count,
        )

    async def message(self, tx: Transaction, conversation_id: UUID, message_id: UUID) -> Message:
        row = await self.message_row(tx, conversation_id, message_id)
        return row.open(await tx.cipher())

    async def message_row(self, tx: Transaction, conversation_id: UUID, message_id: UUID) -> MessageRow:
        await self._repository.get(tx, conversation_id)
        return await self._repository.message(tx, conversation_id, message_id)

    async def give_feedback(
        self, tx: Transaction, conversation_id: UUID, message_id: UUID, feedback: Feedback
    ) -> Feedback:
        """Only answers can be judged. Raises InvalidInput for the user's own message."""
        row = await self.message_row(tx, conversation_id, message_id)
        if row.role != "assistant":
            raise InvalidInput({"message_id": "feedback is for answers"})
        await self._repository.put_feedback(tx, message_id, feedback)
        await record_audit(tx, "message.rated", message_id, details={"rating": feedback.rating})
        return feedback

    async def _changeable(self, tx: Transaction, conversation_id: UUID) -> ConversationRow:
        row = await self._repository.get(tx, conversation_id)
        if not may_change(tx.principal, row):
            raise Forbidden("Only its owner may change this conversation.")
        return row

    def _check(self, new: NewConversation) -> None:
        check_metadata(new.metadata)
        if new.model is not None:
            self._models.resolve(new.model)


def may_change(principal: Principal, row: ConversationRow) -> bool:
    if row.user_id == principal.user_id:
        return True
    return row.visibility == "tenant" and "admin" in principal.scopes


def _merge(current: Conversation, changes: dict[str, object]) -> NewConversation:
    kept = {name: getattr(current, name) for name in NewConversation.__struct_fields__}
    return msgspec.convert({**kept, **changes}, NewConversation)
