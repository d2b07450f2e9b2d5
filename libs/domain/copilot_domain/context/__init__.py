"""The tenant's own documents. Ingesting (`indexing`) and searching (`searching`) are imported by those who do it: they
bring libraries that the API does without."""

from copilot_domain.context.collections.service import CollectionService
from copilot_domain.context.repository import ContextRepository
from copilot_domain.context.service import ContextService
from copilot_domain.context.types import (
    AclEntry,
    Collection,
    CollectionChanges,
    Item,
    ItemChanges,
    ItemError,
    ItemFilter,
    NewCollection,
    NewItem,
    SearchFilter,
    SearchHit,
    SearchRequest,
    SearchResult,
)

__all__ = [
    "AclEntry",
    "Collection",
    "CollectionChanges",
    "CollectionService",
    "ContextRepository",
    "ContextService",
    "Item",
    "ItemChanges",
    "ItemError",
    "ItemFilter",
    "NewCollection",
    "NewItem",
    "SearchFilter",
    "SearchHit",
    "SearchRequest",
    "SearchResult",
]
