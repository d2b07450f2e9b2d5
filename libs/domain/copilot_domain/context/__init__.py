"""The tenant's own documents. Ingesting (`indexing`) and searching (`searching`) are imported by those who do it: they
bring libraries that the API does without."""

from copilot_domain.context.repository import ContextRepository
from copilot_domain.context.service import ContextService
from copilot_domain.context.types import (
    AclEntry,
    Item,
    ItemChanges,
    ItemError,
    ItemFilter,
    NewItem,
    SearchFilter,
    SearchHit,
    SearchRequest,
    SearchResult,
)

__all__ = [
    "AclEntry",
    "ContextRepository",
    "ContextService",
    "Item",
    "ItemChanges",
    "ItemError",
    "ItemFilter",
    "NewItem",
    "SearchFilter",
    "SearchHit",
    "SearchRequest",
    "SearchResult",
]
