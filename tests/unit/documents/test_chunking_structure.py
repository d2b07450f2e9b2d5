"""Headings, fences, tables and functions stay whole where they fit, and pieces know what they stand under."""

import importlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_domain.documents.chunking import ChunkRules, code, cut
from copilot_domain.documents.types import Document, Piece, Section, SectionKind

WORDS = "Some words of a sentence stand here. "


def cut_text(text: str, kind: SectionKind = "markdown", language: str = "", max_tokens: int = 100) -> list[Piece]:
    section = Section(start=0, end=len(text), kind=kind, language=language)
    rules = ChunkRules(tokenizer="estimate", max_tokens=max_tokens, overlap_tokens=max_tokens // 8)
    return list(cut(Document(text=text, sections=(section,), media_type=""), rules))


def texts_of(text: str, pieces: list[Piece]) -> list[str]:
    return [text[piece.start : piece.end] for piece in pieces]


MARKDOWN = """Before.

# One

Text of one.

## Deep ##

```
# no heading
```

Text of deep.

# C#

Text of two.
"""


def test_a_piece_knows_the_headings_it_stands_under() -> None:
    text = MARKDOWN.replace("Before.", WORDS * 6).replace("Text", WORDS * 9 + "Text")
    paths = {
        word: piece.heading
        for piece in cut_text(text)
        for word in ("of one", "of deep", "of two")
        if f"Text {word}" in text[piece.start : piece.end]
    }
    assert paths == {"of one": ("One",), "of deep": ("One", "Deep"), "of two": ("C#",)}


def test_a_line_too_long_for_a_heading_is_none() -> None:
    text = "# Head\n\n# " + "x" * 250 + "\n\n" + WORDS * 20
    assert {piece.heading for piece in cut_text(text)} == {("Head",)}


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 14), min_size=1, max_size=30))
def test_a_heading_goes_with_what_follows_it(sizes: list[int]) -> None:
    text = "".join(f"{'#' * (size % 3 + 1)} Head {size}\n\n{WORDS * size}\n\n" for size in sizes) + "End."
    for piece in texts_of(text, cut_text(text)):
        assert not piece.splitlines()[-1].startswith("#") or all(
            line.startswith("#") or not line for line in piece.splitlines()
        )


blocks = st.lists(st.tuples(st.sampled_from(("prose", "fence", "table")), st.integers(1, 11)), min_size=1, max_size=20)


def block_of(kind: str, size: int, number: int) -> str:
    if kind == "prose":
        return WORDS * size
    if kind == "fence":
        return f"~~~~ {number}\n" + "~~~\n\n# x = compute(1, 2)\n" * size + "~~~~"
    return f"| name | of {number} |\n|---|:-:|\n" + "\n".join(["| a cell | another one |"] * size)


@settings(max_examples=80, deadline=None)
@given(blocks=blocks)
def test_fences_and_tables_that_fit_are_whole(blocks: list[tuple[str, int]]) -> None:
    parts = [block_of(kind, size, number) for number, (kind, size) in enumerate(blocks)]
    text = "\n\n".join(parts)
    pieces = texts_of(text, cut_text(text))
    for (kind, _), part in zip(blocks, parts, strict=True):
        assert kind == "prose" or len(part) > 400 or any(part in piece for piece in pieces)


def test_tiny_blocks_are_merged() -> None:
    text = "\n\n".join(f"## Head {number}\n\nA few words." for number in range(60))
    pieces = cut_text(text)
    assert all(piece.token_count > 50 for piece in pieces[:-1])


ROWS = "".join(f"| {number} | product {number} | {number * 7} |\n" for number in range(100))
TABLE = "| id | name | price |\n|----|------|-------|\n" + ROWS


def test_each_piece_of_a_long_table_has_whole_rows_and_knows_its_header() -> None:
    text = f"# Prices\n\n{TABLE}\n{WORDS.strip()}"
    pieces = cut_text(text)
    within = [piece for piece in pieces if "product 1" in text[piece.start : piece.end]]
    assert len(within) > 1
    assert within[0].heading == ("Prices",)
    assert all(piece.heading == ("Prices", "| id | name | price |") for piece in pieces[1:])
    assert all(line in text.splitlines() for piece in texts_of(text, pieces) for line in piece.splitlines())
    assert all(one.end <= next_.start for one, next_ in pairwise(pieces)), "rows are in two pieces"


def test_a_table_section_is_cut_by_rows_below_its_first_line() -> None:
    text = "id,name\n" + "".join(f"{number},product {number}\n" for number in range(200))
    pieces = cut_text(text, "table")
    assert {piece.heading for piece in pieces[1:]} == {("id,name",)} != {pieces[0].heading}
    assert "\n".join(texts_of(text, pieces)) == text.strip()
    assert len(cut_text(text[:400], "table")) == 1, "a small one is not whole"


def test_a_long_header_row_is_shortened() -> None:
    text = "column," * 60 + "\n" + "1,2\n" * 300
    assert all(len(piece.heading[-1]) == 200 for piece in cut_text(text, "table") if piece.heading)


# More of a gap within than between them: who doesn't know the syntax cuts there.
FUNCTIONS = {
    "bash": "f{0}() {{\n  local c=$1\n\n\n  echo $c {0}\n}}\n\n",
    "c": "int f{0}(int a, int b) {{\n  int c = a + b;\n\n\n  return c * {0};\n}}\n\n",
    "cpp": "int f{0}(const A& a, int b) {{\n  auto c = a.n + b;\n\n\n  return c * {0};\n}}\n\n",
    "csharp": "class F{0} {{\n  int F(int a, int b) {{\n    var c = a + b;\n\n\n    return c * {0};\n  }}\n}}\n\n",
    "elixir": "defmodule F{0} do\n  def f(a, b) do\n    c = a + b\n\n\n    c * {0}\n  end\nend\n\n",
    "go": "func f{0}(a int, b int) int {{\n\tc := a + b\n\n\n\treturn c * {0}\n}}\n\n",
    "java": "class F{0} {{\n  int f(int a, int b) {{\n    int c = a + b;\n\n\n    return c * {0};\n  }}\n}}\n\n",
    "javascript": "function f{0}(a, b) {{\n  const c = a + b;\n\n\n  return c * {0};\n}}\n\n",
    "kotlin": "fun f{0}(a: Int, b: Int): Int {{\n  val c = a + b\n\n\n  return c * {0}\n}}\n\n",
    "lua": "function f{0}(a, b)\n  local c = a + b\n\n\n  return c * {0}\nend\n\n",
    "php": "function f{0}($a, $b) {{\n  $c = $a + $b;\n\n\n  return $c * {0};\n}}\n\n",
    "powershell": "function F{0} {{\n  param($a, $b)\n  $c = $a + $b\n\n\n  return $c * {0}\n}}\n\n",
    "python": "def f{0}(a, b):\n    c = a + b\n\n\n    d = c * {0}\n    return d\n\n",
    "ruby": "def f{0}(a, b)\n  c = a + b\n\n\n  c * {0}\nend\n\n",
    "rust": "fn f{0}(a: i64, b: i64) -> i64 {{\n    let c = a + b;\n\n\n    c * {0}\n}}\n\n",
    "scala": "def f{0}(a: Int, b: Int): Int = {{\n  val c = a + b\n\n\n  c * {0}\n}}\n\n",
    "sql": "CREATE PROCEDURE f{0}(a INT)\nBEGIN\n  DECLARE c INT;\n\n\n  SET c = a * {0};\nEND;\n\n",
    "swift": "func f{0}(a: Int, b: Int) -> Int {{\n  let c = a + b\n\n\n  return c * {0}\n}}\n\n",
    "tsx": "function F{0}(p: P): JSX.Element {{\n  const c = p.a;\n\n\n  return <b>{{c}} {0}</b>;\n}}\n\n",
    "typescript": "function f{0}(a: number, b: number): number {{\n  const c = a + b;\n\n\n  return c * {0};\n}}\n\n",
}
WITHOUT_FUNCTIONS = {"css", "html", "json", "yaml"}


def test_every_language_with_a_grammar_has_its_function() -> None:
    assert set(FUNCTIONS) == set(code._GRAMMARS) - WITHOUT_FUNCTIONS


@pytest.mark.parametrize("language", FUNCTIONS)
def test_code_is_cut_between_functions(language: str) -> None:
    functions = [FUNCTIONS[language].format(number) for number in range(300)]
    text = "".join(functions)
    pieces = cut_text(text, "code", language)
    whole = {function.strip() for function in functions}
    beginnings = {text.index(function) for function in whole}
    assert len(pieces) < len(functions) / 2
    assert all(piece.start in beginnings for piece in pieces)


PROCEDURES = {
    "SQL Server": "CREATE PROCEDURE p{0} @a INT AS\nBEGIN\n  DECLARE @c INT = @a;\n  SELECT @c * {0};\nEND\nGO\n\n",
    "PostgreSQL": (
        "CREATE FUNCTION p{0}(a int) RETURNS trigger LANGUAGE plpgsql AS $$\nDECLARE\n  c int;\nBEGIN\n"
        "  IF NEW.x IS NULL THEN\n    RAISE EXCEPTION 'no %', {0};\n  END IF;\n"
        "  FOR c IN SELECT id FROM t LOOP\n    PERFORM q(c);\n  END LOOP;\n  RETURN NEW;\nEND;\n$$;\n\n"
    ),
}


@pytest.mark.parametrize("dialect", PROCEDURES)
def test_sql_whose_procedures_the_grammar_does_not_know_is_cut_at_blank_lines(dialect: str) -> None:
    text = "".join(PROCEDURES[dialect].format(number) for number in range(200))
    pieces = texts_of(text, cut_text(text, "code", "sql", max_tokens=200))
    assert all(piece.startswith("CREATE") for piece in pieces)


def test_code_of_an_unknown_language_is_cut_at_blank_lines() -> None:
    text = "".join(f"proc {number}\n  some words here\n  and more\n\n" for number in range(100))
    assert all(piece.startswith("proc") for piece in texts_of(text, cut_text(text, "code", "klingon")))


@pytest.mark.parametrize("language", code._GRAMMARS)
def test_every_grammar_is_there(language: str) -> None:
    module, make = code._GRAMMARS[language]
    assert callable(getattr(importlib.import_module(module), make))
    text = "x = [1, 2]\n" * 50
    assert cut_text(text, "code", language)[-1].end == len(text) - 1


@pytest.mark.parametrize("alias", code._ALIASES)
def test_an_alias_names_a_grammar(alias: str) -> None:
    assert code._ALIASES[alias] in code._GRAMMARS
