"""What a URL item is made of: fetched through the one guarded way out, into a blob."""

import hmac
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn
from uuid import UUID

import msgspec

from copilot_common.base.errors import EgressFailed, EgressRefused, NotFound, TooLarge
from copilot_common.blobs import BlobInfo, BlobStore
from copilot_common.encryption import DecryptionError, HashPurpose, Purpose
from copilot_common.platform.egress.client import Egress, EgressStream
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_domain.context.ingestion.errors import FetchFailed, IngestionError
from copilot_domain.context.ingestion.preparing import ItemVersion
from copilot_domain.context.ingestion.staging import staged_blob
from copilot_domain.context.ingestion.writing import sql, version_key
from copilot_domain.context.quotas import Quotas
from copilot_domain.context.repository import ItemRow

FETCH_SECONDS: Final = 60.0
"""For all of one try: name, hops, body."""

_REDIRECTS: Final = 5
_ACCEPT: Final = "text/html,application/xhtml+xml,application/pdf,text/*;q=0.9,*/*;q=0.5"
_MAX_HEADER_CHARS: Final = 500
_GONE: Final = frozenset({404, 410})
_NOT_NOW: Final = frozenset({408, 425, 429})
_NEVER_TEXT: Final = ("image/", "video/", "audio/", "font/")


class Validators(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the server wants to be asked with, when it is asked again (RFC 9110, 13.1)."""

    etag: str = ""
    last_modified: str = ""

    def as_headers(self) -> dict[str, str]:
        wanted = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in wanted.items() if value}


@dataclass(frozen=True, slots=True)
class Fetched:
    """`is_same`: its bytes and type are those of the fetch before."""

    blob_id: UUID
    media_type: str
    is_same: bool


class Fetcher:
    """The fetcher of a process."""

    def __init__(
        self, db: TenantDatabase, blobs: BlobStore, egress: Egress, *, max_bytes: int, quotas: Quotas | None = None
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._egress = egress
        self._max_bytes = max_bytes
        self._quotas = quotas or Quotas()

    async def fetch(
        self, principal: Principal, item: ItemRow, version: ItemVersion, *, is_afresh: bool = False
    ) -> Fetched:
        """What the URL has now; `is_afresh`: whatever it had before. Raises IngestionError, QuotaExceeded;
        FetchFailed for another try."""
        cipher = await self._db.cipher(principal)
        url = cipher.open_text(Purpose.CONTEXT_URL, item.id, item.url_sealed or b"")
        validators = Validators() if is_afresh else await self._validators(principal, item)
        headers = {"Accept": _ACCEPT, **validators.as_headers()}
        try:
            async with self._egress.stream(
                "GET",
                url,
                headers=headers,
                max_bytes=self._max_bytes,
                timeout_seconds=FETCH_SECONDS,
                redirects=_REDIRECTS,
            ) as answer:
                return await self._take(principal, item, version, answer)
        except EgressRefused as refused:
            raise IngestionError("FETCH_BLOCKED", refused.message) from None
        except EgressFailed as failed:
            _explain(failed)
        except TooLarge:
            raise IngestionError("TOO_LARGE", f"What the URL has is larger than {self._max_bytes} bytes.") from None

    async def _validators(self, principal: Principal, item: ItemRow) -> Validators:
        """None where the bytes they tell of are not there any more: "as it was" would be no answer."""
        if not item.validators_sealed or item.source_id is None:
            return Validators()
        try:
            await self._blobs.open(principal, item.source_id)
        except (NotFound, DecryptionError):
            return Validators()
        cipher = await self._db.cipher(principal)
        known = cipher.open(Purpose.CONTEXT_VALIDATORS, item.id, item.validators_sealed)
        return msgspec.json.decode(known, type=Validators)

    async def _take(self, principal: Principal, item: ItemRow, version: ItemVersion, answer: EgressStream) -> Fetched:
        if answer.status == 304 and item.source_id is not None:
            async with self._db.transaction(principal) as tx:
                await tx.execute(sql["note_fetch"], version_key(tx, version))
            return Fetched(item.source_id, item.media_type or "", is_same=True)
        _check_status(answer.status)
        media_type = _plain(answer.headers, "Content-Type")
        if media_type.lower().startswith(_NEVER_TEXT):
            raise IngestionError("UNSUPPORTED_TYPE", "What the URL has is no document.")
        validators = Validators(_plain(answer.headers, "ETag"), _plain(answer.headers, "Last-Modified"))
        async with staged_blob(
            self._db, self._blobs, principal, version, _pieces(answer), max_bytes=self._max_bytes
        ) as (tx, blob):
            content_hash = await self._note(tx, version, blob, media_type, validators)
            if item.source_id is not None:
                await self._blobs.delete(tx, item.source_id)
            await self._quotas.claim(tx, size_bytes=blob.size_bytes - (item.size_bytes or 0))
        return Fetched(blob.blob_id, media_type, (content_hash, media_type) == (item.content_hash, item.media_type))

    async def _note(
        self, tx: Transaction, version: ItemVersion, blob: BlobInfo, media_type: str, validators: Validators
    ) -> bytes:
        cipher = await tx.cipher()
        sealed = cipher.seal(Purpose.CONTEXT_VALIDATORS, version.item_id, msgspec.json.encode(validators))
        content_hash = hmac.digest(cipher.hash_key(HashPurpose.CONTEXT_CONTENT), blob.sha256, "sha256")
        columns = {
            "source_id": blob.blob_id,
            "media_type": media_type,
            "size_bytes": blob.size_bytes,
            "content_hash": content_hash,
            "validators_sealed": sealed,
        }
        await tx.execute(sql["note_source"], {**version_key(tx, version), **columns})
        return content_hash


async def _pieces(answer: EgressStream) -> AsyncIterator[bytes]:
    async for piece in answer.pieces:
        yield piece


def _plain(headers: Mapping[str, str], name: str) -> str:
    """ "" for what a server may send but nobody can store or send back: it is a hint only."""
    value = headers.get(name, "")
    return value if len(value) <= _MAX_HEADER_CHARS and value.isascii() and value.isprintable() else ""


def _check_status(status: int) -> None:
    if status in _GONE:
        raise IngestionError("FETCH_FAILED", f"The URL has nothing any more (status {status}).")
    if status in _NOT_NOW or status >= 500:
        raise FetchFailed("FETCH_FAILED", f"The server cannot answer now (status {status}).")
    if not 200 <= status < 300:
        raise IngestionError("FETCH_FAILED", f"The server answered with status {status}.")


def _explain(failed: EgressFailed) -> NoReturn:
    match failed.failure:
        case "too_large":
            raise IngestionError("TOO_LARGE", failed.message) from None
        case "timeout":
            raise FetchFailed("FETCH_TIMEOUT", failed.message) from None
        case _:
            raise FetchFailed("FETCH_FAILED", failed.message) from None
