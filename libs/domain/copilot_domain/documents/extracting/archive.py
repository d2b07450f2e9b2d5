"""Zip archives from strangers: nothing is written to a disk, and sizes are those measured, not those claimed."""

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from typing import Final

from copilot_domain.documents.extracting.draft import MAX_INFLATED_BYTES, Draft
from copilot_domain.documents.types import DocumentError

# The directory's entries are held as objects of half a kilobyte, those of archives stored inside included.
_MAX_ENTRIES: Final = 10_000
_ENTRY: Final = b"PK\x01\x02"
_CHUNK: Final = 1024 * 1024
_ENCRYPTED: Final = 0x1
# Others (bzip2, LZMA) inflate in steps whose size Python does not bound; nobody's documents use them.
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNSAFE_NAME: Final = re.compile(r"^/|^[A-Za-z]:|(^|/)\.\.(/|$)")

_FAILURES: Final = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, OSError)


def damaged() -> DocumentError:
    return DocumentError("EXTRACTION_FAILED", "The file is damaged or incomplete. Save it anew and upload it again.")


def protected() -> DocumentError:
    return DocumentError("EXTRACTION_FAILED", "It is protected by a password. Upload it without one.")


class Archive:
    """Raises DocumentError, for a file that is not a zip too. Bytes that are inflated count in `draft`. Backslashes in
    paths, which .NET wrote before 4.6.1, are slashes."""

    def __init__(self, data: bytes, draft: Draft) -> None:
        if data.count(_ENTRY) > _MAX_ENTRIES:
            raise DocumentError("TOO_LARGE", "It holds more than 10 000 files. Split it into smaller archives.")
        try:
            self._file = zipfile.ZipFile(io.BytesIO(data))
        except _FAILURES:
            raise damaged() from None
        for info in self._file.infolist():
            info.filename = info.filename.replace("\\", "/")
        self._named = {info.filename: info for info in self._file.infolist()}
        self._draft = draft

    def members(self) -> list[zipfile.ZipInfo]:
        """Plain files with paths that lead nowhere else. Raises if one of them is encrypted."""
        found = [info for info in self._file.infolist() if _is_plain(info)]
        if any(info.flag_bits & _ENCRYPTED for info in found):
            raise protected()
        return [info for info in found if info.compress_type in _METHODS]

    def names(self) -> list[str]:
        return self._file.namelist()

    def read(self, member: zipfile.ZipInfo | str) -> bytes:
        """Raises KeyError for a name that is not there."""
        info = self._named[member] if isinstance(member, str) else member
        return b"".join(self.stream(info))

    def stream(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """In steps of a megabyte at most. Raises if more or less comes out than the directory says: others that read
        the same archive must see the same bytes."""
        claimed, measured = info.file_size, 0
        if info.compress_type not in _METHODS:
            raise damaged()
        info.file_size = MAX_INFLATED_BYTES + _CHUNK  # zipfile would stop at the claim
        try:
            with self._file.open(info) as stream:
                while chunk := stream.read(_CHUNK):
                    measured += len(chunk)
                    self._draft.inflate(len(chunk))
                    yield chunk
        except _FAILURES:
            raise damaged() from None
        finally:
            info.file_size = claimed
        if measured != claimed:
            raise damaged()


def _is_plain(info: zipfile.ZipInfo) -> bool:
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    is_file = kind in (0, stat.S_IFREG) and not info.is_dir()
    return is_file and not _UNSAFE_NAME.search(info.filename) and not info.filename.startswith("__MACOSX/")
