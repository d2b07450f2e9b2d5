"""The rows a generation writes: its turn, its checkpoints, its end. Every write after the first checks the fence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import structs

from copilot_common.base.ids import ProcessId
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.llm.types import ChatMessage, FinishReason, TokenUsage
from copilot_common.tenancy import Principal, Transaction
from copilot_common.tenancy.audit import audit_columns
from copilot_domain.conversations.repository import encode_json, sql
from copilot_domain.conversations.types import Ask, Citation, EndStatus


@dataclass(frozen=True, slots=True)
class Begun:
    """What `begin_turn` found. `created_at` is None where it wrote nothing: `model` (the conversation's own) or the
    system prompt are not as assumed. The history is newest first."""

    created_at: datetime | None
    answer_position: int | None
    model: str | None
    system_prompt_sealed: bytes | None
    ids: list[UUID]
    roles: list[Literal["user", "assistant"]]
    contents: list[bytes]

    def history(self, cipher: TenantCipher) -> list[ChatMessage]:
        """Without answers that never got a word."""
        texts = map(partial(cipher.open_text, Purpose.MESSAGE_CONTENT), self.ids, self.contents)
        return [ChatMessage(role, text) for role, text in zip(self.roles, texts, strict=True) if text]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    message_id: UUID
    fence: int
    content_sealed: bytes | None
    events_sealed: bytes | None


@dataclass(frozen=True, slots=True)
class CheckpointResult:
    id: UUID
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class LapsedGeneration:
    tenant_id: UUID
    conversation_id: UUID
    message_id: UUID
    user_id: UUID
    fence: int


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer ended. `boundaries` include the last event. `cost_usd` is None where the price is unknown."""

    status: EndStatus
    content: str
    boundaries: bytes
    citations: list[Citation]
    finish_reason: FinishReason | None
    error_code: str | None
    degraded: bool
    usage: TokenUsage
    cost_usd: Decimal | None


class LlmCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call to a provider, as it stands on the bill: `call_id` is there once, however often it is written. Times are
    whole milliseconds from its begin; `position` is its answer's."""

    call_id: UUID
    conversation_id: UUID
    position: int
    message_id: UUID
    provider: str
    model: str
    first_token_ms: int | None
    total_ms: int


def turn_params(
    principal: Principal,
    cipher: TenantCipher,
    *,
    conversation_id: UUID,
    user_message_id: UUID,
    answer_id: UUID,
    ask: Ask,
    process_id: ProcessId,
) -> dict[str, object]:
    """Of `begin_turn`, without what depends on the model."""
    details = {"conversation_id": str(conversation_id)}
    audit = audit_columns(principal, "message.created", answer_id, details=dict(details))
    return {
        **audit,
        "audit_id": audit["id"],
        "conversation_id": conversation_id,
        "process_id": process_id,
        **sealed_turn(cipher, user_message_id=user_message_id, answer_id=answer_id, ask=ask),
    }


def sealed_turn(cipher: TenantCipher, *, user_message_id: UUID, answer_id: UUID, ask: Ask) -> dict[str, object]:
    """The two messages of a turn, as far as they are sealed."""
    return {
        "user_message_id": user_message_id,
        "answer_id": answer_id,
        "empty_sealed": cipher.seal(Purpose.MESSAGE_CONTENT, answer_id, b""),
        **_sealed_ask(cipher, user_message_id, ask),
    }


async def write_checkpoints(
    tx: Transaction, process_id: ProcessId, checkpoints: Sequence[Checkpoint]
) -> list[CheckpointResult]:
    """Returns the answers that are still this process's."""
    return await tx.fetch_all(
        CheckpointResult,
        sql["checkpoint_generations"],
        {
            "tenant_id": tx.principal.tenant_id,
            "process_id": process_id,
            "ids": [checkpoint.message_id for checkpoint in checkpoints],
            "fences": [checkpoint.fence for checkpoint in checkpoints],
            "contents": [checkpoint.content_sealed for checkpoint in checkpoints],
            "events": [checkpoint.events_sealed for checkpoint in checkpoints],
        },
    )


def ending_params(
    principal: Principal,
    cipher: TenantCipher,
    *,
    fence: int,
    process_id: ProcessId,
    ending: Ending,
    call: LlmCall,
    is_alone: bool = False,
) -> dict[str, object]:
    """Of `finish_turn`; `is_alone` where nothing else is in its transaction. It is null then where somebody wants to be
    told, and false when the answer has passed to another process or is gone; nothing was written
    then, not even the bill."""
    message_id = call.message_id
    citations = encode_json(ending.citations) if ending.citations else None
    return {
        **_bill(principal, ending, call),
        "process_id": process_id,
        "fence": fence,
        "is_alone": is_alone,
        "status": ending.status,
        "content_sealed": cipher.seal_text(Purpose.MESSAGE_CONTENT, message_id, ending.content),
        "events_sealed": cipher.seal(Purpose.MESSAGE_EVENTS, message_id, ending.boundaries),
        "citations_sealed": cipher.seal(Purpose.MESSAGE_CITATIONS, message_id, citations) if citations else None,
        "finish_reason": ending.finish_reason,
        "error_code": ending.error_code,
        "degraded": ending.degraded,
    }


async def bill_deleted(tx: Transaction, *, ending: Ending, call: LlmCall) -> bool:
    """After `finish_turn` found nothing: whether the conversation was deleted. Then at least the bill is written."""
    return bool(await tx.fetch_value(sql["bill_deleted_generation"], _bill(tx.principal, ending, call)))


def _bill(principal: Principal, ending: Ending, call: LlmCall) -> dict[str, object]:
    return {
        "tenant_id": principal.tenant_id,
        "user_id": principal.acting_user,
        "api_key_id": principal.api_key_id,
        "cost_usd": ending.cost_usd,
        **structs.asdict(ending.usage),
        **structs.asdict(call),
    }


def _sealed_ask(cipher: TenantCipher, message_id: UUID, ask: Ask) -> dict[str, bytes | None]:
    metadata = encode_json(ask.metadata) if ask.metadata else None
    documents = encode_json(ask.documents) if ask.documents else None
    return {
        "content_sealed": cipher.seal_text(Purpose.MESSAGE_CONTENT, message_id, ask.content),
        "metadata_sealed": cipher.seal(Purpose.MESSAGE_METADATA, message_id, metadata) if metadata else None,
        "documents_sealed": cipher.seal(Purpose.MESSAGE_DOCUMENTS, message_id, documents) if documents else None,
    }
