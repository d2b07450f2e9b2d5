"""How a run that has ended is begun again, with what had completed kept.

Retry, the same run: `to_retry` says which facts it keeps. The rest (the fact that ended it, and any after it) is no
part of its history any more; `RunRetried(now)` is added, and `attempts` stored with the run. From then on, now and
whenever it is taken over, the run is `Machine(program, attempts)` with those facts and all that follow; to be done is
what is `outstanding`: the step that failed, and those that were aborted with it. What ran out of time has its whole
time again, its `parallel`s and `loop`s too; the run's own `max_duration_ms` is for the caller to count anew.

What went wrong before and was answered by the definition (`on_error`, `on_branch_error`) stays as it was.

Fork, a new run from the same inputs: the `facts_until` a step begins, `RunRetried(now)`, and the same `attempts`. The
outputs of the steps that completed in those facts are the new run's as well.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from copilot_domain.workflows.program import Program
from copilot_domain.workflows.state.facts import Entered, Execute, Fact, Left, Path, RunStarted, StepCompleted
from copilot_domain.workflows.state.machine import Machine


@dataclass(frozen=True)
class Again:
    """`attempts`: by path, how many were made of what is to be done again; of earlier retries too."""

    facts: Sequence[Fact]
    attempts: Mapping[Path, int]


def to_retry(program: Program, facts: Sequence[Fact], attempts: Mapping[Path, int] | None = None) -> Again | None:
    """None for a run that has not begun or not ended, that completed, or that met a limit which it would meet again at
    once. `facts`: those that were wanted when they came; `attempts`: as `Machine` takes them."""
    machine = Machine(program, attempts)
    last = next((number for number, fact in enumerate(facts) if _ends(machine, fact)), None)
    if last is None or isinstance(facts[last], RunStarted | StepCompleted):
        return None
    machine = Machine(program, attempts)
    for fact in facts[:last]:
        machine.apply(fact)
    undone = {execute.path: execute.attempt for execute in machine.outstanding()}
    return Again(facts[:last], {**(attempts or {}), **undone}) if undone else None


def facts_until(
    program: Program, facts: Iterable[Fact], place: str, attempts: Mapping[Path, int] | None = None
) -> list[Fact] | None:
    """Those after which the step at a path begins, or one of that id for the first time; None if it never does."""
    machine = Machine(program, attempts)
    kept: list[Fact] = []
    for fact in facts:
        kept.append(fact)
        for effect in machine.apply(fact):
            if isinstance(effect, Execute | Entered) and place in {effect.path, effect.step_id}:
                return kept
    return None


def going_on(machine: Machine, facts: Iterable[Fact]) -> dict[Path, bool]:
    """The `parallel`s and `loop`s that are entered with these facts, and whether they are still going on after them."""
    found: dict[Path, bool] = {}
    for fact in facts:
        for effect in machine.apply(fact):
            if isinstance(effect, Entered | Left):
                found[effect.path] = isinstance(effect, Entered)
    return found


def _ends(machine: Machine, fact: Fact) -> bool:
    machine.apply(fact)
    return machine.ended is not None
