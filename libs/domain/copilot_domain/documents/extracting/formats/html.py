"""HTML pages."""

from copilot_domain.documents.extracting import hypertext, markdown
from copilot_domain.documents.extracting.decoding import declared_charset, decode
from copilot_domain.documents.extracting.draft import Draft
from copilot_domain.documents.types import Source

_META_WITHIN = 4096  # bytes in which a page names its encoding; browsers look at 1 024


def read(data: bytes, source: Source, draft: Draft) -> None:
    charset = declared_charset(source.media_type) or declared_charset(data[:_META_WITHIN].decode("latin-1"))
    write_html(decode(data, charset), draft)


def write_html(text: str, draft: Draft) -> None:
    """Under its title, if the page has no main heading of its own."""
    # A byte order mark or a NUL would be taken for text.
    root = hypertext.parse(text.replace("\0", "").lstrip("\ufeff"))
    draft.begin("markdown")
    if root is None:
        return
    title = hypertext.title(root)
    if title and root.find(".//h1") is None:
        draft.write(markdown.heading(1, title) + "\n\n")
    for part in hypertext.joined(hypertext.blocks(root)):
        draft.write(part)
