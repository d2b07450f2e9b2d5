"""Word documents, by way of the HTML that mammoth makes of them: headings by style, lists, tables, notes, boxes."""

import io
from typing import Final

import mammoth

from copilot_domain.documents.extracting.archive import Archive, damaged
from copilot_domain.documents.extracting.draft import Draft
from copilot_domain.documents.extracting.formats.html import write_html
from copilot_domain.documents.extracting.office import inspect
from copilot_domain.documents.types import DocumentError, Source

_STYLES: Final = """
p[style-name='Title'] => h1:fresh
p[style-name='Subtitle'] => p:fresh
p[style-name='Heading 7'] => h6:fresh
p[style-name='Heading 8'] => h6:fresh
p[style-name='Heading 9'] => h6:fresh
p[style-name='Code'] => pre:separator('\\n')
"""


def read(data: bytes, source: Source, draft: Draft) -> None:
    inspect(Archive(data, draft))
    write_html(_html(data), draft)


def _html(data: bytes) -> str:
    try:
        result = mammoth.convert_to_html(
            io.BytesIO(data),
            style_map=_STYLES,
            include_embedded_style_map=False,  # it would be the document's to say what is a heading
            convert_image=lambda image: [],
        )
    except MemoryError:
        raise
    except RecursionError:
        raise DocumentError("EXTRACTION_FAILED", "Its parts are nested too deeply. Save it as plain text.") from None
    except Exception:  # whatever a broken part makes it stumble over
        raise damaged() from None
    return str(result.value)
