"""A definition as the state machine walks it: which step belongs to which scope, and what follows it there.

A scope is a line that one token walks: the workflow itself, a branch of a `parallel`, one iteration of a `loop`. There
every way leads forward, so a token arrives at its end after as many steps as the scope has, at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import cast

from copilot_domain.workflows.definition import Definition, GoTo, LoopConfig, ParallelConfig, Step


@dataclass(frozen=True)
class Scope:
    """`follows`: by step, the one after it; absent for one that ends the scope."""

    first: str
    follows: dict[str, str]


class Program:
    """Made from a valid definition: each step stands in one scope, none of which is empty."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.steps: dict[str, Step] = {step.id: step for step in definition.steps}
        self._listed_scopes: dict[str, Scope] = {}

    @cached_property
    def main(self) -> Scope:
        return Scope(self.definition.entry_point, self._links(self.definition.steps))

    def inside(self, step: Step, index: int) -> Scope:
        """What a branch of a `parallel`, or an iteration of a `loop`, walks."""
        if isinstance(step.config, ParallelConfig):
            return self._listed(step.config.branches[index])
        return self._listed(cast(LoopConfig, step.config).body)

    def after_error(self, step: Step, scope: Scope) -> str | None:
        """Where a scope goes on after `step` failed for good; asked only where `on_error` is not `fail`."""
        if isinstance(step.on_error, GoTo):
            return step.on_error.next
        return scope.follows.get(step.id)

    def _listed(self, ids: Sequence[str]) -> Scope:
        first = ids[0]  # which no other scope has
        if first not in self._listed_scopes:
            follows = dict(pairwise(ids)) | self._links([self.steps[each] for each in ids])
            self._listed_scopes[first] = Scope(first, follows)
        return self._listed_scopes[first]

    @staticmethod
    def _links(steps: Sequence[Step]) -> dict[str, str]:
        return {step.id: step.next_steps[0] for step in steps if step.next_steps}
