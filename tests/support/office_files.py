"""Real files of the formats that are read, made in memory, each with a phrase in its middle."""

import datetime
import functools
import io
import zipfile
from collections.abc import Mapping

import docx
import fpdf
import pptx
import xlsxwriter

PHRASE = "the copper harbour signal"


@functools.cache
def word(filler: str = "") -> bytes:
    """`filler` stands before the phrase and behind it."""
    document = docx.Document()
    document.add_heading("Annual report", 0)
    document.add_heading("Harbours", 1)
    document.add_paragraph("Ships come and go.")
    document.add_heading("Signals", 2)
    if filler:
        document.add_paragraph(filler)
    document.add_paragraph("Every evening ").add_run(PHRASE).bold = True
    if filler:
        document.add_paragraph(filler)
    document.add_paragraph("first thing", style="List Bullet")
    document.add_paragraph("second thing", style="List Bullet")
    document.add_paragraph("step one", style="List Number")
    table = document.add_table(2, 2)
    for cell, text in zip(
        (cell for row in table.rows for cell in row.cells), ("Port", "Ships|day", "Ulm", "7"), strict=True
    ):
        cell.text = text
    document.add_paragraph("The end of it.")
    return _saved(document)


@functools.cache
def slides(filler: str = "") -> bytes:
    """`filler` stands around the phrase, or what is in its place."""
    presentation = pptx.Presentation()
    for number in range(1, 4):
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = f"Slide {number}"
        slide.placeholders[1].text = filler + (PHRASE if number == 2 else "Nothing of note") + filler
    slide = presentation.slides.add_slide(presentation.slide_layouts[5])
    slide.shapes.title.text = "Numbers"
    cells = slide.shapes.add_table(2, 2, 0, 0, 1000, 1000).table.iter_cells()
    for cell, text in zip(cells, ("Port", "Ships", "Ulm", "7"), strict=True):
        cell.text = text
    slide.notes_slide.notes_text_frame.text = "Say it slowly"
    return _saved(presentation)


@functools.cache
def workbook(last_cell: tuple[int, int] | None = None) -> bytes:
    """`last_cell` is row and column, from 0, of a lonely cell."""
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True}) as book:
        sheet = book.add_worksheet("Ports")
        dates = book.add_format({"num_format": "dd/mm/yy"})
        sheet.write_row(0, 0, ["Port", "Opened", "Ships", "Share", "Busy"])
        sheet.write_row(1, 0, ["Ulm\nand | around"])
        sheet.write_datetime(1, 1, datetime.datetime(2024, 3, 1), dates)  # noqa: DTZ001
        sheet.write_formula(1, 2, "=3+4", value=7)
        sheet.write_number(1, 3, 0.1 + 0.2)
        sheet.write_boolean(1, 4, True)
        sheet.write_row(2, 0, [PHRASE])
        book.add_worksheet("Empty")
        book.add_worksheet("Notes").write(0, 0, "a note")
        if last_cell:
            sheet.write(*last_cell, "far away")
    return buffer.getvalue()


@functools.cache
def pdf(*, password: str = "", pages: int = 3, text: bool = True, filler: str = "") -> bytes:
    document = fpdf.FPDF()
    for number in range(1, pages + 1):
        document.add_page()
        if not text:
            document.rect(10, 10, 50, 50)
            continue
        document.set_font("helvetica", size=18)
        document.cell(0, 10, f"Chapter {number}", new_x="LMARGIN", new_y="NEXT")
        document.set_font("helvetica", size=10)
        document.multi_cell(0, 5, "Plain words go here. " * 20 + filler, new_x="LMARGIN", new_y="NEXT")
        document.ln(5)
        document.multi_cell(0, 5, (PHRASE if number == 2 else "Nothing of note.") + filler)
    if password:
        document.set_encryption(owner_password="owner", user_password=password)
    return bytes(document.output())


def packed(members: Mapping[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def repacked(archive: bytes, changes: Mapping[str, bytes]) -> bytes:
    """With some parts replaced or added."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    return packed({**members, **changes})


def _saved(document: object) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)  # type: ignore[attr-defined]  # both libraries' documents can
    return buffer.getvalue()
