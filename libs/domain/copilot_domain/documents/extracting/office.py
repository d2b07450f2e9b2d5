"""Office Open XML: a zip of XML parts, which is looked through before a library reads it."""

import re
from collections.abc import Callable
from typing import Final

from lxml import etree

from copilot_domain.documents.extracting.archive import Archive, damaged
from copilot_domain.documents.types import DocumentError

# No part of an office file has a document type; one that does wants to define entities.
_DOCTYPES: Final = tuple("<!DOCTYPE".encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be"))
_OVERLAP: Final = 64  # bytes kept of the step before: what is looked for may be cut between two

Look = Callable[[str, bytes], None]


def inspect(archive: Archive, look: Look | None = None) -> None:
    """Inflates every XML part once, measured, and refuses document types. `look` is shown each part's name and its
    bytes, in steps that overlap a little. Pictures and the like are not inflated: nothing reads them."""
    for info in archive.members():
        if not info.filename.lower().endswith((".xml", ".rels")):
            continue
        tail = b""
        for chunk in archive.stream(info):
            window = tail + chunk
            if any(mark in window for mark in _DOCTYPES):
                raise DocumentError("EXTRACTION_FAILED", "It defines XML entities, which no office program writes.")
            if look is not None:
                look(info.filename, window)
            tail = window[-_OVERLAP:]


def parse_part(data: bytes) -> etree._Element:
    """Raises DocumentError for what is not XML. Nothing is fetched, no entity is expanded, depth is at most 256."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        return etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise damaged() from None


def local_name(element: etree._Element) -> str:
    """ "" for comments and the like."""
    tag = element.tag
    return re.sub(r"^\{.*\}", "", tag) if isinstance(tag, str) else ""
