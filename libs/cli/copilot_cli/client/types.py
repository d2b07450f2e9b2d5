"""What the API answers, as far as this client shows it. Fields it does not know are passed over."""

from datetime import datetime
from decimal import Decimal
from typing import Generic, Literal, TypeVar
from uuid import UUID

import msgspec

T = TypeVar("T")

GroupBy = Literal["day", "model", "user", "api_key"]


class Page(msgspec.Struct, Generic[T]):
    items: list[T]
    next_cursor: str | None = None


class Conversation(msgspec.Struct):
    id: UUID
    title: str | None
    model: str | None
    visibility: str
    message_count: int
    created_at: datetime
    updated_at: datetime


class Citation(msgspec.Struct):
    """`start` and `end` are character offsets into the source's text."""

    source: str
    name: str
    start: int
    end: int
    quote: str
    item_id: UUID | None = None


class AnswerUsage(msgspec.Struct):
    """`input_tokens` includes `cached_tokens`; `cost_usd` is None where the model's price is unknown."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: Decimal | None
    estimated: bool


class Message(msgspec.Struct):
    id: UUID
    conversation_id: UUID
    role: str
    content: str
    status: str
    usage: AnswerUsage | None
    model: str | None
    citations: list[Citation]
    finish_reason: str | None
    created_at: datetime


class Prices(msgspec.Struct):
    """USD per million tokens."""

    input: Decimal
    output: Decimal
    cached_input: Decimal


class Model(msgspec.Struct):
    id: str
    provider: str
    context_window: int
    capabilities: list[str]
    prices: Prices | None
    configured: bool


class UsageRow(msgspec.Struct):
    key: str
    requests: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: Decimal | None


class Me(msgspec.Struct):
    tenant_id: UUID


class ApiKey(msgspec.Struct):
    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    is_active: bool


class NewApiKey(ApiKey):
    """`key` is shown only in the answer that makes it."""

    key: str


class Delta(msgspec.Struct):
    text: str


class EventBody(msgspec.Struct):
    """Any event of a stream; which fields are set depends on `type`. An unknown type is to be passed over."""

    type: str
    message_id: UUID | None = None
    delta: Delta | None = None
    finish_reason: str | None = None
    usage: AnswerUsage | None = None
    code: str | None = None
    error: str | None = None
    reason: str | None = None

    @property
    def is_last(self) -> bool:
        return self.type in {"message_end", "error"}


class Job(msgspec.Struct):
    """A piece of background work, without what it is about. `kind` is its type and the version of its payload."""

    id: UUID
    queue: str
    kind: str
    status: str
    priority: int
    failures: int
    lapses: int
    max_failures: int
    error_code: str | None
    error_text: str | None
    run_after: datetime
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class Redriven(msgspec.Struct):
    id: UUID
    status: str


class ItemError(msgspec.Struct):
    code: str
    message: str


class Item(msgspec.Struct):
    """A text of the tenant's context."""

    id: UUID
    name: str
    type: str
    status: str
    token_count: int
    chunk_count: int
    error: ItemError | None
    metadata: dict[str, object]
    created_at: datetime
    updated_at: datetime

    @property
    def is_settled(self) -> bool:
        return self.status in {"ready", "failed"}


class Index(msgspec.Struct):
    """`model` is what searches use; `done` of `total` chunks have the next model's vectors."""

    model: str
    next_model: str | None
    done: int
    total: int
    error: ItemError | None
    chunk_count: int
    segments: int


class Hit(msgspec.Struct):
    """`start` and `end` are character offsets into the item's text."""

    item_id: UUID
    chunk_id: UUID
    name: str
    text: str
    score: float
    start: int
    end: int
    metadata: dict[str, object]


class Found(msgspec.Struct):
    """`degraded`: the search went by words alone."""

    results: list[Hit]
    took_ms: int
    degraded: bool
