"""A tree of HTML as Markdown: headings, paragraphs, lists, tables, code; what a reader would not see is left out.

Walks without recursion, since depth is the document's to choose.
"""

import re
from collections.abc import Iterator
from typing import Final

from lxml import etree

from copilot_domain.documents.extracting import markdown
from copilot_domain.documents.types import DocumentError

_DROPPED: Final = frozenset(
    (
        "head", "script", "style", "noscript", "template", "nav", "menu", "svg", "math", "iframe", "object",
        "embed", "canvas", "audio", "video", "map", "button", "select", "option", "textarea", "input", "dialog",
    )
)  # fmt: skip
_INLINE: Final = frozenset(
    (
        "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i",
        "img", "ins", "kbd", "label", "mark", "meter", "output", "picture", "q", "rp", "rt", "ruby", "s", "samp",
        "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
    )
)  # fmt: skip
_HEADINGS: Final = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
# Tables whose cells hold these lay out a page; their cells are read one after the other.
_LAYOUT: Final = frozenset((*_HEADINGS, "table", "ul", "ol", "pre", "form"))
_HIDDEN_STYLE: Final = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_HIDDEN_ROLES: Final = frozenset(("navigation", "search", "menu", "menubar"))
_LANGUAGE: Final = re.compile(r"\blang(?:uage)?-([\w+#.-]{1,30})")
_ITEM: Final = re.compile(r"- |\d+\. |  ")
_MAX_COLSPAN: Final = 50  # a cell that claims more is a trick


def parse(text: str) -> etree._Element | None:
    """None if there is no element. Raises DocumentError for nesting that no browser shows."""
    # `huge_tree` lifts a text's length from 10 MB and the depth from 256 to 2 048; the upload itself is bounded.
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(text.encode(errors="replace"), parser)
    except etree.LxmlError:
        return None
    if any(entry.level == etree.ErrorLevels.FATAL for entry in parser.error_log):
        raise DocumentError("EXTRACTION_FAILED", "Its elements are nested too deeply. Save it as plain text.")
    return root


def title(root: etree._Element) -> str:
    found = root.find(".//title")
    return "" if found is None else markdown.one_line("".join(found.itertext()))


def blocks(root: etree._Element) -> Iterator[str]:
    """Blocks of Markdown, in order, none of them empty."""
    walk = _Walk()
    events = etree.iterwalk(root, events=("start", "end"))
    for event, element in events:
        if event == "start":
            if _is_dropped(element):
                events.skip_subtree()
                continue
            block = _whole(element)
            if block is None:
                yield from walk.enter(element)
            else:
                yield from walk.flush()
                events.skip_subtree()
                yield from filter(None, (block,))
        else:
            yield from walk.leave(element)
    yield from walk.flush()


class _Walk:
    """Inline text is gathered until a block begins or ends."""

    def __init__(self) -> None:
        self._inline: list[str] = []
        self._lists: list[int | None] = []  # the next number, None where there are bullets
        self._marker = ""

    def enter(self, element: etree._Element) -> Iterator[str]:
        name = _name(element)
        if name not in _INLINE and name != "br":
            yield from self.flush()
        if name in ("ul", "ol"):
            self._lists.append(1 if name == "ol" else None)
        elif name == "li":
            self._marker = self._next_marker()
        elif name == "br":
            self._inline.append("\n")
        self._add(element.text)

    def leave(self, element: etree._Element) -> Iterator[str]:
        name = _name(element)
        if name not in _INLINE and name != "br" and not _is_dropped(element):
            yield from self.flush(name)
            if name in ("ul", "ol") and self._lists:
                self._lists.pop()
        self._add(element.tail)

    def flush(self, name: str = "") -> Iterator[str]:
        lines = [line for line in ("".join(self._inline)).split("\n") if line.strip()]
        self._inline.clear()
        text = "\n".join(re.sub(r" +", " ", line).strip() for line in lines)
        if not text:
            return
        if name in _HEADINGS:
            yield markdown.heading(int(name[1]), text)
        elif self._marker or self._lists:
            indent = "  " * min(len(self._lists) - 1, 8)
            yield f"{indent}{self._marker or '  '}{markdown.one_line(text)}"
        else:
            yield markdown.paragraph(text)
        self._marker = ""

    def _next_marker(self) -> str:
        number = self._lists[-1] if self._lists else None
        if number is None:
            return "- "
        self._lists[-1] = number + 1
        return f"{number}. "

    def _add(self, text: str | None) -> None:
        if text:
            self._inline.append(re.sub(r"\s+", " ", text))


def joined(parts: Iterator[str]) -> Iterator[str]:
    """Blocks with what separates them: items of a list follow each other, other blocks have an empty line between."""
    before: str | None = None
    for part in parts:
        item = _ITEM.match(part)
        marker = "" if item is None else "1" if item[0][0].isdigit() else item[0][0]
        if before is not None:
            # Lists of two kinds, one after the other, are two blocks.
            yield "\n" if marker and before and (" " in (marker, before) or marker == before) else "\n\n"
        yield part
        before = marker


def _whole(element: etree._Element) -> str | None:
    """What is read as one: code and tables. None for all else."""
    name = _name(element)
    if name == "pre":
        return _code(element)
    if name == "table" and not any(_name(inner) in _LAYOUT for inner in element.iterdescendants()):
        return _table(element)
    return None


def _code(element: etree._Element) -> str:
    classes = " ".join(inner.get("class", "") for inner in (element, *element.findall("code")))
    language = _LANGUAGE.search(classes)
    text = "".join(element.itertext())
    return markdown.fence(text, language[1] if language else "") if text.strip() else ""


def _table(element: etree._Element) -> str:
    rows = [[cell for inner in row.iterchildren("th", "td") for cell in _cells(inner)] for row in element.iter("tr")]
    caption = markdown.paragraph(markdown.one_line(" ".join(map(_visible, element.findall("caption")))))
    return "\n\n".join(filter(None, (caption, markdown.table(rows))))


def _cells(element: etree._Element) -> list[str]:
    span = element.get("colspan", "1")
    count = int(span) if span.isascii() and span.isdigit() and len(span) < 4 else 1
    return [_visible(element), *([""] * (min(count, _MAX_COLSPAN) - 1))]


def _visible(element: etree._Element) -> str:
    """Its text without what is hidden; a space where an element may break the line."""
    found: list[str] = []
    events = etree.iterwalk(element, events=("start", "end"))
    for event, inner in events:
        if event == "start" and _is_dropped(inner):
            events.skip_subtree()
        elif event == "start":
            found.append(inner.text or "")
        elif inner is not element:
            found.append(("" if _name(inner) in _INLINE else " ") + (inner.tail or ""))
    return "".join(found)


def _is_dropped(element: etree._Element) -> bool:
    name = _name(element)
    if not name or name in _DROPPED or element.get("role") in _HIDDEN_ROLES:
        return True
    if element.get("hidden") is not None or element.get("aria-hidden") == "true":
        return True
    parent = element.getparent()
    if name == "footer" and parent is not None and _name(parent) == "body":
        return True
    return _HIDDEN_STYLE.search(element.get("style", "")) is not None


def _name(element: etree._Element) -> str:
    return element.tag if isinstance(element.tag, str) else ""
