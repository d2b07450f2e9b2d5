"""docs/guide-coverage.md leaves nothing of the guide out, and what it names is there."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from support.coverage import TARGET, adr_file, commands, deviations, entries, entry_of, parts, render
from support.guide import GUIDE, OURS, ROOT, line_of, read_guide

PARTS = list(dict.fromkeys(parts(read_guide(GUIDE))))


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def named_tests() -> Iterator[str]:
    for entry in entries():
        yield from entry.tests
    for command in commands():
        yield from command.tried


def test_our_guide_has_the_guides_contents() -> None:
    assert read_guide(OURS).headings == read_guide(GUIDE).headings


def test_what_is_committed_is_what_the_generator_writes() -> None:
    assert TARGET.read_text() == render(), "run make guide-coverage"


def test_every_part_of_the_guide_has_an_entry() -> None:
    assert not [part for part in PARTS if entry_of(part) is None]


def test_every_entry_is_of_a_part_of_the_guide() -> None:
    there = {(part.kind, part.name) for part in PARTS}
    assert not [(entry.kind, name) for entry in entries() for name in entry.names if (entry.kind, name) not in there]


def test_no_part_has_two_entries() -> None:
    named = [(entry.kind, name) for entry in entries() for name in entry.names]
    assert len(named) == len(set(named))


def test_what_is_not_open_says_where_it_is_and_what_proves_it() -> None:
    assert not [entry.names for entry in entries() if not entry.open and not (entry.where and entry.tests)]


def test_files_that_are_named_are_there() -> None:
    named = {where for entry in entries() for where in entry.where}
    assert not [where for where in named if not (ROOT / where).exists()]


@pytest.mark.parametrize("named", sorted(set(named_tests())))
def test_a_test_that_is_named_is_there(named: str) -> None:
    file, _, test = named.partition("::")
    assert test in functions_of(file) if test else (ROOT / file).is_file()
    assert test.startswith("test_") or not test


def test_variables_and_metrics_stand_in_the_files_that_are_named() -> None:
    for part in PARTS:
        entry = entry_of(part)
        assert entry
        text = "".join((ROOT / where).read_text() for where in entry.where if (ROOT / where).is_file())
        if part.kind == "metric":
            assert f'"{part.name.removesuffix("_total")}"' in text or f'"{part.name}"' in text, part
        elif part.kind == "variable":
            assert f"    {part.name.lower()}:" in text or re.search(rf"^ +{part.name}: ", text, re.MULTILINE), part


def test_what_is_open_is_still_missing() -> None:
    """Who makes one of these files writes its entry anew."""
    made = [path for entry in entries() for path in entry.until if (ROOT / path).exists()]
    assert not made
    assert not [entry.names for entry in entries() if entry.until and not entry.open]


def test_every_file_that_the_guide_names_is_there_or_open() -> None:
    """Its manifests' own names stand for what charts render; see tests/deploy/test_guide.py."""
    for part in PARTS:
        entry = entry_of(part)
        assert entry
        if part.kind == "file" and not (ROOT / part.name.strip("/")).exists():
            assert entry.open or (part.name.endswith(".yaml") and entry.where), part


def test_a_deviation_names_a_decision_and_a_place_in_the_guide() -> None:
    guide = read_guide(GUIDE)
    there = {part.name for part in PARTS} | {line_of(command) for _, command in guide.commands()}
    for deviation in deviations():
        assert deviation.section in guide.leaves()
        assert (ROOT / "docs/adr" / adr_file(deviation.adr)).is_file()
        for place in deviation.places:
            assert place.partition(" $")[0] in there, place


def test_our_guide_says_of_what_is_open_that_it_is_not_there_yet_and_of_nothing_else() -> None:
    is_open = {part.section for part in PARTS if (entry := entry_of(part)) and entry.open}
    texts = re.split(r"^#{2,} (.*)\n", OURS.read_text(), flags=re.MULTILINE)
    told = {title for title, text in zip(texts[1::2], texts[2::2], strict=True) if "not yet" in text.lower()}
    assert told == {section.rpartition(" > ")[2] for section in is_open}
