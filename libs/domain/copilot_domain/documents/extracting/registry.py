"""Which format a file has, and who reads it: by its bytes, else by its name, else by what was said of it."""

from collections.abc import Callable
from typing import Final, NamedTuple

from copilot_domain.documents.extracting import decoding, samples
from copilot_domain.documents.extracting.archive import Archive, protected
from copilot_domain.documents.extracting.draft import Draft
from copilot_domain.documents.extracting.formats import (
    delimited,
    docx,
    html,
    json_values,
    pdf,
    plain,
    pptx,
    xlsx,
    zip_members,
)
from copilot_domain.documents.extracting.formats.languages import language_of
from copilot_domain.documents.types import Document, DocumentError, Source

Read = Callable[[bytes, Source, Draft], None]


class Format(NamedTuple):
    media_type: str
    read: Read
    extensions: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()  # media types that mean the same


def _read_zip(data: bytes, source: Source, draft: Draft) -> None:
    zip_members.read(data, draft, lambda content, member: read_into(draft, member, content))


_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
_PDF: Final = Format("application/pdf", pdf.read)
_DOCX: Final = Format(f"{_OFFICE}.wordprocessingml.document", docx.read)
_PPTX: Final = Format(f"{_OFFICE}.presentationml.presentation", pptx.read)
_XLSX: Final = Format(f"{_OFFICE}.spreadsheetml.sheet", xlsx.read)
_ZIP: Final = Format("application/zip", _read_zip)
_HTML: Final = Format("text/html", html.read, ("html", "htm", "xhtml"), ("application/xhtml+xml",))
_CODE: Final = Format("text/x-source", plain.read_code)
_TEXT: Final = Format("text/plain", plain.read_text)

# Formats whose bytes don't tell.
_NAMED: Final = (
    _HTML,
    Format("text/markdown", plain.read_markdown, ("md", "markdown", "mdown", "mkd", "mdx"), ("text/x-markdown",)),
    Format("text/csv", delimited.read, ("csv",), ("application/csv",)),
    Format("text/tab-separated-values", delimited.read, ("tsv", "tab")),
    Format(
        "application/json",
        json_values.read,
        ("json", "jsonl", "ndjson", "geojson", "ipynb", "webmanifest"),
        ("text/json", "application/x-ndjson", "application/jsonl", "application/ld+json", "application/geo+json"),
    ),
    Format("text/plain", plain.read_text, ("txt", "text", "log")),
)
_BY_EXTENSION: Final = {ending: format_ for format_ in _NAMED for ending in format_.extensions}
_BY_MEDIA_TYPE: Final = {name: format_ for format_ in _NAMED for name in (format_.media_type, *format_.aliases)}

# Inside of a zip with [Content_Types].xml: the folder of its main part.
_OFFICE_FOLDERS: Final = (("word/", _DOCX), ("ppt/", _PPTX), ("xl/", _XLSX))

_SAVE_AS: Final = "Save it as DOCX, PPTX, XLSX or PDF and upload that."
# First bytes of what is not read, and what to do about it.
_REFUSED: Final = (
    (b"\x89PNG\r\n", "It is a picture. Text in it would have to be recognised (OCR) first."),
    (b"\xff\xd8\xff", "It is a picture. Text in it would have to be recognised (OCR) first."),
    (b"GIF8", "It is a picture. Text in it would have to be recognised (OCR) first."),
    (b"II*\0", "It is a picture. Text in it would have to be recognised (OCR) first."),
    (b"MM\0*", "It is a picture. Text in it would have to be recognised (OCR) first."),
    (b"RIFF", "It is a picture, a sound or a film."),
    (b"OggS", "It is a sound or a film."),
    (b"ID3", "It is a sound."),
    (b"fLaC", "It is a sound."),
    (b"\x1a\x45\xdf\xa3", "It is a film."),
    (b"\x7fELF", "It is a program."),
    (b"\xca\xfe\xba\xbe", "It is a program."),
    (b"\0asm", "It is a program."),
    (b"SQLite format 3\0", "It is a database. Export its tables as CSV."),
    (b"\x1f\x8b", "It is compressed. Unpack it, or pack it as a zip."),
    (b"BZh", "It is compressed. Unpack it, or pack it as a zip."),
    (b"\xfd7zXZ\0", "It is compressed. Unpack it, or pack it as a zip."),
    (b"\x28\xb5\x2f\xfd", "It is compressed. Unpack it, or pack it as a zip."),
    (b"7z\xbc\xaf\x27\x1c", "It is compressed. Unpack it, or pack it as a zip."),
    (b"Rar!\x1a\x07", "It is compressed. Unpack it, or pack it as a zip."),
    (b"{\\rtf", f"It is of an older format (RTF). {_SAVE_AS}"),
)
_COMPOUND: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # Office before 2007, and what Office encrypts
_PDF_MARK: Final = b"%PDF-"
_PDF_WITHIN: Final = 1024  # bytes of anything before a PDF, which readers put up with
_HTML_STARTS: Final = (b"<!doctype html", b"<html")
# Languages in whose name web servers send pages, not sources.
_SERVERS_LANGUAGES: Final = ("php", "perl")


def extract(source: Source, data: bytes) -> Document:
    """Raises DocumentError, whose sentence quotes nothing of the document, and MemoryError; nothing else."""
    draft = Draft()
    return draft.finish(read_into(draft, source, data))


def read_into(draft: Draft, source: Source, data: bytes) -> str:
    """Writes what is read into the draft and gives back its media type. Raises as `extract` does."""
    if not data.strip():
        raise DocumentError("EMPTY", "The file is empty.")
    found = _decide(source, data)
    try:
        found.read(data, source, draft)
    except (DocumentError, MemoryError):
        raise
    except Exception:  # a library's, whose text may quote the document
        raise DocumentError("EXTRACTION_FAILED", "It could not be read. Save it anew, or in another format.") from None
    return found.media_type


def warm_up() -> None:
    """Loads what is loaded late: codecs, and whatever the libraries keep until their first document."""
    decoding.warm_up()
    for name, data in samples.every_format():
        extract(Source(name=name), data)


def _decide(source: Source, data: bytes) -> Format:
    return _by_bytes(source, data) or _by_name(source, data)


def _by_bytes(source: Source, data: bytes) -> Format | None:
    """Raises DocumentError for what is known and not read."""
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _of_zip(data)
    called_pdf = _extension(source) == "pdf" or _media_type(source) == _PDF.media_type
    if data[:_PDF_WITHIN].lstrip().startswith(_PDF_MARK) or (called_pdf and _PDF_MARK in data[:_PDF_WITHIN]):
        return _PDF
    if data.startswith(_COMPOUND):
        if "EncryptedPackage".encode("utf-16-le") in data:
            raise protected()
        raise DocumentError("UNSUPPORTED_TYPE", f"It is of an older format of Office. {_SAVE_AS}")
    for mark, sentence in _REFUSED:
        if data.startswith(mark):
            raise DocumentError("UNSUPPORTED_TYPE", sentence)
    return None


def _of_zip(data: bytes) -> Format:
    archive = Archive(data, Draft())
    names = archive.names()
    if "[Content_Types].xml" in names:
        for folder, office in _OFFICE_FOLDERS:
            if any(name.startswith(folder) for name in names):
                return office
    if names[:1] == ["mimetype"] and archive.read("mimetype").startswith(b"application/vnd.oasis"):
        raise DocumentError("UNSUPPORTED_TYPE", f"It is an OpenDocument file. {_SAVE_AS}")
    return _ZIP


def _by_name(source: Source, data: bytes) -> Format:
    declared = _BY_MEDIA_TYPE.get(_media_type(source))
    named = _BY_EXTENSION.get(_extension(source))
    if named:
        return named
    language = language_of(source.name, data)
    if language and not (language in _SERVERS_LANGUAGES and declared is _HTML):
        return _CODE
    if declared:
        return declared
    return _HTML if data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_HTML_STARTS) else _TEXT


def _extension(source: Source) -> str:
    """ "" where there is none."""
    base = source.name.replace("\\", "/").rpartition("/")[2].lower()
    return base.rpartition(".")[2] if "." in base else ""


def _media_type(source: Source) -> str:
    return source.media_type.partition(";")[0].strip().lower()
