"""What a conversation is made of, as the wire shows it."""

from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec

Visibility = Literal["private", "tenant"]
MessageStatus = Literal["pending", "generating", "completed", "failed", "cancelled", "interrupted"]
EndStatus = Literal["completed", "failed", "cancelled", "interrupted"]


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    title: str | None
    user_id: UUID
    tenant_id: UUID
    model: str | None
    system_prompt: str | None
    metadata: dict[str, object]
    visibility: Visibility
    message_count: int
    created_at: datetime
    updated_at: datetime


class NewConversation(msgspec.Struct, frozen=True, kw_only=True):
    title: str | None = None
    system_prompt: str | None = None
    model: str | None = None
    metadata: dict[str, object] = {}
    visibility: Visibility = "private"


class Document(msgspec.Struct, frozen=True):
    """A text that goes with one message."""

    name: str
    text: str


class Citation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """`start` and `end` are character offsets into the source's text: `text[start:end] == quote`."""

    source: Literal["document", "context"]
    name: str
    start: int
    end: int
    quote: str
    item_id: UUID | None = None
    chunk_id: UUID | None = None


class AnswerUsage(msgspec.Struct, frozen=True, kw_only=True):
    """`input_tokens` includes `cached_tokens`. `cost_usd` is null where the model's price is unknown."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: Decimal | None
    estimated: bool


class Feedback(msgspec.Struct, frozen=True):
    rating: Literal[-1, 1]
    comment: str | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    conversation_id: UUID
    role: Literal["user", "assistant"]
    content: str
    status: MessageStatus
    tokens_used: int | None
    usage: AnswerUsage | None
    model: str | None
    citations: list[Citation]
    finish_reason: str | None
    degraded: bool
    metadata: dict[str, object] | None
    created_at: datetime


class ContextWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Search the tenant's items first. `query` None: the question itself; `item_ids`, `collection_ids` None: all that
    the asker sees."""

    query: str | None = None
    item_ids: tuple[UUID, ...] | None = None
    collection_ids: tuple[UUID, ...] | None = None
    limit: int = 5


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A user's turn, and how it is to be answered."""

    content: str
    metadata: dict[str, object] | None = None
    model: str | None = None
    documents: tuple[Document, ...] = ()
    temperature: float | None = None
    max_tokens: int | None = None
    context: ContextWanted | None = None
