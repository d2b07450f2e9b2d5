"""Rows of conversations and messages, unsealed into the domain's types."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, cast
from uuid import UUID

import msgspec

from copilot_common.base.errors import NotFound
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Transaction
from copilot_domain.conversations.types import (
    AnswerUsage,
    Citation,
    Conversation,
    Document,
    Feedback,
    Message,
    MessageStatus,
    NewConversation,
    Visibility,
)

sql = Queries(__package__)

_decode_metadata = msgspec.json.Decoder(dict[str, object]).decode
_decode_citations = msgspec.json.Decoder(list[Citation]).decode
decode_documents = msgspec.json.Decoder(tuple[Document, ...]).decode
encode_json = msgspec.json.encode

BEFORE_ALL = (datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1))
"""The place in a list where it begins, newest first."""


@dataclass(frozen=True, slots=True)
class ConversationRow:
    id: UUID
    user_id: UUID
    tenant_id: UUID
    title_sealed: bytes | None
    system_prompt_sealed: bytes | None
    metadata_sealed: bytes
    model: str | None
    visibility: str
    message_count: int
    created_at: datetime
    updated_at: datetime

    def open(self, cipher: TenantCipher) -> Conversation:
        return Conversation(
            id=self.id,
            title=open_optional(cipher, Purpose.CONVERSATION_TITLE, self.id, self.title_sealed),
            user_id=self.user_id,
            tenant_id=self.tenant_id,
            model=self.model,
            system_prompt=open_optional(cipher, Purpose.CONVERSATION_SYSTEM_PROMPT, self.id, self.system_prompt_sealed),
            metadata=_decode_metadata(cipher.open(Purpose.CONVERSATION_METADATA, self.id, self.metadata_sealed)),
            visibility=cast(Visibility, self.visibility),
            message_count=self.message_count,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


@dataclass(frozen=True, slots=True)
class MessageRow:
    id: UUID
    conversation_id: UUID
    role: str
    status: str
    user_id: UUID
    content_sealed: bytes
    metadata_sealed: bytes | None
    citations_sealed: bytes | None
    events_sealed: bytes | None
    model: str | None
    finish_reason: str | None
    error_code: str | None
    degraded: bool
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    cost_usd: Decimal | None
    usage_estimated: bool
    process_id: UUID | None
    fence: int
    job_id: UUID | None
    created_at: datetime
    position: int

    @property
    def log_fence(self) -> int:
        """Names the stream log of whoever makes the answer now (StreamLog)."""
        return 0 if self.job_id is None else self.fence

    def open(self, cipher: TenantCipher) -> Message:
        citations = self.citations_sealed
        metadata = self.metadata_sealed
        return Message(
            id=self.id,
            conversation_id=self.conversation_id,
            role=cast(Literal["user", "assistant"], self.role),
            content=self.open_content(cipher),
            status=cast(MessageStatus, self.status),
            tokens_used=self._tokens_used(),
            usage=self._usage(),
            model=self.model,
            citations=_decode_citations(cipher.open(Purpose.MESSAGE_CITATIONS, self.id, citations))
            if citations
            else [],
            finish_reason=self.finish_reason,
            degraded=self.degraded,
            metadata=_decode_metadata(cipher.open(Purpose.MESSAGE_METADATA, self.id, metadata)) if metadata else None,
            created_at=self.created_at,
        )

    def open_content(self, cipher: TenantCipher) -> str:
        return cipher.open_text(Purpose.MESSAGE_CONTENT, self.id, self.content_sealed)

    def _tokens_used(self) -> int | None:
        return None if self.output_tokens is None else (self.input_tokens or 0) + self.output_tokens

    def _usage(self) -> AnswerUsage | None:
        if self.output_tokens is None:
            return None
        return AnswerUsage(
            input_tokens=self.input_tokens or 0,
            output_tokens=self.output_tokens,
            cached_tokens=self.cached_tokens or 0,
            cost_usd=self.cost_usd,
            estimated=self.usage_estimated,
        )


def open_optional(cipher: TenantCipher, purpose: Purpose, row_id: UUID, sealed: bytes | None) -> str | None:
    return None if sealed is None else cipher.open_text(purpose, row_id, sealed)


def seal_optional(cipher: TenantCipher, purpose: Purpose, row_id: UUID, text: str | None) -> bytes | None:
    return None if text is None else cipher.seal_text(purpose, row_id, text)


class ConversationRepository:
    """Every method runs in the caller's transaction, as its principal."""

    async def insert(self, tx: Transaction, conversation_id: UUID, new: NewConversation) -> ConversationRow:
        row = await tx.fetch_one(
            ConversationRow,
            sql["insert_conversation"],
            {"user_id": tx.principal.acting_user, **await self._columns(tx, conversation_id, new)},
        )
        return _present(row)

    async def update(self, tx: Transaction, conversation_id: UUID, new: NewConversation) -> ConversationRow:
        row = await tx.fetch_one(
            ConversationRow, sql["update_conversation"], await self._columns(tx, conversation_id, new)
        )
        return _present(row)

    async def get(self, tx: Transaction, conversation_id: UUID) -> ConversationRow:
        """Raises NotFound also where it is another tenant's, or private to another user."""
        row = await tx.fetch_one(ConversationRow, sql["get_conversation"], self._key(tx, conversation_id))
        return _present(row)

    async def page(
        self, tx: Transaction, *, before: tuple[datetime, UUID] | None, offset: int, limit: int
    ) -> list[ConversationRow]:
        moment, before_id = before or BEFORE_ALL
        params = {**self._key(tx), "before": moment, "before_id": before_id, "offset": offset, "limit": limit}
        return await tx.fetch_all(ConversationRow, sql["list_conversations"], params)

    async def count(self, tx: Transaction, *, up_to: int) -> int:
        value = await tx.fetch_value(sql["count_conversations"], {**self._key(tx), "count_limit": up_to})
        return cast(int, value)

    async def delete(self, tx: Transaction, conversation_id: UUID) -> None:
        await tx.execute(sql["delete_conversation"], self._key(tx, conversation_id))

    async def message(self, tx: Transaction, conversation_id: UUID, message_id: UUID) -> MessageRow:
        """The caller has checked that the conversation is visible. Raises NotFound."""
        params = {"tenant_id": tx.principal.tenant_id, "conversation_id": conversation_id, "id": message_id}
        row = await tx.fetch_one(MessageRow, sql["get_message"], params)
        if row is None:
            raise NotFound("message")
        return row

    async def messages(
        self, tx: Transaction, conversation_id: UUID, *, after_position: int, offset: int, limit: int
    ) -> list[MessageRow]:
        params = {
            "tenant_id": tx.principal.tenant_id,
            "conversation_id": conversation_id,
            "after_position": after_position,
            "offset": offset,
            "limit": limit,
        }
        return await tx.fetch_all(MessageRow, sql["list_messages"], params)

    async def request_cancel(self, tx: Transaction, conversation_id: UUID, message_id: UUID) -> bool:
        params = {"tenant_id": tx.principal.tenant_id, "conversation_id": conversation_id, "id": message_id}
        return await tx.fetch_value(sql["request_cancel"], params) is not None

    async def put_feedback(self, tx: Transaction, message_id: UUID, feedback: Feedback) -> None:
        cipher = await tx.cipher()
        await tx.execute(
            sql["put_feedback"],
            {
                "tenant_id": tx.principal.tenant_id,
                "message_id": message_id,
                "user_id": tx.principal.acting_user,
                "rating": feedback.rating,
                "comment_sealed": seal_optional(cipher, Purpose.FEEDBACK_COMMENT, message_id, feedback.comment),
            },
        )

    async def _columns(self, tx: Transaction, conversation_id: UUID, new: NewConversation) -> dict[str, object]:
        cipher = await tx.cipher()
        return {
            "tenant_id": tx.principal.tenant_id,
            "id": conversation_id,
            "title_sealed": seal_optional(cipher, Purpose.CONVERSATION_TITLE, conversation_id, new.title),
            "system_prompt_sealed": seal_optional(
                cipher, Purpose.CONVERSATION_SYSTEM_PROMPT, conversation_id, new.system_prompt
            ),
            "metadata_sealed": cipher.seal(Purpose.CONVERSATION_METADATA, conversation_id, encode_json(new.metadata)),
            "model": new.model,
            "visibility": new.visibility,
        }

    def _key(self, tx: Transaction, conversation_id: UUID | None = None) -> dict[str, object]:
        return {"tenant_id": tx.principal.tenant_id, "id": conversation_id, "user_id": tx.principal.acting_user}


def _present(row: ConversationRow | None) -> ConversationRow:
    if row is None:
        raise NotFound("conversation")
    return row
