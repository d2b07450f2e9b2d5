"""What the demo asks about: this project's own documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from copilot_cli.client import Document
from copilot_devstack.errors import StackError
from copilot_devstack.home import find_home

_GUIDE = "docs/deployment-guide.md"
_GUIDE_QUESTION = "How is the database backed up, and how is a backup restored?"
# Beside a document the question it can answer; the first one that exists is asked about.
_QUESTIONS = {
    "README.md": "What does make up start, and what does it need?",
    "ARCHITECTURE.md": "How is content encrypted, and under which key?",
    "docs/glossary.md": "What is a lease?",
    _GUIDE: "Which settings must be kept secret?",
}


@dataclass(frozen=True)
class Asked:
    """A question and the documents that go with it."""

    question: str
    documents: Sequence[Document]


def choose_questions() -> list[Asked]:
    """Two: one about the deployment guide, one about everything else there is. Raises StackError where nothing is."""
    found = {name: document for name in _QUESTIONS if (document := _read(name)) is not None}
    if not found:
        raise StackError(f"None of {', '.join(_QUESTIONS)} is here: run the demo inside a checkout of the project.")
    first = _GUIDE if _GUIDE in found else next(iter(found))
    others = [name for name in found if name != first] or [first]
    question = _GUIDE_QUESTION if first == _GUIDE else _QUESTIONS[first]
    return [
        Asked(question, [found[first]]),
        Asked(_QUESTIONS[others[0]], [found[name] for name in others]),
    ]


def _read(name: str) -> Document | None:
    path = find_home({}, Path.cwd()).path.parent / name
    return Document(name, path.read_text()) if path.is_file() else None
