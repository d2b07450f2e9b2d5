"""Zip archives: each file that can be read, under its path."""

from collections.abc import Callable
from typing import Final

from copilot_domain.documents.extracting.archive import Archive
from copilot_domain.documents.extracting.draft import Draft, normalise
from copilot_domain.documents.extracting.markdown import one_line
from copilot_domain.documents.types import DocumentError, Source

_MAX_MEMBERS: Final = 2_000  # of all archives in it together; a project's sources have hundreds
_MAX_DEPTH: Final = 2  # an archive in an archive is somebody's habit, a third one a trick
_MAX_PATH: Final = 200  # characters, of its end


def read(data: bytes, draft: Draft, read_member: Callable[[bytes, Source], object]) -> None:
    """Files that can't be read are left out. Raises DocumentError for one that has none, is encrypted, or too large."""
    if draft.depth >= _MAX_DEPTH:
        raise DocumentError("UNSUPPORTED_TYPE", "It is an archive in an archive in an archive. Unpack it first.")
    archive = Archive(data, draft)
    readable = 0
    fault = DocumentError("UNSUPPORTED_TYPE", "It holds no file of a supported type.")
    for info in archive.members():
        draft.count_member(_MAX_MEMBERS)
        try:
            content = archive.read(info)
            with draft.member(one_line(normalise(info.filename))[-_MAX_PATH:]):
                read_member(content, Source(name=info.filename))
            readable += 1
        except DocumentError as error:
            if error.code == "TOO_LARGE":
                raise
            if error.code == "EXTRACTION_FAILED":
                fault = error
    if not readable:
        raise fault
