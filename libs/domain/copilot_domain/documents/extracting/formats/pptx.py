"""PowerPoint presentations: slides in their order as pages, each with title, text, tables and the speaker's notes."""

import posixpath
import re
from collections.abc import Iterator
from typing import Final

from lxml import etree

from copilot_domain.documents.extracting import markdown
from copilot_domain.documents.extracting.archive import Archive, damaged
from copilot_domain.documents.extracting.draft import Draft
from copilot_domain.documents.extracting.office import inspect, local_name, parse_part
from copilot_domain.documents.types import DocumentError, Source

_MAIN: Final = "ppt/presentation.xml"
_MAX_SLIDES: Final = 5_000  # ten times what anybody shows in a day
_TITLES: Final = ("title", "ctrTitle")
_FURNITURE: Final = ("sldNum", "dt", "ftr", "hdr", "sldImg")  # the same on every slide
_MAX_LEVEL: Final = 8  # PowerPoint's own


def read(data: bytes, source: Source, draft: Draft) -> None:
    archive = Archive(data, draft)
    inspect(archive)
    try:
        slides = _slides(archive)
    except KeyError:
        raise damaged() from None
    draft.begin("markdown")
    for path in slides:
        draft.begin_page()
        for block in _slide_blocks(archive, path):
            draft.write(block + "\n\n")


def _slides(archive: Archive) -> list[str]:
    targets = _relations(archive, _MAIN)
    listed = [_relation_id(element) for element in _part(archive, _MAIN).iter("{*}sldId")]
    if len(listed) > _MAX_SLIDES:
        raise DocumentError("TOO_LARGE", "It has more than 5 000 slides. Split it into smaller files.")
    names = set(archive.names())
    return [targets[key] for key in listed if targets.get(key) in names]


def _slide_blocks(archive: Archive, path: str) -> Iterator[str]:
    yield from _blocks(_part(archive, path))
    for target in _relations(archive, path).values():
        if re.search(r"/notesSlides/[^/]+\.xml$", target) and target in archive.names():
            notes = list(_blocks(_part(archive, target)))
            if notes:
                yield "Notes:"
                yield from notes


def _blocks(root: etree._Element) -> Iterator[str]:
    """Of shapes and tables in the order in which they are stored, which is the order of reading aloud."""
    for shape in root.iter("{*}sp", "{*}tbl", "{*}txBody"):
        name = local_name(shape)
        if name == "tbl":
            yield from filter(None, (_table(shape),))
        elif name == "sp" and _placeholder(shape) in _TITLES:
            text = markdown.one_line(" ".join(_text(body) for body in shape.iterchildren("{*}txBody")))
            yield from filter(None, (text and markdown.heading(1, text),))
        elif name == "sp" and _placeholder(shape) not in _FURNITURE:
            for body in shape.iterchildren("{*}txBody"):
                yield from filter(None, (_body(body),))


def _body(body: etree._Element) -> str:
    """Paragraphs, those of a deeper level as items of lists."""
    lines = []
    for paragraph in body.iterchildren("{*}p"):
        text = _paragraph(paragraph)
        if text.strip():
            level = _level(paragraph)
            lines.append(f"{'  ' * (level - 1)}- {markdown.one_line(text)}" if level else markdown.paragraph(text))
    return "\n".join(lines)


def _table(element: etree._Element) -> str:
    rows = element.iterchildren("{*}tr")
    return markdown.table([[_text(cell) for cell in row.iterchildren("{*}tc")] for row in rows])


def _text(element: etree._Element) -> str:
    return "\n".join(map(_paragraph, element.iter("{*}p")))


def _paragraph(element: etree._Element) -> str:
    breaks = {"br": "\n", "tab": "\t"}
    inner = element.iter("{*}t", "{*}br", "{*}tab")
    return "".join(breaks.get(local_name(run), run.text or "") for run in inner)


def _level(paragraph: etree._Element) -> int:
    properties = paragraph.find("{*}pPr")
    level = "0" if properties is None else properties.get("lvl", "0")
    return min(int(level), _MAX_LEVEL) if re.fullmatch(r"\d", level, re.ASCII) else 0


def _placeholder(shape: etree._Element) -> str:
    """The kind of placeholder it fills, "" if none."""
    found = shape.find("{*}nvSpPr/{*}nvPr/{*}ph")
    return "" if found is None else str(found.get("type", "body"))


def _part(archive: Archive, path: str) -> etree._Element:
    return parse_part(archive.read(path))


def _relations(archive: Archive, path: str) -> dict[str, str]:
    """The parts that a part refers to, by id; those outside of the file are left out."""
    folder, name = posixpath.split(path)
    try:
        root = _part(archive, f"{folder}/_rels/{name}.rels")
    except KeyError:
        return {}
    return {
        element.get("Id", ""): posixpath.normpath(posixpath.join("/", folder, element.get("Target", "")))[1:]
        for element in root.iter("{*}Relationship")
        if element.get("TargetMode") != "External"
    }


def _relation_id(element: etree._Element) -> str:
    return next((str(value) for name, value in element.attrib.items() if str(name).endswith("}id")), "")
