"""Files on their way in: their bytes are uploads until all of a request are there; then all become items, or none."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

import msgspec

from copilot_common.base.errors import CopilotError, InvalidInput, TooLarge
from copilot_common.base.ids import new_id
from copilot_common.blobs import BlobStore, Upload
from copilot_common.tenancy import Principal, Transaction
from copilot_domain.context.file_names import MAX_NAME_CHARACTERS, clean_file_name, refuse_hopeless
from copilot_domain.context.service import ContextService, check_item
from copilot_domain.context.types import Item, NewItem
from copilot_domain.metadata import check_metadata

MAX_FILES = 20
"""In one request."""

_MAX_MEDIA_TYPE = 255  # RFC 6838: 127 and 127


@dataclass(frozen=True)
class _File:
    new: NewItem
    media_type: str
    upload: Upload


class FileBatch:
    """The files of one request, in their order. Make one with `receive_files`."""

    def __init__(self, service: ContextService, blobs: BlobStore, principal: Principal, *, max_bytes: int) -> None:
        self._service = service
        self._blobs = blobs
        self._principal = principal
        self._max_bytes = max_bytes
        self._files: list[_File] = []
        self._blob_ids: list[UUID] = []
        self._described = NewItem(name="", type="file")
        self._own: Sequence[dict[str, object]] | None = None
        self.is_created = False

    def __len__(self) -> int:
        return len(self._blob_ids)

    def describe(self, described: NewItem, own: Sequence[dict[str, object]] | None = None) -> None:
        """What all files get besides their names, and the metadata that each of them gets besides. Raises
        InvalidInput."""
        check_item(described)
        self._described, self._own = described, own

    async def add(self, name: str, media_type: str, chunks: AsyncIterator[bytes]) -> None:
        """Raises InvalidInput, UNSUPPORTED_MEDIA_TYPE before a byte of it is read; TooLarge, and what `chunks`
        raises."""
        which = f"files[{len(self)}]"
        new, media_type = self._check(which, name, media_type)
        blob_id = new_id()
        self._blob_ids.append(blob_id)
        try:
            upload = await self._blobs.upload(self._principal, blob_id, chunks, max_bytes=self._max_bytes)
        except TooLarge as error:
            if error.max_bytes != self._max_bytes:
                raise  # the whole request is
            raise TooLarge(f"file {which}", max_bytes=error.max_bytes) from None
        if not upload.size_bytes:
            raise InvalidInput({which: "is empty"})
        self._files.append(_File(new, media_type, upload))

    def _check(self, which: str, name: str, media_type: str) -> tuple[NewItem, str]:
        if len(self) >= MAX_FILES:
            raise InvalidInput({"files": f"may be {MAX_FILES} in one request"})
        cleaned = clean_file_name(name)
        if not cleaned:
            raise InvalidInput({which: "must have a file name"})
        if len(cleaned) > MAX_NAME_CHARACTERS:
            raise InvalidInput({which: f"must have a file name of at most {MAX_NAME_CHARACTERS} characters"})
        if len(media_type) > _MAX_MEDIA_TYPE or not media_type.isprintable() or not media_type.isascii():
            raise InvalidInput({which: "has a content type that is not valid"})
        refuse_hopeless(cleaned, media_type, which=which)
        metadata = self._metadata_of_next()
        return msgspec.structs.replace(self._described, name=cleaned, metadata=metadata), media_type

    def _metadata_of_next(self) -> dict[str, object]:
        if self._own is None:
            return self._described.metadata
        if len(self) >= len(self._own):
            raise InvalidInput({"file_metadata": "must have one object for each file"})
        metadata = {**self._described.metadata, **self._own[len(self)]}
        check_metadata(metadata, field=f"file_metadata[{len(self)}]")
        return metadata

    def digest(self) -> bytes:
        """The same for the same request, however its parts were put into a body."""
        files = [(file.new, file.media_type, file.upload.sha256) for file in self._files]
        return msgspec.json.encode(files, order="deterministic")

    async def create(self, tx: Transaction) -> list[Item]:
        """Blobs and items come to be in one transaction. Raises InvalidInput for no files, QuotaExceeded."""
        if not self._files:
            raise InvalidInput({"files": "is required: at least one part with a file name"})
        if self._own is not None and len(self._own) != len(self._files):
            raise InvalidInput({"file_metadata": "must have one object for each file"})
        self.is_created = True
        items = [await self._create(tx, file) for file in self._files]
        await self._service.claim(tx, items=len(items), size_bytes=sum(file.upload.size_bytes for file in self._files))
        return items

    async def _create(self, tx: Transaction, file: _File) -> Item:
        source = await self._blobs.finish(tx, file.upload)
        return await self._service.create_file(tx, file.new, source, file.media_type)

    async def discard(self) -> None:
        """What has become an item stays, also where its transaction's end was never heard of."""
        for blob_id in self._blob_ids:
            with suppress(CopilotError):  # it is pruned after a day
                await self._blobs.discard(self._principal, blob_id)


@asynccontextmanager
async def receive_files(
    service: ContextService, blobs: BlobStore, principal: Principal, *, max_bytes: int
) -> AsyncIterator[FileBatch]:
    """A batch that leaves nothing behind unless `create` was called and the block ended well. `max_bytes` of a file."""
    batch = FileBatch(service, blobs, principal, max_bytes=max_bytes)
    try:
        yield batch
    except BaseException:  # a request whose client is gone may be cancelled
        await batch.discard()
        raise
    if not batch.is_created:
        await batch.discard()
