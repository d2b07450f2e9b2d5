"""Real files of every format, through the real child processes: each is found again, and cited to the character."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from copilot_common.embedding import Embedded, Purpose
from copilot_common.embedding.wordllama_adapter import WordLlamaEmbedder
from integration.context.ground import ContextGround, open_context
from support import office_files
from support.api import Site
from support.office_files import PHRASE

FILLER = "Nothing of note happens on the quay. " * 60  # a chunk has some 45


class Case(NamedTuple):
    """A file, and where its phrase must be said to be. Nothing else in it has the phrase's `word`."""

    name: str
    data: bytes
    heading: tuple[str, ...] = ()
    page: int | None = None
    phrase: str = PHRASE
    word: str = "copper"


FRENCH = "Rien ne s'est passé à l'été dernier près du château où les élèves étaient restés. " * 60


def in_the_middle(phrase: str = PHRASE, filler: str = FILLER) -> str:
    return f"{filler}\n\n{phrase}\n\n{filler}"


def html() -> str:
    return (
        f"<!doctype html><title>T</title><h1>Port</h1><p>{FILLER}<h2>Signals</h2><p>{FILLER}<p>{PHRASE}<p>{FILLER}"
        f"<h2>End</h2><p>{FILLER}"
    )


def markdown() -> str:
    return f"# Port\n\n{FILLER}\n\n## Signals\n\n{in_the_middle()}\n\n## End\n\n{FILLER}\n"


def rows(separator: str) -> str:
    lines = [f"{number}{separator}{PHRASE if number == 300 else 'nothing'}" for number in range(600)]
    return "\n".join([f"number{separator}remark", *lines])


def python() -> str:
    functions = [f'def f{number}():\n    """{PHRASE if number == 60 else "nothing"}"""\n' for number in range(120)]
    return "\n\n".join(functions)


def go() -> str:
    functions = [
        f"// {PHRASE if number == 60 else 'nothing'}\nfunc f{number}() int {{ return 1 }}" for number in range(120)
    ]
    return "package main\n\n" + "\n\n".join(functions)


# A function in each language whose grammar came last: a comment, then what stands below it.
SOURCES = {
    "Main.kt": "// {0}\nfun f{1}(a: Int): Int {{\n    return a * {1}\n}}\n\n",
    "main.swift": "// {0}\nfunc f{1}(a: Int) -> Int {{\n    return a * {1}\n}}\n\n",
    "Main.scala": "// {0}\ndef f{1}(a: Int): Int = {{\n  a * {1}\n}}\n\n",
    "tables.sql": "-- {0}\nCREATE TABLE t{1} (\n  id integer PRIMARY KEY,\n  name text\n);\n\n",
    "main.lua": "-- {0}\nfunction f{1}(a)\n  return a * {1}\nend\n\n",
    "main.ps1": "# {0}\nfunction F{1} {{\n    param($a)\n    return $a * {1}\n}}\n\n",
    "main.ex": "# {0}\ndefmodule F{1} do\n  def f(a) do\n    a * {1}\n  end\nend\n\n",
    "main.js": "// {0}\nfunction f{1}(a) {{\n  return a * {1};\n}}\n\n",
    "main.ts": "// {0}\nfunction f{1}(a: number): number {{\n  return a * {1};\n}}\n\n",
    "View.tsx": "// {0}\nfunction F{1}(props: {{ a: number }}) {{\n  return <b>{{props.a}}</b>;\n}}\n\n",
    "Main.java": "// {0}\nclass F{1} {{\n  int f(int a) {{\n    return a * {1};\n  }}\n}}\n\n",
    "main.c": "/* {0} */\nint f{1}(int a) {{\n  return a * {1};\n}}\n\n",
    "main.cpp": "// {0}\ntemplate <class T> T f{1}(T a) {{\n  return a * {1};\n}}\n\n",
    "Main.cs": "// {0}\nclass F{1} {{\n  int F(int a) => a * {1};\n}}\n\n",
    "main.rs": "// {0}\nfn f{1}(a: i32) -> i32 {{\n    a * {1}\n}}\n\n",
    "main.rb": "# {0}\ndef f{1}(a)\n  a * {1}\nend\n\n",
    "main.php": "<?php\n// {0}\nfunction f{1}($a) {{\n    return $a * {1};\n}}\n?>\n\n",
    "main.sh": "# {0}\nf{1}() {{\n  echo $(($1 * {1}))\n}}\n\n",
    "style.css": "/* {0} */\n.f{1} {{\n  margin: {1}px;\n}}\n\n",
    "conf.yaml": "# {0}\nf{1}:\n  times: {1}\n  of: a\n\n",
}


def source(form: str) -> bytes:
    return "".join(form.format(PHRASE if number == 60 else "nothing", number) for number in range(120)).encode()


# Of texts in encodings nobody names: what fills them, the phrase, its rare word.
LEGACY = {
    "cp1253": ("Το λιμάνι ήταν ήσυχο και τα καράβια γύριζαν αργά από τη θάλασσα. ", "φώτα από χαλκό", "χαλκό"),
    "cp1256": ("كان الميناء هادئا وعادت السفن ببطء من البحر. ", "مصابيح من النحاس", "النحاس"),
    "iso8859_8": ("הנמל היה שקט בערב והספינות חזרו לאט מן הים. ", "פנסים של נחושת", "נחושת"),
    "cp1250": ("Este csendes volt a kikötő, és a hajók lassan tértek vissza. ", "rézből készült lámpák", "rézből"),
    "cp1257": ("Vakare uostas buvo tylus, o laivai lėtai grįžo iš jūros. ", "žibintai iš žalvario", "žalvario"),
}


def archive() -> bytes:
    return office_files.packed(
        {
            "docs/a.md": "# Other\n\nOther words.",
            "docs/port.md": markdown(),
            "src/main.py": "x = 1",
            "b.txt": "The end.",
        }
    )


CASES = (
    Case("report.docx", office_files.word(FILLER), ("Harbours", "Signals")),
    Case("deck.pptx", office_files.slides(FILLER), ("Slide 2",), 2),
    Case("ports.xlsx", office_files.workbook(), ("Ports",)),
    Case("book.pdf", office_files.pdf(filler=FILLER), ("Chapter 2",), 2),
    Case("page.html", html().encode(), ("Port", "Signals")),
    Case("notes.md", markdown().encode(), ("Port", "Signals")),
    Case("table.csv", rows(",").encode(), ("number | remark",)),
    Case("table.tsv", rows("\t").encode(), ("number | remark",)),
    Case("data.json", json.dumps([{"remark": PHRASE if n == 300 else "nothing"} for n in range(600)]).encode()),
    Case("module.py", python().encode()),
    Case("main.go", go().encode()),
    Case("plain.txt", in_the_middle().encode()),
    Case(
        "latin.txt", in_the_middle("la forêt brûlée", FRENCH).encode("latin-1"), phrase="la forêt brûlée", word="brûlée"
    ),
    *(Case(name, source(form)) for name, form in SOURCES.items()),
    *(
        Case(f"{encoding}.txt", in_the_middle(phrase, filler * 60).encode(encoding), phrase=phrase, word=word)
        for encoding, (filler, phrase, word) in LEGACY.items()
    ),
    Case("wide.txt", in_the_middle("Größe der Brücke 鉛").encode("utf-16"), phrase="Größe der Brücke", word="Brücke"),
    Case("all.zip", archive(), ("docs/port.md", "Port", "Signals")),
)


async def test_a_file_of_every_format_is_found_by_a_phrase_from_its_middle(context: ContextGround) -> None:
    found = {case.name: await place(context, case) for case in CASES}
    assert {case.name: (case.heading, case.page) for case in CASES}.items() - found.items() == set()


async def place(context: ContextGround, case: Case) -> tuple[tuple[str, ...], int | None]:
    item = await context.ingested(await context.add_file(case.data, case.name))
    assert (case.name, item.status, item.error) == (case.name, "ready", None)
    hits = await context.search(case.phrase, item_ids=(item.id,))
    assert any(case.phrase in hit.text for hit in hits), case.name
    (narrow,) = await context.search(case.word, "text", item_ids=(item.id,))  # others would be shown as one with it
    assert case.phrase in narrow.text, case.name
    text = await context.text(item.id)
    assert all(text[hit.start : hit.end] == hit.text for hit in [*hits, narrow]), case.name
    return tuple(narrow.heading), narrow.page


class CountingEmbedder(WordLlamaEmbedder):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        self.asked += len(texts)
        return await super().embed(texts, purpose=purpose)


def chunks(context: ContextGround) -> list[tuple[object, ...]]:
    return context.site.rows(
        "SELECT number, start_offset, end_offset, token_count, page, text_hash FROM context_chunks ORDER BY number"
    )


async def test_a_file_ingested_again_has_the_same_chunks_and_none_is_embedded_again(site: Site) -> None:
    embedder = CountingEmbedder()
    async with open_context(site, embedder) as context:
        item = await context.ingested(await context.add_file(office_files.pdf(pages=12), "book.pdf"))
        before, asked = chunks(context), embedder.asked
        assert len(before) == item.chunk_count
        assert 0 < asked <= len(before)  # pages say the same
        (old,) = context.site.rows("SELECT content_id FROM context_items")
        assert (await context.reindexed(item)).status == "ready"
        assert (chunks(context), embedder.asked) == (before, asked)
        (new,) = context.site.rows("SELECT content_id FROM context_items")
        assert old != new
        assert context.site.rows("SELECT count(*) FROM blobs WHERE id = %s", *old) == [(0,)]
        assert context.count("blobs") == 2  # what it came as, and its text


async def test_an_edit_at_the_end_of_a_long_text_embeds_its_last_chunks_only(site: Site) -> None:
    text = "\n\n".join(f"Paragraph {number}. " + f"The walrus of day {number} swims. " * 30 for number in range(300))
    embedder = CountingEmbedder()
    async with open_context(site, embedder) as context:
        item = await context.add(text)
        assert embedder.asked == item.chunk_count > 100
        await context.change(item.id, content=f"{text}\n\nAnd a heron.")
        assert await context.ingest(item.id) == "ready"
        assert 1 <= embedder.asked - item.chunk_count <= 3
        assert "heron" in (await context.search("heron"))[0].text


async def test_a_deleted_file_leaves_no_blob(context: ContextGround) -> None:
    ready = await context.ingested(await context.add_file(office_files.word(), "report.docx"))
    failed = await context.ingested(await context.add_file(office_files.word()[:500], "report.docx"))
    pending = await context.add_file(b"some text", "a.txt")
    assert (ready.status, failed.status, pending.status) == ("ready", "failed", "pending")
    for item in (ready, failed, pending):
        await context.delete(item.id)
    tables = ("blobs", "blob_pieces", "context_items", "context_chunks", "context_embeddings")
    assert [context.count(table) for table in tables] == [0] * len(tables)
