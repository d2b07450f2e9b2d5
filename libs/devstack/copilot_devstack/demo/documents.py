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


_CONTEXT_QUESTION = "What happens to rate limits while Redis is away?"


@dataclass(frozen=True)
class Asked:
    """A question and the documents that go with it, or that the context has had before it is asked."""

    question: str
    documents: Sequence[Document]
    from_context: bool = False


def choose_questions() -> list[Asked]:
    """Three: about the deployment guide, about what else there is, and to the context, which gets the decisions too.

    Raises StackError where no document is.
    """
    found = {name: document for name in _QUESTIONS if (document := _read(name)) is not None}
    if not found:
        raise StackError(f"None of {', '.join(_QUESTIONS)} is here: run the demo inside a checkout of the project.")
    first = _GUIDE if _GUIDE in found else next(iter(found))
    others = [name for name in found if name != first] or [first]
    question = _GUIDE_QUESTION if first == _GUIDE else _QUESTIONS[first]
    return [
        Asked(question, [found[first]]),
        Asked(_QUESTIONS[others[0]], [found[name] for name in others]),
        Asked(_CONTEXT_QUESTION, [*found.values(), *_decisions()], from_context=True),
    ]


def _decisions() -> list[Document]:
    paths = sorted((_checkout() / "docs/adr").glob("*.md"))
    return [Document(str(path.relative_to(_checkout())), path.read_text()) for path in paths]


def _read(name: str) -> Document | None:
    path = _checkout() / name
    return Document(name, path.read_text()) if path.is_file() else None


def _checkout() -> Path:
    return find_home({}, Path.cwd()).path.parent
