"""What every blob store does, wherever it keeps the bytes."""

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from copilot_common.tenancy import Principal, Transaction


@dataclass(frozen=True)
class BlobInfo:
    """`sha256` is the content's digest. It tells equal contents apart from others: keep it sealed, like the content."""

    blob_id: UUID
    size_bytes: int
    sha256: bytes


@dataclass(frozen=True)
class Upload:
    """Content that has come in whole and is not a blob yet: `finish` makes it one. `sha256` as in BlobInfo."""

    blob_id: UUID
    size_bytes: int
    piece_bytes: int
    sha256: bytes


@dataclass(frozen=True)
class OpenBlob:
    """Read `pieces` once; each but the first is read when it is asked for."""

    info: BlobInfo
    pieces: AsyncIterator[bytes] = field(repr=False)


class BlobStore(Protocol):
    """Blobs belong to the principal's tenant; who within it may read one is the caller's to know.

    An id is used once, also after its blob was deleted; a second blob of the same id is a Conflict. What reads raises
    NotFound where the blob is absent, another tenant's or not finished, and DecryptionError where what is stored is not
    what was written: content is never silently short.
    """

    async def put(self, tx: Transaction, blob_id: UUID, data: bytes) -> BlobInfo:
        """Small content, in the caller's transaction. Raises TooLarge, Conflict."""
        ...

    async def write(
        self, principal: Principal, blob_id: UUID, chunks: AsyncIterable[bytes], *, max_bytes: int
    ) -> BlobInfo:
        """`upload` and `finish` in one: readable once this returns."""
        ...

    async def upload(
        self, principal: Principal, blob_id: UUID, chunks: AsyncIterable[bytes], *, max_bytes: int
    ) -> Upload:
        """Content from a client of any speed: nothing is held while the next chunk is waited for. Raises TooLarge,
        Conflict, NotFound where it was deleted meanwhile, and what `chunks` raises; what was written until then is
        discarded or pruned. What is not finished within 23 hours of its beginning never will be, and is pruned."""
        ...

    async def finish(self, tx: Transaction, upload: Upload) -> BlobInfo:
        """In the transaction of what refers to it, so that neither is there without the other. Raises NotFound where
        it was discarded, deleted or pruned."""
        ...

    async def discard(self, principal: Principal, blob_id: UUID) -> None:
        """What was uploaded and has not been finished goes at once; a finished blob stays."""
        ...

    async def open(self, principal: Principal, blob_id: UUID) -> OpenBlob:
        """What is known of it, and its content as `read` gives it. The first piece has been read: what cannot be read
        at all raises here."""
        ...

    def read(self, principal: Principal, blob_id: UUID) -> AsyncIterator[bytes]:
        """Piece by piece, one in memory at a time, nothing held in between. Deleted on the way, it is NotFound."""
        ...

    async def read_all(self, principal: Principal, blob_id: UUID, *, max_bytes: int) -> bytes:
        """Raises TooLarge before anything is read."""
        ...

    async def delete(self, tx: Transaction, blob_id: UUID) -> None:
        """Finished or not. Where there is none, nothing happens."""
        ...
