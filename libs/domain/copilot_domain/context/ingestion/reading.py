"""Interim."""

from copilot_common.base.errors import NotFound
from copilot_common.blobs import BlobStore
from copilot_common.encryption import DecryptionError
from copilot_common.tenancy import Principal
from copilot_domain.context.chunking import split_chunks
from copilot_domain.context.ingestion.errors import IngestionError
from copilot_domain.context.ingestion.pipeline import ReadDocument
from copilot_domain.context.repository import ItemRow


class DocumentReader:
    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    async def read(self, principal: Principal, item: ItemRow, version: object) -> ReadDocument:
        if item.content_id is None:
            raise IngestionError("CONTENT_MISSING", "Its content is not there.")
        try:
            data = await self._blobs.read_all(principal, item.content_id, max_bytes=4_000_000)
            text = data.decode()
        except NotFound:
            raise IngestionError("CONTENT_MISSING", "Its content is not there.") from None
        except (DecryptionError, UnicodeDecodeError):
            raise IngestionError("CONTENT_UNREADABLE", "Its content cannot be read as text.") from None
        return ReadDocument(item.content_id, split_chunks(text, item.type))
