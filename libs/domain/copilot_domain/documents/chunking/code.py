"""Source code cut by its syntax: functions and classes whole where they fit, statements where they don't."""

import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Final

from semantic_text_splitter import CodeSplitter

from copilot_domain.documents.chunking.counters import TokenCounter
from copilot_domain.documents.chunking.outline import Outline
from copilot_domain.documents.chunking.prose import ProseCutter, Span
from copilot_domain.documents.chunking.rules import ChunkRules

# By the names of languages: each grammar's module, and what in it makes the grammar. All are loaded at the start: that
# takes 0.4 ms each and maps a file, of which only what is used is read, and once for all children.
_GRAMMARS: Final = {
    "bash": ("tree_sitter_bash", "language"),
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "csharp": ("tree_sitter_c_sharp", "language"),
    "css": ("tree_sitter_css", "language"),
    "elixir": ("tree_sitter_elixir", "language"),
    "go": ("tree_sitter_go", "language"),
    "html": ("tree_sitter_html", "language"),
    "java": ("tree_sitter_java", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "json": ("tree_sitter_json", "language"),
    "kotlin": ("tree_sitter_kotlin", "language"),
    "lua": ("tree_sitter_lua", "language"),
    "php": ("tree_sitter_php", "language_php_only"),  # also amid a file, where no `<?php` stands before it
    "powershell": ("tree_sitter_powershell", "language"),
    "python": ("tree_sitter_python", "language"),
    "ruby": ("tree_sitter_ruby", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "scala": ("tree_sitter_scala", "language"),
    "sql": ("tree_sitter_sql", "language"),
    "swift": ("tree_sitter_swift", "language"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "yaml": ("tree_sitter_yaml", "language"),
}
_ALIASES: Final = {
    "c#": "csharp",
    "c++": "cpp",
    "c_sharp": "csharp",
    "js": "javascript",
    "jsx": "javascript",
    "py": "python",
    "sh": "bash",
    "shell": "bash",
    "ts": "typescript",
    "yml": "yaml",
    "zsh": "bash",
}

# The splitter's time grows with the square of the syntax tree's depth, and `a+a+a+…` is as deep as it is long (0.6 s
# for 16 000 characters, 0.16 s for 8 000): it gets this much at a time, some eight pieces. Code broken on purpose still
# takes minutes (Ruby's `-----…` 110 s, 3 000 characters of Kotlin 180 s): that is for the child's cap to end.
_WINDOW: Final = 8_000
# Characters of a line; code with a longer one is generated or hostile, and where such depth is met: it is cut as text.
_MAX_LINE: Final = 2_000
# Where a window may end: before the least indented line that follows a blank one; it is rarely amid a function.
_BLANK_LINE: Final = re.compile(r"\n[ \t]*\r?\n(?P<indent>[ \t]*+)(?=[^\s)}\]])")
# Signs of SQL whose procedures the grammar does not know: SQL Server's, whose batches end with GO, and PL/pgSQL. It
# would end nearly every piece within one, blank lines a tenth of them.
_FOREIGN_SQL: Final = re.compile(r"^[ \t]*+GO[ \t]*+\r?$|\bplpgsql\b", re.MULTILINE | re.IGNORECASE)

# The splitter measures characters, which is twenty times as fast as asking a counter. Of code's characters in a token,
# from a sample, it gets so many: what has more tokens after all is cut again, what has fewer is merged.
_FILL: Final = 0.9
_SAMPLE: Final = 4_000


def warm_up() -> None:
    for language in _GRAMMARS:
        _grammar(language)


def cut_code(
    text: str, begin: int, end: int, language: str, counter: TokenCounter, rules: ChunkRules
) -> Iterator[Span]:
    """As `ProseCutter.spans`, without overlap; a language without a grammar is cut at blank lines and lines."""
    prose = ProseCutter(text, Outline(text), counter, rules, shares=False)
    name = _ALIASES.get(language.lower(), language.lower())
    if name not in _GRAMMARS or (name == "sql" and _FOREIGN_SQL.search(text, begin, end)):
        return prose.spans(begin, end)
    return _merge(_cut(text, begin, end, name, counter, rules, prose), text, counter, rules.max_tokens)


def _cut(
    text: str, begin: int, end: int, name: str, counter: TokenCounter, rules: ChunkRules, prose: ProseCutter
) -> Iterator[Span]:
    for start, stop in _windows(text, begin, end):
        if max(map(len, text[start:stop].split("\n"))) > _MAX_LINE:
            yield from prose.spans(start, stop)
            continue
        sample = text[start : min(stop, start + _SAMPLE)]
        capacity = max(1, int(_FILL * rules.max_tokens * len(sample) / max(1, counter.count(sample))))
        for offset, indented in CodeSplitter(_grammar(name), capacity).chunk_indices(text[start:stop]):
            piece = indented.strip()
            at = start + offset + indented.find(piece)
            count = counter.count(piece)
            if count > rules.max_tokens:
                yield from prose.spans(at, at + len(piece))
            elif piece:
                yield Span(at, at + len(piece), count)


def _windows(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    while end - begin > _WINDOW:
        middle, last = begin + _WINDOW // 2, begin + _WINDOW
        ends = ((-len(mark["indent"]), mark.start()) for mark in _BLANK_LINE.finditer(text, middle, last))
        _, stop = max(ends, default=(0, text.rfind("\n", middle, last)))
        stop = stop if stop > 0 else last
        yield begin, stop
        begin = stop
    yield begin, end


def _merge(spans: Iterator[Span], text: str, counter: TokenCounter, max_tokens: int) -> Iterator[Span]:
    """Neighbours that fit together: the splitter leaves small ones before a large one, and at a window's end."""
    last: Span | None = None
    for span in spans:
        if last is not None and last.token_count + span.token_count < max_tokens:
            count = counter.count(text[last.start : span.end])
            if count <= max_tokens:
                last = Span(last.start, span.end, count)
                continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last


@cache
def _grammar(language: str) -> object:
    module, make = _GRAMMARS[language]
    grammar: object = getattr(import_module(module), make)()
    return grammar
