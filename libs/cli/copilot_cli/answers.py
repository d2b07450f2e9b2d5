"""An answer on the terminal: its text, where it comes from, what it took."""

import re
from collections.abc import Sequence

from copilot_cli.client.api import Document
from copilot_cli.client.types import AnswerUsage, Citation, Message
from copilot_cli.output import cell, console, money, printable

_QUOTE_CHARACTERS = 100
_MARK = re.compile(r"\[([0-9]{1,6})\]")


def print_footer(message: Message, *, documents: Sequence[Document], seconds: float | None) -> None:
    """Citations, then one line of model, tokens, cost and time. `documents` are those sent along."""
    out = console()
    for line in citation_lines(message, documents, quote_characters=_QUOTE_CHARACTERS):
        out.print(f"  {line}", style="cyan", markup=False, highlight=False, soft_wrap=True)
    out.print(f"  {figures(message, seconds)}", style="dim", markup=False, highlight=False, soft_wrap=True)


def citation_lines(message: Message, documents: Sequence[Document], *, quote_characters: int) -> list[str]:
    """`[3] notes.md:12-15  “the quote”`, in the order of the text."""
    return [
        f"[{number}] {place(citation, documents)}  “{shorten(citation.quote, quote_characters)}”"
        for number, citation in zip(_numbers(message), message.citations, strict=True)
    ]


def _numbers(message: Message) -> Sequence[int]:
    """As the text has them: citations come in the order in which their marks first appear in it."""
    marks = list(dict.fromkeys(int(mark) for mark in _MARK.findall(message.content)))
    return marks if len(marks) == len(message.citations) else range(1, len(message.citations) + 1)


def figures(message: Message, seconds: float | None) -> str:
    parts = [message.model or "no model"]
    parts += [] if message.status == "completed" else [message.status]
    parts += [tokens(message.usage), money(message.usage.cost_usd)] if message.usage else []
    parts += [f"{seconds:.2f} s"] if seconds is not None else []
    return printable(" · ".join(parts))


def tokens(usage: AnswerUsage) -> str:
    estimated = " (estimated)" if usage.estimated else ""
    return f"{cell(usage.input_tokens)} tokens in, {cell(usage.output_tokens)} out{estimated}"


def place(citation: Citation, documents: Sequence[Document]) -> str:
    """`notes.md:12-15` in lines where the text is at hand, else in characters."""
    sent = documents if citation.source == "document" else ()  # an item of the context may have the same name
    text = next((document.text for document in sent if document.name == citation.name), None)
    name = printable(citation.name)
    if text is None:
        return f"{name} characters {citation.start}-{citation.end}"
    first = text.count("\n", 0, citation.start) + 1
    last = first + text.count("\n", citation.start, max(citation.start, citation.end - 1))
    return f"{name}:{first}" if first == last else f"{name}:{first}-{last}"


def shorten(text: str, characters: int) -> str:
    """On one line, with an ellipsis where something was left out."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= characters else line[: characters - 1].rstrip() + "…"
