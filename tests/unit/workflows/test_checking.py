"""A definition's expressions, checked by a process that may be killed by one of them."""

from collections.abc import Sequence

import pytest

from copilot_common.expressions.errors import ExpressionFailed
from copilot_common.expressions.source import Cel, Template
from copilot_domain.workflows.definition import Definition
from copilot_domain.workflows.validation import checking, expression_faults, validate


def definition(*sources: str) -> Definition:
    step = {"id": "a", "name": "a", "type": "transform"}
    config = {"set": {f"n{number}": source for number, source in enumerate(sources)}}
    made = validate({"name": "x", "entry_point": "a", "steps": [step | {"config": config}]})
    assert isinstance(made, Definition)
    return made


class Checker:
    """Knows `bad`; `deadly` ends the process of all that come along."""

    def __init__(self) -> None:
        self.calls = 0

    async def check(self, expressions: Sequence[Template | Cel]) -> list[str | None]:
        self.calls += 1
        if any(each.source == "deadly" for each in expressions):
            raise ExpressionFailed(None, "EXPRESSION_TIMEOUT", "It takes too long.")
        return ["It is bad." if each.source == "bad" else None for each in expressions]


async def test_what_is_wrong_is_told_by_its_place() -> None:
    checker = Checker()
    assert await expression_faults(definition("good", "bad"), checker) == [("steps[0].config.set.n1", "It is bad.")]
    assert checker.calls == 1


async def test_a_step_that_is_none_is_named() -> None:
    sources = "steps.a.output", "steps.b.output + steps['c'].output", "steps[inputs.x].output", "'steps.d'"
    assert await expression_faults(definition(*sources), Checker()) == [
        ("steps[0].config.set.n1", "names no step: `b`"),
        ("steps[0].config.set.n1", "names no step: `c`"),
    ]


async def test_one_that_kills_the_checker_is_found_and_the_others_are_checked() -> None:
    faults = await expression_faults(definition("good", "deadly", "bad", "good"), Checker())
    assert faults == [("steps[0].config.set.n1", "It takes too long."), ("steps[0].config.set.n2", "It is bad.")]


async def test_patience_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_PATIENCE_SECONDS", -1.0)
    checker = Checker()
    faults = await expression_faults(definition("good"), checker)
    assert [path for path, _ in faults] == ["steps[0].config.set.n0"]
    assert checker.calls == 0


async def test_a_definition_without_expressions_asks_nobody() -> None:
    checker = Checker()
    step = {"id": "a", "name": "a", "type": "wait", "config": {"seconds": 1}}
    made = validate({"name": "x", "entry_point": "a", "steps": [step]})
    assert isinstance(made, Definition)
    assert await expression_faults(made, checker) == []
    assert checker.calls == 0
