"""The smallest document of every format: what is read once, so that whatever is loaded late has been."""

import io
import zipfile
from collections.abc import Iterator
from typing import Final

_OFFICE: Final = "http://schemas.openxmlformats.org"
_TYPES: Final = f'<Types xmlns="{_OFFICE}/package/2006/content-types"/>'
_RELATION: Final = (
    f'<Relationships xmlns="{_OFFICE}/package/2006/relationships">'
    f'<Relationship Id="r1" Type="{_OFFICE}/officeDocument/2006/relationships/{{type}}" Target="{{target}}"/>'
    "</Relationships>"
)
_WORD: Final = f'xmlns:w="{_OFFICE}/wordprocessingml/2006/main"'
_POINT: Final = (
    f'xmlns:p="{_OFFICE}/presentationml/2006/main" xmlns:a="{_OFFICE}/drawingml/2006/main" '
    f'xmlns:r="{_OFFICE}/officeDocument/2006/relationships"'
)
_CELL: Final = f'xmlns="{_OFFICE}/spreadsheetml/2006/main" xmlns:r="{_OFFICE}/officeDocument/2006/relationships"'

_DOCX: Final = {
    "_rels/.rels": _RELATION.format(type="officeDocument", target="word/document.xml"),
    "word/document.xml": f"<w:document {_WORD}><w:body><w:p><w:r><w:t>a</w:t></w:r></w:p></w:body></w:document>",
}
_PPTX: Final = {
    "ppt/presentation.xml": (
        f'<p:presentation {_POINT}><p:sldIdLst><p:sldId id="1" r:id="r1"/></p:sldIdLst></p:presentation>'
    ),
    "ppt/_rels/presentation.xml.rels": _RELATION.format(type="slide", target="slides/slide1.xml"),
    "ppt/slides/slide1.xml": (
        f"<p:sld {_POINT}><p:sp><p:txBody><a:p><a:r><a:t>a</a:t></a:r></a:p></p:txBody></p:sp></p:sld>"
    ),
}
_XLSX: Final = {
    "_rels/.rels": _RELATION.format(type="officeDocument", target="xl/workbook.xml"),
    "xl/workbook.xml": f'<workbook {_CELL}><sheets><sheet name="a" sheetId="1" r:id="r1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": _RELATION.format(type="worksheet", target="worksheets/sheet1.xml"),
    "xl/worksheets/sheet1.xml": (
        f'<worksheet {_CELL}><sheetData><row r="1"><c r="A1"><v>1</v></c></row></sheetData></worksheet>'
    ),
}
_PDF: Final = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1/MediaBox[0 0 99 99]>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>endobj
4 0 obj<</Length 30>>stream
BT/F 9 Tf 9 9 Td(some text)Tj ET
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
trailer<</Root 1 0 R>>
%%EOF"""


def every_format() -> Iterator[tuple[str, bytes]]:
    """Names and contents."""
    yield "a.txt", b"a"
    yield "a.md", b"# a"
    yield "a.py", b"a = 1"
    yield "a.csv", b"a,b\n1,2"
    yield "a.json", b'{"a": [1, {"b": "c"}]}'
    yield "a.html", b"<h1>a</h1><ul><li>b</ul><pre>c</pre><table><tr><td>d<td>e</table>"
    yield "a.pdf", _PDF
    for parts in (_DOCX, _PPTX, _XLSX):
        yield "a", _packed({"[Content_Types].xml": _TYPES, **parts})
    yield "a.zip", _packed({"a.txt": "a"})


def _packed(parts: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return buffer.getvalue()
