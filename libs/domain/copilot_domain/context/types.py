"""What the context is made of, as the wire shows it."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from copilot_common.tenancy import Role

ItemType = Literal["text", "code", "document", "file", "url"]
ItemStatus = Literal["pending", "processing", "ready", "failed"]
SearchMode = Literal["hybrid", "vector", "text"]

MIN_REFRESH_SECONDS = 300
MAX_REFRESH_SECONDS = 365 * 86_400
MAX_RESULTS = 50
NO_RERANKER = "is not configured here"
"""Said of `rerank` where there is none."""


class AclEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of the two: a user, or everybody with that role or a higher one."""

    user_id: UUID | None = None
    role: Role | None = None


class ItemError(msgspec.Struct, frozen=True):
    code: str
    message: str


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """`url` and `media_type` are those of what a file or URL came as, `size_bytes` of whatever came in. A URL with
    `refresh_seconds` is fetched again at `next_fetch_at`; where that is null then, its user may not fetch it any more.
    """

    id: UUID
    name: str
    type: ItemType
    status: ItemStatus
    user_id: UUID
    url: str | None
    media_type: str | None
    size_bytes: int | None
    refresh_seconds: int | None
    fetched_at: datetime | None
    next_fetch_at: datetime | None
    token_count: int
    chunk_count: int
    error: ItemError | None
    metadata: dict[str, object]
    acl: list[AclEntry]
    collection_id: UUID | None
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime


class NewItem(msgspec.Struct, frozen=True, kw_only=True):
    """`content` of a text, code or document; `url` of a url, which is fetched again every `refresh_seconds`. A file's
    bytes are a blob before it is an item. `is_bulk`: one of very many, for which nobody waits."""

    name: str
    type: ItemType
    content: str | None = None
    url: str | None = None
    refresh_seconds: int | None = None
    metadata: dict[str, object] = {}
    is_bulk: bool = False
    acl: tuple[AclEntry, ...] = ()
    collection_id: UUID | None = None
    expires_at: datetime | None = None


class ItemChanges(msgspec.Struct, frozen=True, kw_only=True):
    """None: stays as it is; where None is a value itself, UNSET."""

    name: str | None = None
    metadata: dict[str, object] | None = None
    acl: tuple[AclEntry, ...] | None = None
    content: str | None = None
    refresh_seconds: int | UnsetType | None = UNSET
    collection_id: UUID | None | UnsetType = UNSET
    expires_at: datetime | None | UnsetType = UNSET

    @property
    def named(self) -> list[str]:
        """The fields that change."""
        defaults = zip(self.__struct_fields__, self.__struct_defaults__, strict=True)
        return [name for name, default in defaults if getattr(self, name) is not default]


class Collection(msgspec.Struct, frozen=True, kw_only=True):
    """Items are put together in it; `acl` counts besides each item's own."""

    id: UUID
    name: str
    user_id: UUID
    acl: list[AclEntry]
    created_at: datetime
    updated_at: datetime


class NewCollection(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    acl: tuple[AclEntry, ...] = ()


class CollectionChanges(msgspec.Struct, frozen=True, kw_only=True):
    """None: stays as it is."""

    name: str | None = None
    acl: tuple[AclEntry, ...] | None = None


class ItemFilter(msgspec.Struct, frozen=True, kw_only=True):
    """None: any. `metadata` must be contained in the item's, key by key."""

    type: ItemType | None = None
    status: ItemStatus | None = None
    metadata: dict[str, object] = {}
    collection_id: UUID | None = None


class SearchFilter(msgspec.Struct, frozen=True, kw_only=True):
    """As ItemFilter; `item_ids` and `collection_ids` None for any, empty for none."""

    item_ids: tuple[UUID, ...] | None = None
    collection_ids: tuple[UUID, ...] | None = None
    type: ItemType | None = None
    metadata: dict[str, object] = {}


class SearchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`max_tokens` bounds the estimated tokens of all texts together. `rerank`: the best are put in order once more, by
    the configured reranker."""

    query: str
    limit: int = 10
    filter: SearchFilter = SearchFilter()
    mode: SearchMode = "hybrid"
    max_tokens: int | None = None
    rerank: bool = False


class SearchHit(msgspec.Struct, frozen=True, kw_only=True):
    """`start` and `end` are character offsets into the item's text: `content[start:end] == text`. `page` counts from 1.

    `score` compares hits of one search only: from 0 to 1 for hybrid, the cosine for vector, BM25 for text, the
    reranker's own where it has put them in order.
    """

    item_id: UUID
    chunk_id: UUID
    name: str
    text: str
    score: float
    start: int
    end: int
    page: int | None
    heading: list[str]
    metadata: dict[str, object]


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """`degraded`: the embedder was away, so a hybrid search went by words alone; or the reranker, so they are in the
    order they had."""

    results: list[SearchHit]
    degraded: bool = False
