"""A deployment guide taken apart: its sections, fenced blocks, tables, lists, and the commands of its shell blocks."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/deployment-guide.md"
"""The one that is given; it is not ours to change."""
OURS = ROOT / "docs/deployment.md"


@dataclass(frozen=True)
class Fence:
    section: str
    language: str
    text: str


@dataclass(frozen=True)
class Table:
    section: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """As written; names in backticks without them."""


@dataclass
class Guide:
    """`sections` are paths below the title: `Database Setup > 1. Initial Migration`."""

    headings: list[tuple[int, str]] = field(default_factory=list)
    sections: list[str] = field(default_factory=list)
    fences: list[Fence] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    items: list[tuple[str, str]] = field(default_factory=list)

    def leaves(self) -> list[str]:
        return [name for name in self.sections if not any(other.startswith(f"{name} > ") for other in self.sections)]

    def in_language(self, *languages: str) -> list[Fence]:
        return [fence for fence in self.fences if fence.language in languages]

    def table(self, section: str) -> Table:
        (found,) = [table for table in self.tables if table.section == section]
        return found

    def commands(self) -> list[tuple[str, str]]:
        """Section and text of each."""
        return [(fence.section, command) for fence in self.in_language("bash") for command in commands_of(fence.text)]


@cache
def read_guide(path: Path) -> Guide:
    guide, path_to_here = Guide(), list[str]()
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text())
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            level, title = int(token.tag.removeprefix("h")), tokens[number + 1].content
            guide.headings.append((level, title))
            if level > 1:
                path_to_here[level - 2 :] = [title]
                guide.sections.append(" > ".join(path_to_here))
        section = guide.sections[-1] if guide.sections else ""
        if token.type == "fence":
            guide.fences.append(Fence(section, token.info, token.content))
        elif token.type == "table_open":
            guide.tables.append(_table(section, tokens[number:]))
        elif token.type == "list_item_open":
            guide.items.append((section, tokens[number + 2].content))
    return guide


def _table(section: str, tokens: list[Token]) -> Table:
    rows = list[list[str]]()
    for number, token in enumerate(tokens):
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(tokens[number + 1].content.strip("`"))
    header, *body = map(tuple, rows)
    return Table(section, header, tuple(body))


def commands_of(text: str) -> Iterator[str]:
    """Whole commands, however many lines they take: bash itself tells where one ends. Comments between them go."""
    pending = list[str]()
    for line in text.splitlines():
        if pending or (line.strip() and not line.startswith("#")):
            pending.append(line)
        if pending and not line.endswith("\\") and _is_whole("\n".join(pending)):
            yield "\n".join(pending)
            pending.clear()
    assert not pending, f"bash does not understand {pending}"


def _is_whole(text: str) -> bool:
    """A here-document without its end is only a warning to bash."""
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode == 0 and not done.stderr


def line_of(command: str) -> str:
    """The command's first line, continued ones joined: what it is called in lists."""
    return re.sub(r"\s*\\\n\s*", " ", command).splitlines()[0]


def statements_of(sql: str) -> list[str]:
    """One line each, without comments and the semicolon. No string of the guides contains either."""
    bare = re.sub(r"--.*", "", sql)
    return [" ".join(statement.split()) for statement in bare.split(";") if statement.strip()]
