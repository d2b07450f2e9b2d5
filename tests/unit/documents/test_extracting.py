"""Real files of every format: what was in them, where, and as what."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from copilot_domain.documents.extracting import extract
from copilot_domain.documents.types import Document, DocumentError, Section, Source
from support import office_files
from support.office_files import PHRASE


def read(name: str, data: bytes, media_type: str = "") -> Document:
    return extract(Source(name=name, media_type=media_type), data)


def section_of(document: Document, phrase: str) -> Section:
    at = document.text.index(phrase)
    return next(section for section in document.sections if section.start <= at < section.end)


def page_of(document: Document, phrase: str) -> int:
    at = document.text.index(phrase)
    return sum(start <= at for start in document.pages)


def fault(name: str, data: bytes, media_type: str = "") -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        read(name, data, media_type)
    return caught.value


def test_a_word_document_has_headings_lists_and_tables() -> None:
    text = read("report.docx", office_files.word()).text
    assert "# Annual report\n\n# Harbours\n\nShips come and go.\n\n## Signals\n\n" in text
    assert f"Every evening {PHRASE}" in text
    assert "- first thing\n- second thing\n" in text
    assert "| Port | Ships\\|day |\n| --- | --- |\n| Ulm | 7 |\n\nThe end of it." in text


def test_footnotes_and_text_boxes_of_a_word_document_are_read() -> None:
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    body = (
        f'<w:document xmlns:w="{word}" xmlns:v="urn:schemas-microsoft-com:vml"><w:body>'
        '<w:p><w:r><w:t>Text</w:t></w:r><w:r><w:footnoteReference w:id="2"/></w:r></w:p>'
        "<w:p><w:r><w:pict><v:shape><v:textbox><w:txbxContent><w:p><w:r><w:t>in a box</w:t></w:r></w:p>"
        "</w:txbxContent></v:textbox></v:shape></w:pict></w:r></w:p></w:body></w:document>"
    )
    notes = (
        f'<w:footnotes xmlns:w="{word}"><w:footnote w:id="2"><w:p><w:r><w:t>at the foot</w:t></w:r></w:p>'
        "</w:footnote></w:footnotes>"
    )
    changes = {"word/document.xml": body.encode(), "word/footnotes.xml": notes.encode()}
    text = read("a.docx", office_files.repacked(office_files.word(), changes)).text
    assert "in a box" in text
    assert "at the foot" in text


def test_a_presentation_has_a_page_for_each_slide() -> None:
    document = read("talk.pptx", office_files.slides())
    assert len(document.pages) == 4
    assert document.pages[0] == 0
    assert page_of(document, PHRASE) == 2
    assert page_of(document, "Say it slowly") == 4
    assert f"# Slide 2\n\n{PHRASE}\n\n# Slide 3" in document.text
    assert "| Port | Ships |\n| --- | --- |\n| Ulm | 7 |" in document.text
    assert {section.kind for section in document.sections} == {"markdown"}


def test_a_workbook_has_a_table_for_each_sheet_that_holds_something() -> None:
    document = read("ports.xlsx", office_files.workbook())
    assert [(section.kind, section.heading) for section in document.sections] == [
        ("table", ("Ports",)),
        ("table", ("Notes",)),
    ]
    assert document.text == (
        "Port | Opened | Ships | Share | Busy\n"
        "Ulm and \\| around | 2024-03-01 | 7 | 0.3 | TRUE\n"
        f"{PHRASE}\n"
        "\n\n\n\n"
        "a note\n"
    )


def test_a_pdf_has_pages_headings_and_paragraphs() -> None:
    document = read("book.pdf", office_files.pdf())
    assert len(document.pages) == 3
    assert page_of(document, PHRASE) == 2
    assert f"\n\n{PHRASE}\n\n# Chapter 3\n\nPlain words" in document.text
    assert section_of(document, PHRASE).kind == "markdown"


def test_a_pdf_of_pictures_says_that_it_has_no_text_layer() -> None:
    error = fault("scan.pdf", office_files.pdf(text=False))
    assert error.code == "EMPTY"
    assert "text layer" in error.message


def test_a_pdf_with_a_password_says_so() -> None:
    error = fault("secret.pdf", office_files.pdf(password="open"))
    assert (error.code, "password" in error.message) == ("EXTRACTION_FAILED", True)


def test_a_page_of_html_is_what_a_reader_sees() -> None:
    page = f"""<!DOCTYPE html><html><head><meta charset="iso-8859-1"><title>Ports</title><style>p {{}}</style>
    <script>var secret = "<p>no</p>";</script></head><body><nav><a href="/">Home</a></nav>
    <header><h2>Signals</h2></header><p>Every  evening <a href="https://x.example/?a=b">{PHRASE}</a>\n caf\xe9.</p>
    <div hidden>hidden 1</div><div style="display: none">hidden 2</div><div aria-hidden="true">hidden 3</div>
    <ul><li>one<ul><li>deeper</li></ul></li><li>two</li></ul><ol><li>first</li><li>second</li></ol>
    <table><tr><th colspan="2">Port</th><th>Ships|day</th></tr><tr><td>Ulm</td><td>old<br>new</td><td>7
    </td></tr></table>
    <pre><code class="language-python">def f():\n    return 1</code></pre><p># no heading</p>
    <table><tr><td><h3>Laid out</h3><p>left</p></td><td>right</td></tr></table><footer>Imprint</footer></body></html>"""
    document = read("page", page.encode("cp1252"), "text/html")
    assert document.text == (
        "# Ports\n\n## Signals\n\n"
        f"Every evening {PHRASE} café.\n\n"
        "- one\n  - deeper\n- two\n\n1. first\n2. second\n\n"
        "| Port |  | Ships\\|day |\n| --- | --- | --- |\n| Ulm | old new | 7 |\n\n"
        "```python\ndef f():\n    return 1\n```\n\n"
        "\\# no heading\n\n### Laid out\n\nleft\n\nright"
    )


def test_the_declared_charset_of_a_page_counts_before_its_own() -> None:
    page = '<meta charset="utf-8"><p>Съешь ещё этих булок</p>'.encode("koi8-r")
    assert "Съешь ещё этих булок" in read("a.html", page, "text/html; charset=koi8-r").text


def test_markdown_stays_as_it_is() -> None:
    source = f"# One\r\n\r\n{PHRASE}\r\n\r\n| a | b |\r\n|---|---|\r\n"
    document = read("notes.md", source.encode())
    assert document.text == source.replace("\r\n", "\n")
    assert document.sections == (Section(start=0, end=len(document.text), kind="markdown"),)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_delimited_file_is_a_table_whatever_its_delimiter(delimiter: str) -> None:
    rows = [["Port", "Note"], ["Ulm", f'"{PHRASE}\nand, more; of | it"'], ["", "3,5"], ["", ""]]
    rows[2][1] = '"3,5"'
    data = "\r\n".join(delimiter.join(row) for row in rows)
    document = read("ports.csv", data.encode("utf-8-sig"))
    assert document.text == f"Port | Note\nUlm | {PHRASE} and, more; of \\| it\n | 3,5\n"
    assert document.sections[0].kind == "table"


def test_json_has_a_line_for_each_value_after_its_path() -> None:
    data = f'{{"users": [{{"name": "Ann", "tags": ["a", "b"], "at home": null}}], "note": "{PHRASE}", "n": 1.50}}'
    document = read("data.json", data.encode("utf-16"))
    assert document.text == (
        f'users[0].name: Ann\nusers[0].tags: a, b\nusers[0]."at home": null\n\nnote: {PHRASE}\nn: 1.5\n'
    )
    assert document.sections[0].kind == "text"


def test_json_lines_are_read_one_by_one() -> None:
    document = read("log.jsonl", f'{{"a": 1, "b": "x"}}\n\n{{"a": "{PHRASE}"}}\n'.encode())
    assert document.text == f"[0].a: 1\n[0].b: x\n\n[1].a: {PHRASE}\n"


def test_json_with_comments_is_taken_as_it_stands() -> None:
    document = read("tsconfig.json", b'{\n  // why\n  "strict": true\n}')
    assert (document.sections[0].kind, document.sections[0].language) == ("code", "json")
    assert "// why" in document.text


@pytest.mark.parametrize(
    ("name", "first_line", "language"),
    [
        ("a.py", "", "python"),
        ("src/a.RS", "", "rust"),
        ("a.tsx", "", "tsx"),
        ("Dockerfile", "", "dockerfile"),
        ("C:\\work\\Makefile", "", "make"),
        ("run", "#!/usr/bin/env python3", "python"),
        ("run", "#!/bin/sh -eu", "bash"),
        ("run", "#!/usr/bin/env elixir", "elixir"),
        ("run", "#!/usr/bin/lua5.4", "lua"),
        ("run", "#!/usr/bin/env pwsh", "powershell"),
    ],
)
def test_source_code_is_known_by_its_name_or_first_line(name: str, first_line: str, language: str) -> None:
    document = read(name, f"{first_line}\n# {PHRASE}\n".encode())
    section = section_of(document, PHRASE)
    assert (section.kind, section.language) == ("code", language)


TEXTS = {
    "utf-8": "Übergröße, ça va, Съешь, 日本語",
    "utf-8-sig": "Übergröße, ça va, Съешь, 日本語",
    "utf-16": "Übergröße, ça va, Съешь, 日本語",
    "utf-32": "Übergröße, ça va, Съешь, 日本語",
    "utf-16-le": "Plain words and Übergröße, most of them Latin letters",
    "utf-16-be": "Plain words and Übergröße, most of them Latin letters",
    "utf-32-le": "Plain words and Übergröße, most of them Latin letters",
    "cp1252": "Der Müller wäscht größere Hüte für die Bäuerin – „natürlich“ mit Lösungsmitteln und Öl.",
    "cp1251": "Съешь ещё этих мягких французских булок, да выпей же чаю. Вечером в гавани зажигают огни.",
    "koi8-r": "Съешь ещё этих мягких французских булок, да выпей же чаю. Вечером в гавани зажигают огни.",
    "shift_jis": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
    "euc_jp": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
    "iso2022_jp": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
    "gb18030": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    "big5": "人人生而自由，在尊嚴和權利上一律平等。他們賦有理性和良心，並應以兄弟關係的精神相對待。",
    "euc_kr": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
}


@pytest.mark.parametrize("encoding", list(TEXTS))
def test_text_is_read_in_its_encoding_though_nobody_named_it(encoding: str) -> None:
    text = "\n".join([TEXTS[encoding]] * 3)
    assert read("a.txt", text.encode(encoding)).text == text


@pytest.mark.parametrize("times", [1, 8])
@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Rien ne s'est passé à l'été dernier près du château où les élèves étaient restés. ", "cp1252"),
        ("El niño comió piñas y después jugó con los pájaros en el jardín de la señora Muñoz. ", "cp1252"),
        ("A situação não é tão fácil; há razões para a solução. ", "cp1252"),
        ("Blåbærgrød på øen er ikke så sødt som æblekage. ", "cp1252"),
        ("La città è più bella perché c'è libertà e felicità. ", "cp1252"),
        ("Nothing of note happens on the quay. " * 20 + "It was déjà vu, près de l'été. ", "cp1252"),
        ("Zażółć gęślą jaźń, proszę państwa, będzie trzęsło. ", "cp1250"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy v neděli ráno. ", "cp1250"),
        ("Întâmplarea şi ţara sunt lângă apă şi pădure. ", "cp1250"),
        ("Čovjek šeće uz more i pjeva žalosnu pjesmu o đaku. ", "cp1250"),
    ],
)
def test_languages_of_the_west_and_of_the_east_are_told_apart(text: str, encoding: str, times: int) -> None:
    assert read("a.txt", (text * times).strip().encode(encoding)).text == (text * times).strip()


def test_a_declared_encoding_is_used_where_the_bytes_fit() -> None:
    assert read("a.txt", "Ação".encode("cp850"), "text/plain; charset=IBM850").text == "Ação"
    assert read("a.txt", "Größe".encode(), "text/plain; charset=latin-1").text == "Größe"
    for unfit in ("no-such", "zip", "punycode", "\0", "utf-16"):
        assert read("a.txt", b"just words", f"text/plain; charset={unfit}").text == "just words"


def test_newlines_control_characters_and_forms_are_made_uniform() -> None:
    data = "a\r\nb\rc\0\x07\td\x0ce\u0301\x7f\ufffe\ue000".encode()
    assert read("a.txt", data).text == "a\nb\nc\td\x0cé\ue000"


def test_an_archive_has_each_readable_file_under_its_path() -> None:
    inner = office_files.packed({"deep.txt": "deep words"})
    archive = office_files.packed(
        {
            "docs/a.md": f"# A\n\n{PHRASE}",
            "docs/picture.png": b"\x89PNG\r\n\x1a\n0000",
            "broken.docx": office_files.word()[:400],
            "empty.txt": "",
            "src/main.go": "package main",
            "report.docx": office_files.word(),
            "book.pdf": office_files.pdf(),
            "inner.zip": inner,
            "__MACOSX/._a.md": "junk",
        }
    )
    document = read("all.zip", archive)
    assert [(section.heading, section.kind) for section in document.sections] == [
        (("docs/a.md",), "markdown"),
        (("src/main.go",), "code"),
        (("report.docx",), "markdown"),
        (("book.pdf",), "markdown"),
        (("inner.zip", "deep.txt"), "text"),
    ]
    assert document.pages == ()
    assert "junk" not in document.text


def test_backslashes_in_an_archives_paths_are_separators() -> None:
    """As .NET wrote them before 4.6.1, folders too."""
    archive = office_files.packed({"docs\\": "", "docs\\part\\a.md": PHRASE, "__MACOSX\\._a.md": "junk"})
    assert [section.heading for section in read("all.zip", archive).sections] == [("docs/part/a.md",)]


def test_a_damaged_file_of_an_archive_is_left_out() -> None:
    archive = office_files.packed({"a.txt": PHRASE, "b.txt": "Other words.", "c.txt": "Last words."})
    damaged = archive.replace(struct.pack("<I", zlib.crc32(b"Other words.")), b"\0\0\0\0")
    assert [section.heading for section in read("all.zip", damaged).sections] == [("a.txt",), ("c.txt",)]


def test_an_archive_of_nothing_but_damaged_files_is_damaged() -> None:
    archive = office_files.packed({"a.txt": PHRASE, "b.png": b"\x89PNG\r\n\x1a\n"})
    damaged = archive.replace(struct.pack("<I", zlib.crc32(PHRASE.encode())), b"\0\0\0\0")
    assert fault("a.zip", damaged).code == "EXTRACTION_FAILED"


FORMATS = {
    "application/pdf": office_files.pdf,
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": office_files.word,
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": office_files.slides,
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": office_files.workbook,
}


@pytest.mark.parametrize("media_type", list(FORMATS))
@pytest.mark.parametrize("name", ["a.docx", "a.pdf", "a.json"])
def test_bytes_tell_the_format_whatever_the_name_says(media_type: str, name: str) -> None:
    document = read(name, FORMATS[media_type](), "text/plain")
    assert document.media_type == media_type
    assert PHRASE in document.text


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR"),
        ("a.docx", b"\xff\xd8\xff\xe0rest"),
        ("a.py", bytes(range(256)) * 50),
        ("a.md", b"\x7fELF\x02\x01"),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600),
        ("a.rtf", b"{\\rtf1 hello}"),
        ("a.odt", office_files.packed({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": "<a/>"})),
        ("a.zip", office_files.packed({"a.png": b"\x89PNG\r\n\x1a\n"})),
        ("a.zip", office_files.packed({})),
    ],
)
def test_what_is_no_document_is_of_an_unsupported_type(name: str, data: bytes) -> None:
    assert fault(name, data).code == "UNSUPPORTED_TYPE"


def test_an_office_file_with_a_password_says_so() -> None:
    data = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le")
    error = fault("a.docx", data)
    assert (error.code, "password" in error.message) == ("EXTRACTION_FAILED", True)


@pytest.mark.parametrize("data", [b"", b" \r\n\t ", b"\xef\xbb\xbf", b"\xff\xfe", b"<html><script>1</script></html>"])
def test_what_holds_no_text_is_empty(data: bytes) -> None:
    assert fault("a.html", data).code == "EMPTY"


def test_a_page_served_under_a_scripts_name_is_a_page() -> None:
    assert read("index.php", b"<p>Hello", "text/html").media_type == "text/html"
    assert read("index.php", b"<?php echo 1;", "").sections[0].language == "php"
    assert read("https://x.example/a", b"\n<!DOCTYPE HTML><p>Hello").text == "Hello"


def test_after_the_warm_up_nothing_is_opened_and_nothing_imported(tmp_path: Path) -> None:
    archive = office_files.packed({"a.md": "# a", "b.json": '{"a": [1]}', "c.csv": "a,b", "d.html": "<p>a"})
    files = [*(make() for make in FORMATS.values()), archive]
    files += [text.encode(encoding) for encoding, text in TEXTS.items()]
    for number, data in enumerate(files):
        (tmp_path / f"{number}").write_bytes(data)
    program = """
import pathlib, sys
from copilot_domain.documents.extracting import extract, warm_up
from copilot_domain.documents.types import Source
files = [path.read_bytes() for path in pathlib.Path(sys.argv[1]).iterdir()]
warm_up()
seen = []
sys.addaudithook(lambda event, args: seen.append((event, args[:1])) if event in ("open", "import") else None)
for data in files:
    extract(Source(name="a"), data)
assert len(files) > 20 and not seen, seen
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
