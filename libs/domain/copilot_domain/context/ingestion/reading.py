"""From an item to its text and the places of its chunks, by way of a capped child process.

Memory follows the pieces of a blob and the number of chunks, not the document: its bytes go to the child as they are
read, its text comes back and is written in the same way.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Final, TypeVar, cast
from uuid import UUID

import msgspec

from copilot_common.base.errors import NotFound, TooLarge
from copilot_common.blobs import PIECE_BYTES, BlobStore
from copilot_common.embedding import EmbedderSpec
from copilot_common.encryption import DecryptionError, Purpose
from copilot_common.platform.background import turns
from copilot_common.platform.sandbox.errors import KillReason, SandboxKilled
from copilot_common.platform.sandbox.limits import Limits
from copilot_common.platform.sandbox.pool import Sandbox
from copilot_common.tenancy import Principal, TenantDatabase
from copilot_domain.context.ingestion.errors import IngestionError
from copilot_domain.context.ingestion.fetching import Fetcher
from copilot_domain.context.ingestion.pipeline import ReadDocument
from copilot_domain.context.ingestion.preparing import ItemVersion
from copilot_domain.context.ingestion.staging import staged_blob
from copilot_domain.context.ingestion.writing import Unchanged
from copilot_domain.context.reembedding.embedders import Embedders
from copilot_domain.context.repository import ItemRow
from copilot_domain.documents.reply import Form, Part, ReadRequest, decode_fault, decode_pieces, encode
from copilot_domain.documents.types import MAX_CHUNK_TOKENS, Piece, Source

MAX_TEXT_BYTES: Final = 64_000_000
"""Of an extracted text in UTF-8: 16 million characters, as the extraction bounds them."""

_LIMITS: Final = Limits(
    memory_bytes=768 * 1024 * 1024,  # 50 MB of PDF or XLSX, unpacked
    wall_seconds=120.0,
    cpu_seconds=100,
    open_files=16,
    niceness=10,  # whoever waits for an answer comes before a batch of documents
    output_bytes=MAX_TEXT_BYTES + 16_000_000,  # and the places of some 100 000 chunks
)
_WAIT_SECONDS: Final = 300.0  # for a child: a job has time

_MAX_PIECE_CHARS: Final = 100_000  # 400 tokens of the longest kind are a quarter of it
_MAX_SENTENCE: Final = 500

_T = TypeVar("_T")

_KILLED: Final[dict[KillReason, tuple[str, str]]] = {
    "time": ("EXTRACTION_FAILED", "Reading it takes longer than allowed. Split it into smaller documents."),
    "memory": ("TOO_LARGE", "Reading it takes more memory than allowed. Split it into smaller documents."),
    "output": ("TOO_LARGE", "It has more text than allowed. Split it into smaller documents."),
    "died": ("EXTRACTION_FAILED", "It could not be read. Save it anew, or in another format."),
}

_LOST: Final = frozenset({"CONTENT_MISSING", "CONTENT_UNREADABLE"})


def document_sandbox(*, size: int) -> Sandbox:
    """The children that read documents: `size` at once, each some 100 MB."""
    entry = "copilot_domain.documents.child:read_document"
    return Sandbox(entry, size=size, limits=_LIMITS, wait_seconds=_WAIT_SECONDS)


@dataclass(frozen=True, slots=True)
class _Cutting:
    """How long chunks are: as much as the embedder reads that makes their vectors, by its tokens."""

    embedder: EmbedderSpec

    @property
    def max_tokens(self) -> int:
        return min(MAX_CHUNK_TOKENS, self.embedder.chunk_tokens or MAX_CHUNK_TOKENS)

    @property
    def name(self) -> str:
        """What tells chunks of the same text apart: another model may want them otherwise."""
        size = "" if self.max_tokens == MAX_CHUNK_TOKENS else f" {self.max_tokens}"
        return f"{self.embedder.tokenizer}{size}"


class DocumentReader:
    """The reader of a process. Raises as `Reader` says."""

    def __init__(
        self, db: TenantDatabase, blobs: BlobStore, sandbox: Sandbox, fetcher: Fetcher, embedders: Embedders
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._sandbox = sandbox
        self._fetcher = fetcher
        self._embedders = embedders

    async def read(self, principal: Principal, item: ItemRow, version: ItemVersion) -> ReadDocument:
        cutting = self._cutting(version)
        blob_id, media_type = await self._find(principal, item, version, cutting)
        if blob_id is None:
            raise IngestionError("CONTENT_MISSING", "Its content is not there.")
        try:
            return await self._read_blob(principal, item, version, cutting, blob_id, media_type)
        except IngestionError as error:
            # The server says that it is as it was, but part of what it was is lost here.
            if error.reason not in _LOST or item.type != "url" or blob_id != item.source_id:
                raise
        fetched = await self._fetcher.fetch(principal, item, version, is_afresh=True)
        return await self._read_blob(principal, item, version, cutting, fetched.blob_id, fetched.media_type)

    def _cutting(self, version: ItemVersion) -> _Cutting:
        """While an index is re-embedded, as whichever model reads less."""
        specs = [self._embedders.spec(model) for model in version.models] or [self._embedders.default]
        return min(map(_Cutting, specs), key=lambda cutting: cutting.max_tokens)

    async def _read_blob(
        self,
        principal: Principal,
        item: ItemRow,
        version: ItemVersion,
        cutting: _Cutting,
        blob_id: UUID,
        media_type: str,
    ) -> ReadDocument:
        cipher = await self._db.cipher(principal)
        request = ReadRequest(
            source=Source(
                name=cipher.open_text(Purpose.CONTEXT_NAME, item.id, item.name_sealed), media_type=media_type
            ),
            form=cast(Form, "file" if item.type in {"file", "url"} else item.type),
            tokenizer=cutting.embedder.tokenizer,
            max_tokens=cutting.max_tokens,
            shown_tokens=cutting.embedder.shown_tokens,
        )
        try:
            return await self._read(principal, version, request, blob_id, cutting.name)
        except NotFound:
            raise IngestionError("CONTENT_MISSING", "Its content is not there.") from None
        except DecryptionError:
            raise IngestionError("CONTENT_UNREADABLE", "What is stored of its content is damaged.") from None
        except SandboxKilled as killed:
            raise IngestionError(*_KILLED[killed.reason]) from None
        except TooLarge:
            raise IngestionError(*_KILLED["output"]) from None

    async def _find(
        self, principal: Principal, item: ItemRow, version: ItemVersion, cutting: _Cutting
    ) -> tuple[UUID | None, str]:
        """The blob of what is to be read, and what is said of its type."""
        match item.type:
            case "url":
                fetched = await self._fetcher.fetch(principal, item, version)
                if version.is_refresh and fetched.is_same and _is_cut(item, cutting):
                    raise Unchanged
                return fetched.blob_id, fetched.media_type
            case "file":
                return item.source_id, item.media_type or ""
        return item.source_id or item.content_id, ""  # a text that is to take the place of another

    async def _read(
        self, principal: Principal, version: ItemVersion, request: ReadRequest, blob_id: UUID, cutting: str
    ) -> ReadDocument:
        source = await self._blobs.open(principal, blob_id)
        size_bytes, content, text = source.info.size_bytes, source.pieces, None
        turn = AsyncExitStack()
        if request.form != "file" and size_bytes <= PIECE_BYTES:
            text = b"".join([piece async for piece in content])
            content = _in_turn(text, turn)
        async with turn, aclosing(self._sandbox.stream(encode(request), content, size_bytes)) as parts:
            answer = _Answer(parts)
            content_id = blob_id
            if request.form == "file":
                content_id = await self._write_text(principal, version, answer)
            return ReadDocument(content_id, [piece async for piece in answer.pieces()], cutting, text)

    async def _write_text(self, principal: Principal, version: ItemVersion, answer: "_Answer") -> UUID:
        async with staged_blob(self._db, self._blobs, principal, version, answer.text(), max_bytes=MAX_TEXT_BYTES) as (
            _,
            blob,
        ):
            return blob.blob_id


def _is_cut(item: ItemRow, cutting: _Cutting) -> bool:
    """Its chunks are those of what was fetched last: one that failed may have fetched after them."""
    is_live = item.chunk_count > 0 and item.content_id is not None and item.live_hash is not None
    return is_live and (item.live_hash, item.live_tokenizer) == (item.content_hash, cutting.name)


async def _in_turn(text: bytes, turn: AsyncExitStack) -> AsyncIterator[bytes]:
    """The turn begins when there is a child that asks for the text. Files and larger texts are read from elsewhere
    meanwhile, and may take long: they have their own processes."""
    await turn.enter_async_context(turns().turn())
    yield text


class _Answer:
    """A child's parts, its text first: whatever comes out of a child is checked for being what it should be. Raises
    SandboxKilled where it is not."""

    def __init__(self, parts: AsyncGenerator[bytes, None]) -> None:
        self._parts = parts
        self._next: tuple[Part, bytes] | None = None

    async def text(self) -> AsyncIterator[bytes]:
        while (payload := await self._take(Part.TEXT)) is not None:
            yield payload

    async def pieces(self) -> AsyncIterator[Piece]:
        last = -1
        while (payload := await self._take(Part.PIECES)) is not None:
            for piece in _decoded(decode_pieces, payload):
                _check(piece, after=last)
                last = piece.start
                yield piece
        if await self._take(Part.DONE) is None:
            raise SandboxKilled("died")
        await self._end()

    async def _take(self, wanted: Part) -> bytes | None:
        """The next part if it is of that kind; else it is the next one's."""
        if self._next is None:
            part = await anext(self._parts, b"")
            self._next = _known(part)
        kind, payload = self._next
        if kind is Part.FAULT:
            fault = _decoded(decode_fault, payload)
            if len(fault.message) > _MAX_SENTENCE or not fault.message.isprintable():
                raise SandboxKilled("died")
            await self._end()
            raise IngestionError(fault.code, fault.message)
        if kind is not wanted:
            return None
        self._next = None
        return payload

    async def _end(self) -> None:
        """Read on to the very end: a child that is left before is killed."""
        if await anext(self._parts, None) is not None:
            raise SandboxKilled("died")


def _known(part: bytes) -> tuple[Part, bytes]:
    try:
        return Part(part[0]), part[1:]
    except (IndexError, ValueError):
        raise SandboxKilled("died") from None


def _decoded(decode: Callable[[bytes], _T], payload: bytes) -> _T:
    try:
        return decode(payload)
    except msgspec.DecodeError:
        raise SandboxKilled("died") from None


def _check(piece: Piece, *, after: int) -> None:
    """Within what columns and memory hold. Raises SandboxKilled for what the cutting never makes."""
    is_range = after < piece.start < piece.end <= min(piece.start + _MAX_PIECE_CHARS, MAX_TEXT_BYTES)
    is_counted = 0 <= piece.token_count <= _MAX_PIECE_CHARS and 1 <= (piece.page or 1) <= MAX_TEXT_BYTES
    if not is_range or not is_counted or piece.page == 0 or sum(map(len, piece.heading)) > _MAX_PIECE_CHARS:
        raise SandboxKilled("died")
