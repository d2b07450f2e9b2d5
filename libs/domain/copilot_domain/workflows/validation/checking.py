"""The expressions of a definition, checked in a process of their own.

Threat model: a source that is too much for the checker ends its process, and with it the check of all that went along.
So a batch that fails is looked at one by one; and what has taken too long altogether is not looked at any more.
"""

import time
from collections.abc import Sequence
from typing import Protocol

from copilot_common.expressions.errors import ExpressionFailed
from copilot_common.expressions.references import ALL, references
from copilot_common.expressions.source import Cel, Template
from copilot_domain.workflows.definition import Definition
from copilot_domain.workflows.validation.expressions import CONCURRENCY_KEY, Expression, expressions_of
from copilot_domain.workflows.validation.faults import MAX_FAULTS, Fault

_BATCH = 100  # some milliseconds of work
_PATIENCE_SECONDS = 8.0  # a handful of sources that run into the checker's own limit of 2 s

_BEFORE_THE_FIRST_STEP = {"inputs", "run"}

_TOO_LONG = "could not be checked: the expressions before it took too long"


class ExpressionChecker(Protocol):
    async def check(self, expressions: Sequence[Template | Cel]) -> list[str | None]:
        """For each what is wrong with it, in a sentence, or None. Raises ExpressionFailed where one is too much."""


async def expression_faults(definition: Definition, checker: ExpressionChecker) -> list[Fault]:
    """First names of steps that are none, then what the checker says, each in the order of the definition. Wants no
    transaction, and up to ten seconds. Raises Unavailable."""
    expressions = expressions_of(definition)
    faults = _faults_of_names(expressions, {step.id for step in definition.steps})
    end = time.monotonic() + _PATIENCE_SECONDS
    for first in range(0, len(expressions), _BATCH):
        faults += await _faults_of(expressions[first : first + _BATCH], checker, end)
    return faults[:MAX_FAULTS]


def _faults_of_names(expressions: Sequence[Expression], ids: set[str]) -> list[Fault]:
    """Where a name is computed nothing is said."""
    faults = []
    for expression in expressions:
        used = references(expression.parsed)
        if expression.path == CONCURRENCY_KEY:
            if used.names - _BEFORE_THE_FIRST_STEP:
                faults.append(Fault(expression.path, "may use inputs and run alone: no step has begun"))
        elif used.steps is not ALL:
            faults += [Fault(expression.path, f"names no step: `{each}`") for each in sorted(used.steps.keys() - ids)]
    return faults


async def _faults_of(batch: Sequence[Expression], checker: ExpressionChecker, end: float) -> list[Fault]:
    if time.monotonic() > end:
        return [Fault(each.path, _TOO_LONG) for each in batch]
    try:
        sentences = await checker.check([each.parsed for each in batch])
    except ExpressionFailed as failed:
        if len(batch) == 1:
            return [Fault(batch[0].path, failed.message)]
        return [fault for each in batch for fault in await _faults_of([each], checker, end)]
    return [Fault(each.path, sentence) for each, sentence in zip(batch, sentences, strict=True) if sentence]
