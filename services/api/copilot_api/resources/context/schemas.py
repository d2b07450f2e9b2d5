"""Bodies and filters of /context. Lengths are those of the wire contract."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, cast, get_args
from uuid import UUID

import msgspec
from litestar.openapi.spec import (
    OpenAPIFormat,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Schema,
)
from msgspec import UNSET, Meta, UnsetType

from copilot_api.http.body import RequestBody
from copilot_common.base.errors import InvalidInput
from copilot_common.tenancy import Role
from copilot_domain.context import AclEntry, ItemChanges, ItemFilter, NewItem, SearchFilter, SearchHit, SearchRequest
from copilot_domain.context.types import (
    MAX_REFRESH_SECONDS,
    MAX_RESULTS,
    MIN_REFRESH_SECONDS,
    NO_RERANKER,
    ItemStatus,
    ItemType,
    SearchMode,
)

Name = Annotated[str, Meta(min_length=1, max_length=300)]
Content = Annotated[str, Meta(min_length=1, max_length=1_000_000)]
RefreshSeconds = Annotated[int, Meta(ge=MIN_REFRESH_SECONDS, le=MAX_REFRESH_SECONDS)]
Metadata = dict[str, object]
Moment = Annotated[datetime, Meta(tz=True)]


class AclEntryBody(RequestBody):
    user_id: UUID | UnsetType = UNSET
    role: Role | UnsetType = UNSET

    def to_entry(self) -> AclEntry:
        return AclEntry(
            user_id=None if self.user_id is UNSET else self.user_id, role=None if self.role is UNSET else self.role
        )


Acl = Annotated[list[AclEntryBody], Meta(max_length=100)]


class CreateItem(RequestBody):
    name: Name
    type: ItemType
    content: Content | UnsetType = UNSET
    url: str | UnsetType = UNSET
    refresh_seconds: RefreshSeconds | None = None
    metadata: Metadata = {}
    acl: Acl = []
    collection_id: UUID | UnsetType = UNSET
    expires_at: Moment | UnsetType = UNSET
    bulk: bool = False

    def to_new(self) -> NewItem:
        if self.type == "file":
            raise InvalidInput({"type": "file comes as bytes: send it to /api/v1/context/files"})
        given, other = ("url", "content") if self.type == "url" else ("content", "url")
        if getattr(self, given) is UNSET:
            raise InvalidInput({given: "is required"})
        if getattr(self, other) is not UNSET:
            raise InvalidInput({other: f"does not go with the type {self.type}"})
        return NewItem(
            name=self.name,
            type=self.type,
            content=self.content if isinstance(self.content, str) else None,
            url=self.url if isinstance(self.url, str) else None,
            refresh_seconds=self.refresh_seconds,
            metadata=self.metadata,
            is_bulk=self.bulk,
            acl=tuple(entry.to_entry() for entry in self.acl),
            collection_id=self.collection_id if isinstance(self.collection_id, UUID) else None,
            expires_at=self.expires_at if isinstance(self.expires_at, datetime) else None,
        )


class FileFields(RequestBody):
    """What goes with files in a form."""

    metadata: Metadata = {}
    acl: Acl = []
    file_metadata: list[Metadata] | None = None
    collection_id: UUID | UnsetType = UNSET
    expires_at: Moment | UnsetType = UNSET
    bulk: bool = False

    def to_new(self) -> NewItem:
        """Of each file, but for its name."""
        return NewItem(
            name="",
            type="file",
            metadata=self.metadata,
            is_bulk=self.bulk,
            acl=tuple(entry.to_entry() for entry in self.acl),
            collection_id=None if self.collection_id is UNSET else self.collection_id,
            expires_at=None if self.expires_at is UNSET else self.expires_at,
        )


@dataclass
class GivesBytes(Operation):
    """Its handler chooses the media type, which `media_type` would overrule."""

    def __post_init__(self) -> None:
        text = Schema(type=OpenAPIType.STRING)
        original = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        content = {
            "text/plain": OpenAPIMediaType(schema=text),
            "application/octet-stream": OpenAPIMediaType(schema=original),
        }
        self.responses = {**(self.responses or {}), "200": OpenAPIResponse("The content.", content=content)}


class UpdateItem(RequestBody):
    """What is absent stays; null takes it out of its collection, lets it never expire, or be fetched no more. Another
    `content` is ingested anew."""

    name: Name | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    acl: Acl | UnsetType = UNSET
    content: Content | UnsetType = UNSET
    refresh_seconds: RefreshSeconds | UnsetType | None = UNSET
    collection_id: UUID | None | UnsetType = UNSET
    expires_at: Moment | None | UnsetType = UNSET

    def to_changes(self) -> ItemChanges:
        return ItemChanges(
            name=None if self.name is UNSET else self.name,
            metadata=None if self.metadata is UNSET else self.metadata,
            acl=None if self.acl is UNSET else tuple(entry.to_entry() for entry in self.acl),
            content=None if self.content is UNSET else self.content,
            refresh_seconds=self.refresh_seconds,
            collection_id=self.collection_id,
            expires_at=self.expires_at,
        )


def item_filter(
    kind: str | None, status: str | None, metadata: str | None, collection_id: UUID | None = None
) -> ItemFilter:
    """From a list's query; `metadata` is a JSON object that the item's must contain. Raises InvalidInput."""
    if metadata is not None and ("\\u0000" in metadata or "\0" in metadata):
        raise InvalidInput({"metadata": "must not contain NUL characters"})
    try:
        wanted = {} if metadata is None else msgspec.json.decode(metadata, type=Metadata)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise InvalidInput({"metadata": "must be a JSON object"}) from None
    return ItemFilter(
        type=cast(ItemType | None, _one_of(get_args(ItemType), kind, "type")),
        status=cast(ItemStatus | None, _one_of(get_args(ItemStatus), status, "status")),
        metadata=wanted,
        collection_id=collection_id,
    )


def _one_of(choices: tuple[str, ...], value: str | None, field: str) -> str | None:
    if value is not None and value not in choices:
        raise InvalidInput({field: f"must be one of {', '.join(choices)}"})
    return value


class SearchFilterBody(RequestBody):
    item_ids: Annotated[list[UUID], Meta(max_length=100)] | UnsetType = UNSET
    collection_ids: Annotated[list[UUID], Meta(max_length=100)] | UnsetType = UNSET
    type: ItemType | UnsetType = UNSET
    metadata: Metadata = {}


class SearchBody(RequestBody):
    query: Annotated[str, Meta(min_length=1, max_length=10_000)]
    limit: Annotated[int, Meta(ge=1, le=MAX_RESULTS)] = 10
    filter: SearchFilterBody | UnsetType = UNSET
    mode: SearchMode = "hybrid"
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    rerank: bool = False

    def to_request(self, *, can_rerank: bool) -> SearchRequest:
        if self.rerank and not can_rerank:
            raise InvalidInput({"rerank": NO_RERANKER})
        chosen = SearchFilterBody() if self.filter is UNSET else self.filter
        return SearchRequest(
            query=self.query,
            limit=self.limit,
            filter=SearchFilter(
                item_ids=None if chosen.item_ids is UNSET else tuple(chosen.item_ids),
                collection_ids=None if chosen.collection_ids is UNSET else tuple(chosen.collection_ids),
                type=None if chosen.type is UNSET else chosen.type,
                metadata=chosen.metadata,
            ),
            mode=self.mode,
            max_tokens=self.max_tokens,
            rerank=self.rerank,
        )


class ReembedBody(RequestBody):
    model: Annotated[str, Meta(min_length=1, max_length=220)]


class SearchAnswer(msgspec.Struct, frozen=True):
    """`took_ms` is what the client waited for besides the network: the queue and the search."""

    results: list[SearchHit]
    took_ms: int
    degraded: bool
