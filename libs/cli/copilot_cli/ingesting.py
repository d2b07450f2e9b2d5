"""Putting texts into the context and waiting until they can be found."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from copilot_cli.client import ApiClient, ApiError, Item
from copilot_cli.documents import read_documents

_POLL_SECONDS = 0.25
_CODE = re.compile(r".*\.(c|cc|cpp|cs|css|go|h|hpp|html|java|jsx?|json|kt|php|py|rb|rs|sh|sql|swift|toml|tsx?)", re.I)
_MARKDOWN = re.compile(r".*\.(md|markdown)", re.I)

Progress = Callable[[str], None]
Refused = Callable[[str, ApiError], None]


@dataclass(frozen=True)
class NewText:
    name: str
    kind: str
    content: str


def read_texts(paths: Sequence[Path], *, name: str | None, kind: str | None) -> list[NewText]:
    """Each named as it was given, or `name`; of `kind`, or what its suffix says. Raises like read_documents."""
    return [NewText(name or read.name, kind or kind_of(read.name), read.text) for read in read_documents(paths)]


def kind_of(file_name: str) -> str:
    """`document` is cut at the headings of Markdown; `code` and `text` at paragraphs and lines."""
    return "document" if _MARKDOWN.fullmatch(file_name) else "code" if _CODE.fullmatch(file_name) else "text"


def add_all(
    client: ApiClient, texts: Sequence[NewText], metadata: Mapping[str, str], *, progress: Progress, refused: Refused
) -> list[Item]:
    """What was taken. A text that is refused for its own sake is told to `refused`; the others have their turn."""
    added = []
    for text in texts:
        progress(f"Sending {text.name}")
        try:
            added.append(client.context.add(text.name, text.kind, text.content, metadata))
        except ApiError as error:
            if error.code not in {"VALIDATION_ERROR", "PAYLOAD_TOO_LARGE"}:
                raise
            refused(text.name, error)
    return added


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
