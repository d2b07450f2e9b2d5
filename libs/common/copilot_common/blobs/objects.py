"""What a store of blobs asks of an object store, and the names of its objects there."""

from typing import Protocol
from uuid import UUID

OBJECT_BYTES = 1024 * 1024
"""The pieces of blobs in an object store: a request takes ten times as long there as in PostgreSQL. A reader holds one,
and it is one request; no multipart upload is ever open, which would have to be looked for when a process dies."""


class ObjectStore(Protocol):
    """Every method raises Unavailable where the object store is away, refuses us, or takes too long."""

    async def put(self, key: str, data: bytes) -> None:
        """As a whole or not at all; what was there is replaced."""
        ...

    async def get(self, key: str, *, max_bytes: int) -> bytes | None:
        """None where there is none, or one that is larger."""
        ...

    async def delete(self, key: str) -> None:
        """Where there is none, nothing happens."""
        ...


def object_key(tenant_id: UUID, blob_id: UUID, number: int) -> str:
    return f"{tenant_id}/{blob_id}/{number}"
