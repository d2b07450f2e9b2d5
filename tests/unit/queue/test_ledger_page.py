"""docs/ledger.md names statements, functions and tests: all of them are there."""

import re
from pathlib import Path

from copilot_common.queue.ledger import sql

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "ledger.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")][
    1:
]


def _names(text: str) -> set[str]:
    return set(re.findall(r"`([a-z_.]+)`", text))


def test_every_arrow_names_a_statement_that_exists() -> None:
    functions = re.findall(r"CREATE FUNCTION (dispatch\.\w+)", (ROOT / "migrations" / "003_ledger.sql").read_text())
    known = {*functions, *sql.names()}
    assert len(ROWS) == 13
    for _, made_by, _ in ROWS:
        named = {name for name in _names(made_by) if "_" in name}
        assert named, made_by
        assert named <= known | {"lapses"}, made_by


def test_every_arrow_names_a_test_that_exists() -> None:
    files = (ROOT / "tests" / "integration" / "queue").glob("test_*.py")
    tests = {name for file in files for name in re.findall(r"def test_(\w+)", file.read_text())}
    for _, _, proved_by in ROWS:
        named = {name for name in _names(proved_by) if not name.startswith("test_")}
        assert named, proved_by
        assert named <= tests, named - tests
