"""The rows a generation writes: its turn, its checkpoints, its end. Every write after the first checks the fence."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Literal
from uuid import UUID

import msgspec
import psycopg.errors
from msgspec import structs

from copilot_common.base.errors import Conflict, NotFound
from copilot_common.base.ids import ProcessId, new_id
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.llm.types import ChatMessage, FinishReason, TokenUsage
from copilot_common.tenancy import Transaction
from copilot_common.tenancy.audit import audit_columns
from copilot_domain.conversations.repository import encode_json, sql
from copilot_domain.conversations.types import Ask, Citation, EndStatus

_BYTES_PER_TOKEN = 8  # generous: what is read for history may only be too much, never too little


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """A locked conversation; the answer will stand at `message_count`."""

    message_count: int
    model: str | None
    system_prompt_sealed: bytes | None


@dataclass(frozen=True, slots=True)
class _History:
    ids: list[UUID]
    roles: list[Literal["user", "assistant"]]
    contents: list[bytes]


@dataclass(frozen=True, slots=True)
class _Inserted:
    created_at: datetime


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
    usage: TokenUsage
    cost_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class LlmCall:
    """A call to a provider, as it stands on the bill. Times are whole milliseconds from its begin."""

    conversation_id: UUID
    message_id: UUID
    provider: str
    model: str
    first_token_ms: int | None
    total_ms: int


async def open_turn(tx: Transaction, conversation_id: UUID) -> OpenTurn:
    """Locks the conversation. Raises NotFound where the principal may not see it."""
    key = {"tenant_id": tx.principal.tenant_id, "id": conversation_id, "user_id": tx.principal.acting_user}
    turn = await tx.fetch_one(OpenTurn, sql["open_turn"], key)
    if turn is None:
        raise NotFound("conversation")
    return turn


async def read_history(
    tx: Transaction, conversation_id: UUID, *, max_messages: int, max_tokens: int
) -> list[ChatMessage]:
    """Newest first, as many as can matter; an answer that never got a word is left out."""
    limits: dict[str, object] = {"max_messages": max_messages, "max_bytes": max_tokens * _BYTES_PER_TOKEN}
    key: dict[str, object] = {"tenant_id": tx.principal.tenant_id, "id": conversation_id}
    found = await tx.fetch_one(_History, sql["history"], key | limits)
    if found is None:
        return []
    texts = map(partial((await tx.cipher()).open_text, Purpose.MESSAGE_CONTENT), found.ids, found.contents)
    return [ChatMessage(role, text) for role, text in zip(found.roles, texts, strict=True) if text]


async def insert_turn(
    tx: Transaction,
    *,
    conversation_id: UUID,
    position: int,
    user_message_id: UUID,
    answer_id: UUID,
    ask: Ask,
    model: str,
    input_tokens: int,
    process_id: ProcessId,
) -> datetime:
    """Returns when the answer was created. Raises GENERATION_IN_PROGRESS while another answer is being written."""
    cipher = await tx.cipher()
    params = {
        "tenant_id": tx.principal.tenant_id,
        "conversation_id": conversation_id,
        "position": position,
        "user_id": tx.principal.acting_user,
        "user_message_id": user_message_id,
        "answer_id": answer_id,
        "model": model,
        "input_tokens": input_tokens,
        "process_id": process_id,
        "empty_sealed": cipher.seal(Purpose.MESSAGE_CONTENT, answer_id, b""),
        **_sealed_ask(cipher, user_message_id, ask),
        **_audit(tx, answer_id, conversation_id),
    }
    try:
        inserted = await tx.fetch_one(_Inserted, sql["insert_turn"], params)
    except psycopg.errors.UniqueViolation:
        raise Conflict(
            "An answer is being generated in this conversation; wait for it or cancel it.",
            code="GENERATION_IN_PROGRESS",
        ) from None
    assert inserted is not None  # noqa: S101 — a SELECT without FROM has one row
    return inserted.created_at


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


async def write_ending(tx: Transaction, *, fence: int, process_id: ProcessId, ending: Ending, call: LlmCall) -> bool:
    """False when the answer has passed to another process or is gone; nothing was written then, not even the bill."""
    cipher = await tx.cipher()
    message_id = call.message_id
    citations = encode_json(ending.citations) if ending.citations else None
    written = await tx.fetch_value(
        sql["finish_generation"],
        {
            **_bill(tx, ending, call),
            "process_id": process_id,
            "fence": fence,
            "status": ending.status,
            "content_sealed": cipher.seal_text(Purpose.MESSAGE_CONTENT, message_id, ending.content),
            "events_sealed": cipher.seal(Purpose.MESSAGE_EVENTS, message_id, ending.boundaries),
            "citations_sealed": cipher.seal(Purpose.MESSAGE_CITATIONS, message_id, citations) if citations else None,
            "finish_reason": ending.finish_reason,
            "error_code": ending.error_code,
        },
    )
    return written is not None


async def bill_deleted(tx: Transaction, *, ending: Ending, call: LlmCall) -> bool:
    """After `write_ending` found nothing: whether the conversation was deleted. Then at least the bill is written."""
    return await tx.fetch_value(sql["bill_deleted_generation"], _bill(tx, ending, call)) is not None


def _bill(tx: Transaction, ending: Ending, call: LlmCall) -> dict[str, object]:
    return {
        "tenant_id": tx.principal.tenant_id,
        "call_id": new_id(),
        "user_id": tx.principal.acting_user,
        "api_key_id": tx.principal.api_key_id,
        "cost_usd": ending.cost_usd,
        **structs.asdict(ending.usage),
        **asdict(call),
    }


def _audit(tx: Transaction, answer_id: UUID, conversation_id: UUID) -> dict[str, object]:
    columns = audit_columns(
        tx.principal, "message.created", answer_id, details={"conversation_id": str(conversation_id)}
    )
    return {**columns, "audit_id": columns["id"]}


def _sealed_ask(cipher: TenantCipher, message_id: UUID, ask: Ask) -> dict[str, bytes | None]:
    metadata = encode_json(ask.metadata) if ask.metadata else None
    documents = encode_json(ask.documents) if ask.documents else None
    return {
        "content_sealed": cipher.seal_text(Purpose.MESSAGE_CONTENT, message_id, ask.content),
        "metadata_sealed": cipher.seal(Purpose.MESSAGE_METADATA, message_id, metadata) if metadata else None,
        "documents_sealed": cipher.seal(Purpose.MESSAGE_DOCUMENTS, message_id, documents) if documents else None,
    }
