"""Files that mean harm, or are broken: a sentence of ours, in bounded work. The child's caps stand behind this."""

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from copilot_domain.documents.extracting import draft, extract
from copilot_domain.documents.types import Document, DocumentError, Source
from support import office_files

LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + "]><lolz>&i;</lolz>"
)
EXTERNAL = '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>'


BACKWARD_WAYS = (
    "..\\up.txt",
    "a\\..\\..\\up.txt",
    "a/..\\up.txt",
    "\\etc\\abs.txt",
    "\\\\host\\abs.txt",
    "C:\\abs.txt",
)


def fault(name: str, data: bytes) -> str:
    with pytest.raises(DocumentError) as caught:
        extract(Source(name=name), data)
    assert "lol" not in caught.value.message
    assert caught.value.__cause__ is None
    return caught.value.code


def attempted(name: str, data: bytes) -> str:
    """The text, or the fault's code."""
    try:
        return text(name, data)
    except DocumentError as error:
        return error.code


def text(name: str, data: bytes) -> str:
    return extract(Source(name=name), data).text


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same walls, nearer, so that bombs are made quickly."""
    monkeypatch.setattr(draft, "MAX_INFLATED_BYTES", 10_000_000)


@pytest.mark.usefixtures("little_room")
def test_a_bomb_is_too_large_however_it_is_packed() -> None:
    zeros = bytes(3_000_000)
    assert fault("a.zip", office_files.packed({f"{number}.txt": zeros for number in range(4)})) == "TOO_LARGE"
    bomb = office_files.packed({"a.txt": zeros})
    assert fault("a.zip", office_files.packed({f"{number}.zip": bomb for number in range(4)})) == "TOO_LARGE"


@pytest.mark.usefixtures("little_room")
def test_what_office_files_inflate_to_counts_as_well() -> None:
    parts = {f"word/{number}.xml": bytes(3_000_000) for number in range(4)}
    assert fault("a.docx", office_files.repacked(office_files.word(), parts)) == "TOO_LARGE"


@pytest.mark.parametrize("claim", [1, 100, 2**31])
def test_an_archive_that_lies_about_sizes_is_damaged(claim: int) -> None:
    """Its check sum is that of what it claims to hold."""
    content = b"word " * 1000
    archive = bytearray(office_files.packed({"a.txt": content}))
    directory = archive.index(b"PK\x01\x02")
    archive[directory + 16 : directory + 20] = struct.pack("<I", zlib.crc32(content[:claim]))
    archive[directory + 24 : directory + 28] = struct.pack("<I", claim)
    assert fault("a.zip", bytes(archive)) == "EXTRACTION_FAILED"


@pytest.mark.usefixtures("little_room")
def test_members_that_overlap_are_each_counted() -> None:
    """Ten entries of the directory for one compressed file."""
    archive = office_files.packed({"a.txt": bytes(3_000_000)})
    directory, end = archive.index(b"PK\x01\x02"), archive.index(b"PK\x05\x06")
    entry = archive[directory:end]
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 10, 10, len(entry) * 10, directory, 0)
    assert fault("a.zip", archive[:directory] + entry * 10 + tail) in ("TOO_LARGE", "EXTRACTION_FAILED")


def test_an_archive_of_too_many_files_is_too_large() -> None:
    assert fault("a.zip", office_files.packed({f"{number}": "x" for number in range(2_001)})) == "TOO_LARGE"
    assert fault("a.zip", b"PK\x03\x04" + b"PK\x01\x02" * 10_001) == "TOO_LARGE"


def test_paths_that_lead_out_and_links_are_left_out() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in ("../up.txt", "a/../../up.txt", "/etc/abs.txt", "C:/abs.txt", *BACKWARD_WAYS):
            file.writestr(zipfile.ZipInfo(name), "outside")
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
        file.writestr("inside/..notes.txt", "kept")
    document = extract(Source(name="a.zip"), buffer.getvalue())
    assert document.text == "kept"
    assert document.sections[0].heading == ("inside/..notes.txt",)


@pytest.mark.usefixtures("little_room")
def test_damaged_files_of_an_archive_count_as_much_as_whole_ones() -> None:
    """Ten bombs, of which each fails at its end."""
    zeros = bytes(3_000_000)
    archive = office_files.packed({f"{number}.txt": zeros for number in range(10)})
    assert fault("a.zip", archive.replace(struct.pack("<I", zlib.crc32(zeros)), b"\0\0\0\0")) == "TOO_LARGE"


def test_parts_of_office_files_are_looked_through_however_their_paths_are_written() -> None:
    parts = {"word\\more.xml": EXTERNAL.encode()}
    assert fault("a.docx", office_files.repacked(office_files.word(), parts)) == "EXTRACTION_FAILED"


def test_archives_are_read_two_deep() -> None:
    second = office_files.packed({"b.txt": "second"})
    third = office_files.packed({"c.zip": office_files.packed({"d.txt": "third"}), "c.txt": "shallow"})
    read = text("a.zip", office_files.packed({"second.zip": second, "third.zip": third}))
    assert "second" in read
    assert "shallow" in read
    assert "third" not in read


def test_an_encrypted_archive_says_so() -> None:
    archive = bytearray(office_files.packed({"a.txt": "word"}))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        archive[archive.index(mark) + place] |= 1
    assert fault("a.zip", bytes(archive)) == "EXTRACTION_FAILED"


@pytest.mark.parametrize("entities", [LAUGHS, EXTERNAL])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    ("make", "part"),
    [
        (office_files.word, "word/document.xml"),
        (office_files.workbook, "xl/worksheets/sheet1.xml"),
        (office_files.workbook, "xl/sharedStrings.xml"),
        (office_files.slides, "ppt/slides/slide1.xml"),
    ],
)
def test_office_files_that_define_entities_fail(
    make: Callable[[], bytes], part: str, encoding: str, entities: str
) -> None:
    assert fault("a", office_files.repacked(make(), {part: entities.encode(encoding)})) == "EXTRACTION_FAILED"


@pytest.mark.parametrize("entities", [LAUGHS, EXTERNAL])
def test_xml_and_html_with_entities_are_only_text(entities: str) -> None:
    assert text("a.xml", entities.encode()) == entities
    assert "root:" not in attempted("a.html", entities.encode())


@pytest.mark.parametrize("make", [office_files.word, office_files.slides, office_files.workbook, office_files.pdf])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_fails_or_gives_what_is_left(make: Callable[[], bytes], share: float) -> None:
    data = make()
    outcome = attempted("a", data[: int(len(data) * share)])
    assert outcome in ("EXTRACTION_FAILED", "EMPTY") or data.startswith(b"%PDF")


def test_a_sheet_that_spans_billions_of_cells_is_too_large() -> None:
    assert fault("a.xlsx", office_files.workbook((1_048_575, 16_383))) == "TOO_LARGE"
    assert fault("a.xlsx", office_files.workbook((1_048_575, 50))) == "TOO_LARGE"
    assert "far away" in text("a.xlsx", office_files.workbook((5_000, 50)))


def test_a_claim_of_huge_dimensions_alone_harms_nobody() -> None:
    book = office_files.workbook()
    with zipfile.ZipFile(io.BytesIO(book)) as file:
        sheet = file.read("xl/worksheets/sheet1.xml")
    lie = sheet.replace(b'<dimension ref="A1:E3"/>', b'<dimension ref="A1:XFD1048576"/>')
    assert lie != sheet
    assert office_files.PHRASE in text("a.xlsx", office_files.repacked(book, {"xl/worksheets/sheet1.xml": lie}))


def test_a_pdf_of_claims_and_loops_fails() -> None:
    loop = "1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[2 0 R 2 0 R]/Count {}>>endobj"
    for count, code in ((1_000_000, "TOO_LARGE"), (3, "EXTRACTION_FAILED")):
        data = f"%PDF-1.7\n{loop.format(count)} trailer<</Root 1 0 R>>".encode()
        assert fault("a.pdf", data) == code


@pytest.mark.parametrize("element", ["<div>", "<ul><li>", "<table><tr><td>", "<b>", "<blockquote>", "<a>", "<p>x"])
def test_deep_html_is_read_or_refused(element: str) -> None:
    assert "deep" in text("a.html", (element * 100 + "deep").encode())
    outcome = attempted("a.html", (element * 20_000 + "deep").encode())
    assert "deep" in outcome or outcome == "EXTRACTION_FAILED"


def test_deep_json_is_taken_as_it_stands() -> None:
    for opening in ("[", '{"a":'):
        document = extract(Source(name="a.json"), opening.encode() * 100_000)
        assert document.sections[0].kind == "code"
    assert text("a.json", b"[" * 400 + b"1" + b"]" * 400) == "[0]" * 399 + ": 1\n"


def test_deep_xml_in_an_office_file_fails() -> None:
    word = '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
    deep = f"{word}{'<w:p>' * 50_000}{'</w:p>' * 50_000}</w:document>".encode()
    for make, part in ((office_files.word, "word/document.xml"), (office_files.slides, "ppt/slides/slide1.xml")):
        assert fault("a", office_files.repacked(make(), {part: deep})) == "EXTRACTION_FAILED"


@pytest.mark.parametrize("name", ["a.txt", "a.html", "a.csv", "a.json", "a.md", "a.py"])
def test_one_endless_line_is_read_up_to_the_limit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "MAX_CHARACTERS", 1_000_000)
    assert len(text(name, b"word " * 200_000)) >= 999_000
    assert fault(name, b"words" * 200_001) == "TOO_LARGE"


def test_nul_characters_vanish_and_a_file_of_them_is_refused() -> None:
    assert text("a.txt", b"wo\0rd and some more words") == "word and some more words"
    assert text("a.html", b"<p>wo\0rd and more") == "word and more"
    assert fault("a.txt", bytes(5000)) == "UNSUPPORTED_TYPE"


def test_running_out_of_memory_passes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("mammoth.convert_to_html", exhausted)
    with pytest.raises(MemoryError):
        extract(Source(name="a.docx"), office_files.word())


NAMES = st.sampled_from(
    ["a.txt", "a.md", "a.html", "a.csv", "a.tsv", "a.json", "a.jsonl", "a.py", "a.xml", "a.pdf", "a.docx", "", "a.zip"]
)
STARTS = st.sampled_from(
    [b"", b"%PDF-1.4\n", b"PK\x03\x04", b"<html>", b"{", b"[1,", b"\xff\xfe", b"\0\0\xfe\xff", b"a,b\n"]
)
ENCODINGS = st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-32-be", "cp1252", "shift_jis", "gb18030", "koi8-r"])


def assert_whole(document: Document) -> None:
    """Sections are in order, disjoint, and hold all that is not white space; pages are in order."""
    assert document.sections
    end = 0
    for section in document.sections:
        assert end <= section.start < section.end <= len(document.text)
        assert not document.text[end : section.start].strip()
        end = section.end
    assert not document.text[end:].strip()
    assert list(document.pages) == sorted(document.pages)
    document.text.encode()
    assert "\0" not in document.text
    assert "\r" not in document.text


@settings(max_examples=300, deadline=None)
@given(name=NAMES, start=STARTS, data=st.binary(max_size=600))
@example(name="a.csv", start=b"", data=b'"a\n"b"c')
@example(name="a.html", start=b"", data=b"<p><!---->")
def test_any_bytes_give_a_document_or_a_fault(name: str, start: bytes, data: bytes) -> None:
    try:
        document = extract(Source(name=name), start + data)
    except DocumentError:
        return
    assert_whole(document)


@settings(max_examples=200, deadline=None)
@given(name=NAMES, words=st.text(min_size=1, max_size=300), encoding=ENCODINGS)
def test_any_text_in_any_encoding_gives_a_document_or_a_fault(name: str, words: str, encoding: str) -> None:
    try:
        document = extract(Source(name=name), words.encode(encoding, "ignore"))
    except DocumentError:
        return
    assert_whole(document)


@settings(max_examples=60, deadline=None)
@given(members=st.dictionaries(NAMES.map(lambda name: f"d/{name}"), st.text(max_size=200), max_size=5))
def test_any_archive_gives_a_document_or_a_fault(members: dict[str, str]) -> None:
    data = office_files.packed({name: words.encode(errors="ignore") for name, words in members.items()})
    try:
        document = extract(Source(name="a.zip"), data)
    except DocumentError:
        return
    assert_whole(document)
    assert {section.heading[0] for section in document.sections} <= set(members)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), make=st.sampled_from([office_files.slides, office_files.workbook, office_files.pdf]))
def test_flipped_bytes_give_a_document_or_a_fault(data: st.DataObject, make: Callable[[], bytes]) -> None:
    whole = bytearray(make())
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        document = extract(Source(name="a"), bytes(whole))
    except DocumentError:
        return
    assert_whole(document)
