"""Pieces are exact ranges of their document, in order, bounded, whole where they fit, and leave no character out."""

from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_domain.documents.chunking import ChunkRules, code, cut
from copilot_domain.documents.chunking.counters import open_counter
from copilot_domain.documents.chunking.rules import TokenizerName
from copilot_domain.documents.types import Document, Piece, Section, SectionKind

KINDS: tuple[SectionKind, ...] = get_args(SectionKind)
TOKENIZERS: tuple[TokenizerName, ...] = get_args(TokenizerName)
LINES = (
    *("word ", "Sentence. ", "\n", "\n\n", "# Head\n", "## Below ##\n", "```\n", "~~~\n", "- a\n", "> q", "a | b\n"),
    *(
        "|---|---|\n",
        "def f():\n",
        "    return 1\n",
        "漢字。",
        "e\u0301",
        "👨‍👩‍👧‍👦",
        "\t",
        "\r\n",
        "\u2028",
        "\x1c",
        "<s>",
    ),
    "x" * 40,
)
texts = st.lists(st.text(max_size=30) | st.sampled_from(LINES), max_size=200).map("".join)
rules = st.builds(
    ChunkRules,
    tokenizer=st.sampled_from(TOKENIZERS),
    max_tokens=st.integers(32, 120),
    overlap_tokens=st.sampled_from((0, 8)),
)
SENTENCES = "".join(f"Sentence number {number} stands here. " for number in range(400))


def document(text: str, kind: SectionKind = "markdown", language: str = "", *, pages: tuple[int, ...] = ()) -> Document:
    section = Section(start=0, end=len(text), kind=kind, language=language)
    return Document(text=text, sections=(section,), pages=pages, media_type="text/plain")


def pieces_of(
    text: str, kind: SectionKind = "markdown", language: str = "", *, max_tokens: int = 100, overlap_tokens: int = 0
) -> list[Piece]:
    rules = ChunkRules(tokenizer="estimate", max_tokens=max_tokens, overlap_tokens=overlap_tokens)
    return list(cut(document(text, kind, language), rules))


def shown(text: str, pieces: list[Piece]) -> list[str]:
    return [text[piece.start : piece.end] for piece in pieces]


def check(text: str, pieces: list[Piece], rules: ChunkRules) -> None:
    counter = open_counter(rules.tokenizer)
    end = 0
    for piece in pieces:
        assert text[end : max(end, piece.start)].strip() == "", "a character in no piece"
        assert text[piece.start : piece.end] == text[piece.start : piece.end].strip() != ""
        assert 0 < piece.token_count == counter.count(text[piece.start : piece.end]) <= rules.max_tokens
        assert counter.count(text[piece.start : end]) <= rules.overlap_tokens
        end = piece.end
    assert text[end:].strip() == ""
    assert all(one.start < next_.start and one.end < next_.end for one, next_ in pairwise(pieces))


@settings(max_examples=100, deadline=None)
@given(text=texts, kind=st.sampled_from(KINDS), rules=rules)
def test_pieces_cover_any_text_in_order(text: str, kind: SectionKind, rules: ChunkRules) -> None:
    check(text, list(cut(document(text, kind, "python"), rules)), rules)


@settings(max_examples=4, deadline=None)
@given(text=texts, rules=rules)
@pytest.mark.parametrize("language", code._GRAMMARS)
def test_pieces_cover_any_code_in_order(language: str, text: str, rules: ChunkRules) -> None:
    check(text, list(cut(document(text, "code", language), rules)), rules)


HOSTILE = {
    "one word": "x" * 20_000,
    "no spaces": "漢字" * 8_000,
    "brackets": "[" * 20_000,
    "quotes": "> " * 8_000,
    "lines": "a\n" * 8_000,
    "spaces": "a" + " " * 20_000 + "b",
    "line breaks": "a" + "\n" * 20_000 + "b",
    "combining": "e" + "\u0301" * 20_000,
    "family": "👨‍👩‍👧‍👦" * 3_000,
    "line separators": "a\u2028b\x0cc\x85" * 8_000,
    "zero width": "\u200b" * 20_000,
    "NULs": "\0" * 20_000,
    "headings": "# h\n" * 4_000,
    "spaced headings": ("# x" + " " * 190 + "y\n") * 200,
    "open fences": "````\n```\n" * 2_000,
    "ticks": "`" * 20_000,
    "tables": "a|b\n-|-\n" * 2_000,
    "a wide row": "a|b\n-|-\n" + "x|" * 8_000,
    "dashes": "a|b\n" + "- " * 8_000 + "x",
    "deep lists": "".join(" " * min(depth, 300) + "- x\n" for depth in range(400)),
    "sums": "a+" * 8_000,
}


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_pieces_cover_hostile_texts(text: str, kind: SectionKind, tokenizer: TokenizerName) -> None:
    rules = ChunkRules(tokenizer=tokenizer)
    check(text, list(cut(document(text, kind, "python"), rules)), rules)


def test_grapheme_clusters_stay_whole() -> None:
    family = "👨‍👩‍👧‍👦"
    text = family * 100
    assert all(len(piece) % len(family) == 0 for piece in shown(text, pieces_of(text, "text", max_tokens=32)))


def test_a_text_is_filled_into_few_pieces() -> None:
    pieces = pieces_of(SENTENCES, "text")
    assert len(pieces) <= open_counter("estimate").count(SENTENCES) / 80


def test_a_piece_ends_with_a_sentence_though_lines_are_wrapped_anywhere() -> None:
    wrapped = SENTENCES.replace(" stands", "\nstands")
    assert all(piece.endswith(".") for piece in shown(wrapped, pieces_of(wrapped, "text")))


@pytest.mark.parametrize("kind", ["text", "markdown"])
def test_neighbours_share_whole_sentences_within_the_overlap(kind: SectionKind) -> None:
    pieces = pieces_of(SENTENCES, kind, overlap_tokens=20)
    for one, next_ in pairwise(pieces):
        shared = SENTENCES[next_.start : one.end]
        assert shared.startswith("Sentence number")
        assert shared.endswith("here.")
        assert len(shared) <= 80


def test_nothing_is_shared_across_headings_and_sections() -> None:
    markdown = "".join(f"# Head {number}\n\n{SENTENCES[:350]}\n\n" for number in range(5))
    assert all(one.end <= next_.start for one, next_ in pairwise(pieces_of(markdown, overlap_tokens=20)))
    half = len(SENTENCES) // 2
    sections = (Section(start=0, end=half, kind="text"), Section(start=half, end=len(SENTENCES), kind="text"))
    parted = Document(text=SENTENCES, sections=sections, media_type="text/plain")
    pieces = cut(parted, ChunkRules(tokenizer="estimate", max_tokens=100, overlap_tokens=20))
    assert all(piece.end <= half or piece.start >= half for piece in pieces)


@settings(max_examples=12, deadline=None)
@given(kind=st.sampled_from(KINDS), tokenizer=st.sampled_from(TOKENIZERS), words=st.integers(1, 60))
def test_an_edit_at_the_end_changes_the_last_pieces_only(
    kind: SectionKind, tokenizer: TokenizerName, words: int
) -> None:
    text = "".join(f"# Part {part}\n\n{SENTENCES[part * 37 : part * 37 + 900]}\n\n" for part in range(40))
    rules = ChunkRules(tokenizer=tokenizer, max_tokens=100, overlap_tokens=20)
    before = list(cut(document(text, kind, "python"), rules))
    assert before == list(cut(document(text, kind, "python"), rules)), "the same text, cut otherwise"
    after = list(cut(document(text + "Added words. " * words, kind, "python"), rules))
    kept = next((at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), len(before))
    assert kept >= len(before) - 3


def test_a_piece_knows_its_page() -> None:
    text = "One.\n\n\n" + SENTENCES[:500] + "\n\n" + SENTENCES[:500]
    pages = (0, 6, 509)  # the second begins with white space
    rules = ChunkRules(tokenizer="estimate", max_tokens=32, overlap_tokens=0)
    for piece in cut(document(text, "text", pages=pages), rules):
        assert piece.page == sum(page <= piece.start for page in pages)
    assert {piece.page for piece in cut(document(text), rules)} == {None}


def test_sections_are_cut_by_their_own_rules_below_their_own_heading() -> None:
    parts = ("# Title\n\nText.", "# no title\nx = 1", "# no title either.")
    text = "\n".join(parts)
    kinds: tuple[SectionKind, ...] = ("markdown", "code", "text")
    sections = tuple(
        Section(start=text.index(part), end=text.index(part) + len(part), kind=kind, heading=("folder/file", kind))
        for part, kind in zip(parts, kinds, strict=True)
    )
    pieces = list(cut(Document(text=text, sections=sections, media_type=""), ChunkRules(tokenizer="estimate")))
    assert shown(text, pieces) == list(parts)
    assert [piece.heading for piece in pieces] == [
        ("folder/file", "markdown", "Title"),
        ("folder/file", "code"),
        ("folder/file", "text"),
    ]


titles = st.text(st.sampled_from("ab 漢é."), min_size=1, max_size=180).map(lambda title: f"T{title}")
headed = st.tuples(st.integers(1, 6), titles).map(lambda pair: f"{'#' * pair[0]} {pair[1]}\n\n")
headed_texts = st.lists(
    headed | st.sampled_from((SENTENCES[:900], "Words.\n\n", "| a | b |\n|--|--|\n| c | d |\n")), max_size=30
)


@settings(max_examples=100, deadline=None)
@given(
    parts=headed_texts,
    section=st.lists(titles, max_size=6).map(tuple),
    tokenizer=st.sampled_from(TOKENIZERS),
    room=st.integers(0, 80),
)
def test_a_piece_is_no_longer_than_is_read_with_its_innermost_headings(
    parts: list[str], section: tuple[str, ...], tokenizer: TokenizerName, room: int
) -> None:
    text, most = "".join(parts), 64 + room
    under = Section(start=0, end=len(text), kind="markdown", heading=section)
    made = Document(text=text, sections=(under,), media_type="text/plain")
    every = list(cut(made, ChunkRules(tokenizer=tokenizer, max_tokens=64, overlap_tokens=8)))
    some = list(cut(made, ChunkRules(tokenizer=tokenizer, max_tokens=64, overlap_tokens=8, shown_tokens=most)))
    count = open_counter(tokenizer).count
    assert [(one.start, one.end) for one in some] == [(one.start, one.end) for one in every]
    for piece, whole in zip(some, every, strict=True):
        own = text[piece.start : piece.end]
        kept, left = len(piece.heading), whole.heading[len(whole.heading) - len(piece.heading) :]
        assert piece.heading == left
        assert count("\n".join([*piece.heading, own])) <= most
        assert kept == len(whole.heading) or count("\n".join([*whole.heading[-kept - 1 :], own])) > most


@pytest.mark.parametrize(("max_tokens", "overlap_tokens"), [(31, 0), (100, 26), (100, -1)])
def test_rules_that_make_no_sense_are_refused(max_tokens: int, overlap_tokens: int) -> None:
    with pytest.raises(ValueError, match="tokens is"):
        ChunkRules(tokenizer="estimate", max_tokens=max_tokens, overlap_tokens=overlap_tokens)


def test_a_piece_may_always_be_shown_whole() -> None:
    with pytest.raises(ValueError, match="shown_tokens is"):
        ChunkRules(tokenizer="estimate", max_tokens=100, overlap_tokens=0, shown_tokens=99)
    least = ChunkRules.of_size("estimate", 8, 9)
    assert (least.max_tokens, least.shown_tokens) == (32, 32)
