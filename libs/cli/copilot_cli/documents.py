"""Files that go with a question."""

from collections.abc import Sequence
from pathlib import Path

from copilot_cli.client.api import Document
from copilot_common.base.errors import InvalidInput


def read_documents(paths: Sequence[Path]) -> list[Document]:
    """Each named as it was given. Raises InvalidInput for what is no text, OSError for what cannot be read."""
    return [_read(path) for path in paths]


def _read(path: Path) -> Document:
    try:
        return Document(str(path), path.read_bytes().decode())
    except UnicodeDecodeError:
        raise InvalidInput({str(path): "is not UTF-8 text; extract its text first"}) from None
