"""The examples of docs/expressions.md are what comes out."""

import json
import re
from pathlib import Path

import pytest

from copilot_common.expressions.errors import ExpressionFailed
from copilot_common.expressions.evaluator import LIMITS, Evaluator
from copilot_common.expressions.source import MAX_SOURCE_CHARS, NAMES, Cel, Template

PAGE = (Path(__file__).parents[3] / "docs" / "expressions.md").read_text()
GIVEN: dict[str, object] = {
    "inputs": {"name": "Ada", "tags": ["a", "b"], "limit": 3},
    "steps": {"search": {"output": {"hits": [{"title": "One", "score": 0.9}, {"title": "Two", "score": 0.4}]}}},
    "item": {"id": 7},
    "index": 2,
}


def examples() -> list[tuple[str, object]]:
    section = PAGE.partition("## Examples")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(.+)` \| `(.+)` \|$", section, re.MULTILINE)
    return [(source.replace("\\|", "|"), json.loads(value)) for source, value in rows]


def test_the_page_gives_the_data_that_its_examples_are_run_with() -> None:
    text = re.sub(r"\s+", " ", PAGE)
    for value in (GIVEN["inputs"], GIVEN["item"]):
        assert f"`{json.dumps(value)}`" in text
    assert json.dumps(GIVEN["steps"]["search"]["output"]) in text  # type: ignore[index]  # as it stands above


async def test_each_example_has_the_value_beside_it(evaluator: Evaluator) -> None:
    found = examples()
    assert len(found) > 10
    values = await evaluator.evaluate_structure([source for source, _ in found], GIVEN)
    assert values == [value for _, value in found]


async def test_the_other_claims_of_the_page_hold(evaluator: Evaluator) -> None:
    assert await evaluator.evaluate([Cel("double(1) + 1.5")], {}) == [2.5]
    for wrong in (Cel("1 + 1.5"), Cel("b'x'"), Cel("1.0 / 0.0"), Cel("inputs.?name"), Template("{{ lipsum() }}")):
        with pytest.raises(ExpressionFailed):
            await evaluator.evaluate([wrong], GIVEN)
    level = 50
    for fine in (Cel("(" * level + "1" + ")" * level), Template("{{ " + "(" * level + "1" + ")" * level + " }}")):
        assert (await evaluator.evaluate([fine], {}))[0] in (1, "1")


def test_the_caps_of_the_page_are_those_of_the_code() -> None:
    caps = (
        f"{MAX_SOURCE_CHARS:,} characters".replace(",", " "),
        f"{LIMITS.wall_seconds:g} s",
        f"{LIMITS.memory_bytes // 2**20} MB",
        f"{LIMITS.output_bytes // 2**20} MB",
    )
    for cap in caps:
        assert f"| {cap} |" in PAGE
    for name in NAMES:
        assert f"`{name}" in PAGE
