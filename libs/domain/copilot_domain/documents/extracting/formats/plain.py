"""Plain text, Markdown and source code: what they say is what they are."""

from copilot_domain.documents.extracting.decoding import declared_charset, decode
from copilot_domain.documents.extracting.draft import Draft
from copilot_domain.documents.extracting.formats.languages import language_of
from copilot_domain.documents.types import Source


def read_text(data: bytes, source: Source, draft: Draft) -> None:
    text = decoded(data, source)
    draft.begin("text")
    draft.write(text)


def read_markdown(data: bytes, source: Source, draft: Draft) -> None:
    text = decoded(data, source)
    draft.begin("markdown")
    draft.write(text)


def read_code(data: bytes, source: Source, draft: Draft) -> None:
    text = decoded(data, source)
    draft.begin("code", language=language_of(source.name, data))
    draft.write(text)


def decoded(data: bytes, source: Source) -> str:
    return decode(data, declared_charset(source.media_type))
