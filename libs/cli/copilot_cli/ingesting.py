"""Putting texts, files and URLs into the context and waiting until they can be found."""

import io
import mimetypes
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from copilot_cli.client import ApiClient, ApiError, Item
from copilot_cli.documents import read_documents

_POLL_SECONDS = 0.25
_CODE = re.compile(r".*\.(c|cc|cpp|cs|css|go|h|hpp|html|java|jsx?|json|kt|php|py|rb|rs|sh|sql|swift|toml|tsx?)", re.I)
_MARKDOWN = re.compile(r".*\.(md|markdown)", re.I)

Progress = Callable[[str], None]
Refused = Callable[[str, ApiError], None]
Advance = Callable[[int], None]
"""Told of each so many bytes that are on their way."""

_REFUSALS = frozenset({"VALIDATION_ERROR", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"})


@dataclass(frozen=True)
class NewText:
    name: str
    kind: str
    content: str


@dataclass(frozen=True)
class NewFile:
    """Its bytes are read when it is sent."""

    name: str
    path: Path


@dataclass(frozen=True)
class NewUrl:
    name: str
    url: str


New = NewText | NewFile | NewUrl


def read_texts(paths: Sequence[Path], *, name: str | None, kind: str | None) -> list[NewText]:
    """Each named as it was given, or `name`; of `kind`, or what its suffix says. Raises like read_documents."""
    return [NewText(name or read.name, kind or kind_of(read.name), read.text) for read in read_documents(paths)]


def kind_of(file_name: str) -> str:
    """`document` is cut at the headings of Markdown; `code` and `text` at paragraphs and lines."""
    return "document" if _MARKDOWN.fullmatch(file_name) else "code" if _CODE.fullmatch(file_name) else "text"


def add_all(
    client: ApiClient,
    news: Sequence[New],
    metadata: Mapping[str, str],
    *,
    progress: Progress,
    refused: Refused,
    advance: Advance = lambda _: None,
) -> list[Item]:
    """What was taken. What is refused for its own sake is told to `refused`; the others have their turn."""
    added = []
    for new in news:
        progress(f"Sending {new.name}")
        try:
            added.append(_add(client, new, metadata, advance))
        except ApiError as error:
            if error.code not in _REFUSALS:
                raise
            refused(new.name, error)
    return added


def _add(client: ApiClient, new: New, metadata: Mapping[str, str], advance: Advance) -> Item:
    match new:
        case NewText():
            return client.context.add(new.name, new.kind, new.content, metadata)
        case NewUrl():
            return client.context.add_url(new.name, new.url, metadata)
        case NewFile():
            media_type = mimetypes.guess_type(new.path.name)[0] or "application/octet-stream"
            with _Watched(new.path, advance) as file:
                return client.context.add_file(new.name, file, media_type, metadata)
        case _:
            assert_never(new)


class _Watched(io.BufferedReader):
    """A file that tells how much of it is read."""

    def __init__(self, path: Path, advance: Advance) -> None:
        super().__init__(io.FileIO(path))
        self._advance = advance

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._advance(len(data))
        return data


def wait_until_settled(client: ApiClient, items: Sequence[Item], *, seconds: float, progress: Progress) -> list[Item]:
    """The same items once each is ready or failed, or as they are when the time is over."""
    current = list(items)
    deadline = time.monotonic() + seconds
    while True:
        progress(describe_progress(current))
        if all(item.is_settled for item in current) or time.monotonic() > deadline:
            return current
        time.sleep(_POLL_SECONDS)
        current = [item if item.is_settled else client.context.show(item.id) for item in current]


def describe_progress(items: Sequence[Item]) -> str:
    settled = sum(item.is_settled for item in items)
    waiting = next((f", {item.name} is {item.status}" for item in items if not item.is_settled), "")
    return f"{settled} of {len(items)} done{waiting}"
