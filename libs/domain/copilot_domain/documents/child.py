"""What a child of the context service does with a document: read it, cut it, say where its chunks are."""

from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import Final

from copilot_domain.documents import chunking, extracting
from copilot_domain.documents.chunking import ChunkRules
from copilot_domain.documents.extracting.formats.languages import language_of
from copilot_domain.documents.reply import Fault, Form, Part, ReadRequest, decode_request, encode
from copilot_domain.documents.types import Document, DocumentError, Section, SectionKind, Source

_TEXT_CHARS: Final = 60_000  # of a part: at most 240 KB
_PIECES: Final = 90  # of a part: at most 1 MB, since a path of headings has 2 600 characters

_KINDS: Final[dict[Form, SectionKind]] = {"text": "text", "code": "code", "document": "markdown"}


def warm_up() -> None:
    """No file can be opened later."""
    extracting.warm_up()
    chunking.warm_up("wordllama")


def read_document(header: bytes, body: BytesIO) -> Iterator[bytes]:
    """The sandbox's entry. MemoryError passes through: the sandbox has a word for it."""
    request = decode_request(header)
    try:
        yield from _read(request, body.getvalue())
    except DocumentError as error:
        yield _part(Part.FAULT, encode(Fault(error.code, error.message)))


def _read(request: ReadRequest, data: bytes) -> Iterator[bytes]:
    if request.form == "file":
        document = extracting.extract(request.source, data)
        for first in range(0, len(document.text), _TEXT_CHARS):
            yield _part(Part.TEXT, document.text[first : first + _TEXT_CHARS].encode())
    else:
        document = _as_sent(request.source, request.form, data)
    del data
    rules = ChunkRules.of_size(request.tokenizer, request.max_tokens, request.shown_tokens)
    pieces = chunking.cut(document, rules)
    while some := list(islice(pieces, _PIECES)):
        yield _part(Part.PIECES, encode(some))
    yield _part(Part.DONE, document.media_type.encode())


def _as_sent(source: Source, form: Form, data: bytes) -> Document:
    """Text that came as text is left as it is: its offsets are the sender's."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise DocumentError("EXTRACTION_FAILED", "It is not valid UTF-8.") from None
    language = language_of(source.name, data) if form == "code" else ""
    section = Section(start=0, end=len(text), kind=_KINDS[form], language=language)
    return Document(text=text, sections=(section,), media_type="text/plain")


def _part(kind: Part, payload: bytes) -> bytes:
    return bytes((kind,)) + payload
