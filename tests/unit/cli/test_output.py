"""What is printed, and where."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from rich.console import Console

from copilot_cli.answers import place, print_footer, shorten
from copilot_cli.client import Citation, Document, Message
from copilot_cli.client.types import AnswerUsage
from copilot_cli.output import cell, money, print_json, print_table, printable


@pytest.mark.parametrize(
    ("cost", "shown"),
    [
        (None, "cost unknown"),
        (Decimal(0), "$0"),
        (Decimal("0.000123"), "$0.000123"),
        (Decimal("1.50"), "$1.5"),
        (Decimal(12), "$12"),
    ],
)
def test_a_cost_is_dollars_and_an_unknown_one_is_not_zero(cost: Decimal | None, shown: str) -> None:
    assert money(cost) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (True, "yes"),
        (1234567, "1 234 567"),
        (["a", "b"], "a b"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02 03:04:05"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_a_cell_reads_as_a_person_reads(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_a_text_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x07\tc\nd") == "a[2Jb\tc\nd"


def test_a_piped_table_is_not_cut_and_takes_no_markup_from_its_cells(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    print_table(["name", "text"], [("[red]a[/red]", long)], empty="none")
    out = capsys.readouterr().out
    assert long in out
    assert "[red]a[/red]" in out


def test_an_empty_table_says_so_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name"], [], empty="Nothing here.")
    assert capsys.readouterr() == ("", "Nothing here.\n")


def test_json_has_costs_as_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"cost": Decimal("0.25"), "id": UUID(int=1)})
    assert json.loads(capsys.readouterr().out) == {"cost": 0.25, "id": str(UUID(int=1))}


TEXT = "one\ntwo\nthree\n"


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [(0, 3, "a.md:1"), (0, 4, "a.md:1"), (4, 13, "a.md:2-3"), (0, 14, "a.md:1-3"), (3, 3, "a.md:1")],
)
def test_a_citation_is_placed_by_lines_where_the_text_is_at_hand(start: int, end: int, shown: str) -> None:
    citation = Citation("document", "a.md", start, end, TEXT[start:end])
    assert place(citation, [Document("a.md", TEXT)]) == shown


def test_a_citation_is_placed_by_characters_where_it_is_not() -> None:
    assert place(Citation("document", "a.md", 4, 7, "two"), []) == "a.md characters 4-7"


def test_a_quote_is_one_line_of_bounded_length() -> None:
    assert shorten("a\n  b", 10) == "a b"
    assert shorten("a" * 20, 10) == "a" * 9 + "…"


def test_the_footer_numbers_citations_as_the_text_does(capsys: pytest.CaptureFixture[str]) -> None:
    message = Message(
        id=UUID(int=1),
        conversation_id=UUID(int=2),
        role="assistant",
        content="See [21] and [3], again [21].",
        status="completed",
        usage=AnswerUsage(10, 5, 0, Decimal("0.01"), estimated=False),
        model="m",
        citations=[Citation("document", "a", 0, 3, "one"), Citation("document", "b", 0, 3, "two")],
        finish_reason="stop",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    print_footer(message, documents=[], seconds=1.25)
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.split() == ["[21]", "a", "characters", "0-3", "“one”"]
    assert second.split()[:2] == ["[3]", "b"]
    assert last.strip() == "m · 10 tokens in, 5 out · $0.01 · 1.25 s"


def test_an_id_is_whole_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("copilot_cli.output.console", lambda: Console(width=80))
    print_table(["id", *"abcdefg"], [[UUID(int=7), *["a long text"] * 7]], empty="nothing")
    assert str(UUID(int=7)) in capsys.readouterr().out
