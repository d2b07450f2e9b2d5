"""/context/files: files as they come, straight into the blob store."""

from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Response, post
from litestar.openapi.spec import OpenAPIFormat, OpenAPIMediaType, OpenAPIType, Operation, Schema
from litestar.openapi.spec import RequestBody as Body

from copilot_api.http.body import decode_strict
from copilot_api.http.idempotency import HttpRequest, answer_once, check_key, has_key
from copilot_api.http.multipart import FORM, Part, read_parts
from copilot_api.http.parameters import ActingPrincipal, AppServices
from copilot_api.http.streamed_body import read_body
from copilot_api.resources.context.schemas import FileFields
from copilot_common.base.errors import InvalidInput
from copilot_domain.context import Item
from copilot_domain.context.uploading import MAX_FILES, FileBatch, receive_files

_FILES_OF_A_REQUEST = 4  # of the largest size, so that one request has its bounds
_JSON_FIELDS = frozenset({"metadata", "acl", "file_metadata", "bulk"})
_FIELDS = _JSON_FIELDS | {"collection_id", "expires_at"}
_NO_FILES_BYTES = 200_000  # of a body may be fields and the heads of its parts
_MAX_FIELD_BYTES = 65_536  # all are held to less; this is what of them is read

_METADATA = Schema(type=OpenAPIType.OBJECT, description="Of all files. Before the files.")
_FILE_METADATA = Schema(
    type=OpenAPIType.ARRAY,
    items=Schema(type=OpenAPIType.OBJECT),
    description="One for each file, in their order: added to `metadata`, and goes before it. Likewise.",
)
_ACL = Schema(type=OpenAPIType.ARRAY, items=Schema(type=OpenAPIType.OBJECT), description="Likewise.")
_COLLECTION = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.UUID, description="Likewise.")
_EXPIRY = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.DATE_TIME, description="Likewise.")
_BULK = Schema(
    type=OpenAPIType.BOOLEAN,
    description="They are some of very many: what is sent without it is made ready before them. Likewise.",
)
_FILES = Schema(
    type=OpenAPIType.ARRAY,
    items=Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY),
    max_items=MAX_FILES,
    description="Any part with a file name is a file, whatever it is called.",
)


@dataclass
class TakesFiles(Operation):
    """A handler that reads its body itself says so to OpenAPI by `operation_class`."""

    def __post_init__(self) -> None:
        form = Schema(
            type=OpenAPIType.OBJECT,
            properties={
                "metadata": _METADATA,
                "acl": _ACL,
                "file_metadata": _FILE_METADATA,
                "collection_id": _COLLECTION,
                "expires_at": _EXPIRY,
                "bulk": _BULK,
                "file": _FILES,
            },
            required=["file"],
        )
        self.request_body = Body(content={FORM: OpenAPIMediaType(schema=form)}, required=True)


@post(
    "/api/v1/context/files",
    tags=("context",),
    status_code=201,
    operation_class=TakesFiles,
    opt={"media_types": frozenset({FORM})},
    request_max_body_size=None,  # `read_body` has its own
)
async def upload_files(request: HttpRequest, principal: ActingPrincipal, services: AppServices) -> Response[list[Item]]:
    """One item per file, all of them or none; each is searchable once its status is `ready`. `metadata` (a JSON object)
    and `acl` (a JSON list), `collection_id` and `expires_at` (texts as they are) are form fields that come before the
    files and count for all of them; `file_metadata` is a JSON list of objects, one for each file."""
    check_key(request)
    services.uploads.check(principal.tenant_id)
    if not has_key(request):  # a repeat must be answered as the first was, which may have filled the quota
        async with services.tenants_db.transaction(principal) as tx:
            await services.context.foresee(tx, size_bytes=max(0, (request.content_length or 0) - _NO_FILES_BYTES))
    max_bytes = services.settings.max_upload_bytes
    with services.uploads.inside(principal.tenant_id):
        async with receive_files(services.context, services.blobs, principal, max_bytes=max_bytes) as batch:
            await _receive(request, batch, max_bytes=_FILES_OF_A_REQUEST * max_bytes)
            # Nothing has taken effect yet: a repeat is told by what has been read, and its uploads are discarded.
            return await answer_once(services, request, principal, batch.create, status=201, body=batch.digest())


async def _receive(request: HttpRequest, batch: FileBatch, *, max_bytes: int) -> None:
    body = read_body(request.receive, content_length=request.content_length, max_bytes=max_bytes)
    fields: dict[str, object] = {}
    async for part in read_parts(request.headers.get("content-type", ""), body):
        if part.name in _FIELDS:
            await _take_field(part, fields, batch)
        elif part.file_name is None:
            raise InvalidInput({part.name or "body": "is not a field of this request; a file has a file name"})
        else:
            if not len(batch):
                _describe(fields, batch)
            await batch.add(part.file_name, part.media_type, part.chunks)


async def _take_field(part: Part, fields: dict[str, object], batch: FileBatch) -> None:
    if len(batch):
        raise InvalidInput({part.name: "must come before the files"})
    if part.name in fields:
        raise InvalidInput({part.name: "is given twice"})
    raw = bytearray()
    async for chunk in part.chunks:
        raw += chunk
        if len(raw) > _MAX_FIELD_BYTES:
            raise InvalidInput({part.name: "is too long"})
    fields[part.name] = _decoded(part.name, bytes(raw))


def _decoded(name: str, raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw) if name in _JSON_FIELDS else raw.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput({name: "must be JSON" if name in _JSON_FIELDS else "must be UTF-8"}) from None


def _describe(fields: dict[str, object], batch: FileBatch) -> None:
    described = decode_strict(msgspec.json.encode(fields), FileFields)
    batch.describe(described.to_new(), described.file_metadata)
