"""The child that reads documents, as a break-out would have it: it does what it is told. Imported by children."""

from collections.abc import Iterator
from io import BytesIO

from copilot_domain.documents.child import read_document, warm_up
from support import sandboxed

__all__ = ["warm_up"]

_ORDER = b"then "


def read_or_obey(header: bytes, body: BytesIO) -> Iterator[bytes]:
    """What begins with "then" is an order, all else a document."""
    return sandboxed.stream(header, body) if header.startswith(_ORDER) else read_document(header, body)
