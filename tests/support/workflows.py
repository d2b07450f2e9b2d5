"""Definitions of any shape, and runs of them in which anything may happen, in any order.

`definitions()` is a Hypothesis strategy. `play` leads a `Machine` through a run: its `Dice` decide what happens next,
and it gives back every fact with its effects. The same definition and dice give the same run.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from random import Random
from typing import Literal

from hypothesis import strategies as st

from copilot_domain.workflows.definition import (
    Branch,
    ConditionConfig,
    Config,
    Definition,
    GoTo,
    JoinCount,
    LoopConfig,
    ParallelConfig,
    RetryPolicy,
    Step,
    StepType,
    TransformConfig,
    WaitConfig,
)
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.state import (
    Checked,
    Chosen,
    Counted,
    Decision,
    Effect,
    Execute,
    Fact,
    Machine,
    RunCancelled,
    RunStarted,
    RunTimedOut,
    StepCompleted,
    StepFailed,
    StepTimedOut,
)

_TYPES: dict[type[Config], StepType] = {
    TransformConfig: "transform",
    WaitConfig: "wait",
    ConditionConfig: "condition",
    ParallelConfig: "parallel",
    LoopConfig: "loop",
}


def step(id: str, config: Config | None = None, **fields: object) -> Step:
    config = TransformConfig(set={}) if config is None else config
    return Step(id=id, name=id, type=_TYPES[type(config)], config=config, **fields)  # type: ignore[arg-type]


def definition(*steps: Step, first: str | None = None, **fields: object) -> Definition:
    """Whose steps follow each other as they are given, but for those that a branch or body has."""
    inner = {id for each in steps for listed in lines_inside(each) for id in listed}
    main = [each.id for each in steps if each.id not in inner]
    after = dict(pairwise(main))
    linked = [_linked(each, after[each.id]) if each.id in after and not each.next_steps else each for each in steps]
    return Definition(name="w", steps=linked, entry_point=first or main[0], **fields)  # type: ignore[arg-type]


def lines_inside(step: Step) -> list[list[str]]:
    match step.config:
        case ParallelConfig(branches=branches):
            return branches
        case LoopConfig(body=body):
            return [body]
    return []


def _linked(each: Step, following: str) -> Step:
    return Step(**{name: getattr(each, name) for name in each.__struct_fields__} | {"next_steps": [following]})


# Any definition


@st.composite
def definitions(draw: st.DrawFn, max_depth: int = 3) -> Definition:
    made: list[Step] = []
    numbers = count()

    def line(depth: int, is_main: bool) -> list[str]:
        """Its steps are drawn from the last to the first, so that each knows where it may lead."""
        ids: list[str] = []
        for _ in range(draw(st.integers(1, 3) if depth else st.integers(2, 6))):
            id = f"s{next(numbers)}"
            later = ids[::-1]
            jumps = [draw(st.sampled_from(later))] if later and draw(st.integers(0, 3)) == 0 else []
            following = jumps or (later[:1] if is_main and draw(st.integers(0, 7)) else [])
            made.append(
                step(
                    id,
                    config(depth, later),
                    next_steps=following,
                    on_error=draw(_on_error(later)),
                    retry=RetryPolicy(max_attempts=draw(st.sampled_from([1, 1, 2, 3]))),
                    timeout_ms=draw(st.sampled_from([None, None, 1, 60_000])),
                )
            )
            ids.append(id)
        return ids[::-1]

    def config(depth: int, later: Sequence[str]) -> Config:
        kinds = ["does", "waits", "decides", *(["parallel", "over", "while", "times"] if depth < max_depth else [])]
        kind = draw(st.sampled_from(kinds))
        if kind == "does":
            return TransformConfig(set={})
        if kind == "waits":
            return WaitConfig(seconds=1)
        if kind == "decides":
            return _condition(draw, later)
        if kind == "parallel":
            branches = [line(depth + 1, False) for _ in range(draw(st.integers(1, 3)))]
            joins: list[Literal["all", "any"] | JoinCount] = [
                "all",
                "any",
                *(JoinCount(count=each + 1) for each in range(len(branches))),
            ]
            join = draw(st.sampled_from(joins))
            return ParallelConfig(branches=branches, join=join, on_branch_error=draw(st.sampled_from(_ON_BRANCH_ERROR)))
        return _loop(draw, kind, line(depth + 1, False))

    main = line(0, True)
    return Definition(name="any", steps=made[::-1], entry_point=main[0], max_duration_ms=1_000)


_ON_BRANCH_ERROR: list[Literal["fail", "continue"]] = ["fail", "continue"]


def _on_error(later: Sequence[str]) -> st.SearchStrategy[object]:
    choices: list[object] = ["fail", "continue", *map(GoTo, later)]
    return st.sampled_from(choices)


def _condition(draw: st.DrawFn, later: Sequence[str]) -> ConditionConfig:
    branches = [Branch(when="true", next=id) for id in later if draw(st.booleans())]
    return ConditionConfig(branches=branches, otherwise=draw(st.sampled_from([None, *later])))


def _loop(draw: st.DrawFn, kind: str, body: list[str]) -> LoopConfig:
    most = draw(st.sampled_from([2, 5, 5, 5]))
    if kind == "while":
        return LoopConfig(while_="true", body=body, max_iterations=most)
    at_once = draw(st.integers(1, 3))
    if kind == "over":
        return LoopConfig(over="[]", body=body, concurrency=at_once, max_iterations=most)
    return LoopConfig(times=draw(st.integers(0, 4)), body=body, concurrency=at_once, max_iterations=most)


# Any run


@dataclass(frozen=True)
class Happening:
    fact: Fact
    effects: Sequence[Effect]


@dataclass
class Dice:
    """Chances in a hundred. `never_fails` are paths."""

    seed: int = 0
    failure: int = 15
    retryable: int = 50
    timeout: int = 3
    noise: int = 10
    cancel: int = 1
    run_timeout: int = 1
    in_order: bool = False
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    def says(self, chance: int) -> bool:
        return self.random.randrange(100) < chance


any_dice = st.builds(
    Dice,
    seed=st.integers(0, 10_000),
    failure=st.sampled_from([0, 5, 20]),
    retryable=st.sampled_from([0, 50, 100]),
    timeout=st.sampled_from([0, 5]),
    noise=st.sampled_from([0, 20]),
    cancel=st.sampled_from([0, 0, 3]),
    run_timeout=st.sampled_from([0, 0, 3]),
    in_order=st.booleans(),
)


def play(
    machine: Machine,
    program: Program,
    dice: Dice,
    *,
    begin: Fact | None = None,
    watch: Callable[[Happening], None] = lambda _: None,
    at_most: int = 20_000,
) -> list[Happening]:
    """Until the run has ended. `begin` instead of RunStarted; `watch` sees each fact as soon as it was applied."""
    happenings: list[Happening] = []
    for at, fact in enumerate(_facts(machine, program, dice, begin or RunStarted(0.0), happenings)):
        if at >= at_most:
            raise AssertionError(f"not ended after {at_most} facts")
        happenings.append(Happening(fact, machine.apply(fact)))
        watch(happenings[-1])
    return happenings


def _facts(machine: Machine, program: Program, dice: Dice, begin: Fact, before: list[Happening]) -> Iterator[Fact]:
    yield begin
    while machine.ended is None:
        at = float(len(before))
        if dice.says(dice.noise):
            yield _noise(machine, dice, before, at)
        elif dice.says(dice.cancel):
            yield RunCancelled(at)
        elif dice.says(dice.run_timeout):
            yield RunTimedOut(at)
        elif (deadlines := machine.deadlines()) and dice.says(dice.timeout):
            yield StepTimedOut(dice.random.choice(deadlines)[0], at)
        else:
            outstanding = machine.outstanding()
            yield answer(program, outstanding[0] if dice.in_order else dice.random.choice(outstanding), dice, at)


def answer(program: Program, execute: Execute, dice: Dice, at: float) -> Fact:
    if dice.says(dice.failure):
        return StepFailed(execute.path, execute.attempt, at, "BROKEN", "It broke.", dice.says(dice.retryable))
    return StepCompleted(execute.path, execute.attempt, at, _decision(program.steps[execute.step_id], dice))


def _decision(step: Step, dice: Dice) -> Decision | None:
    match step.config:
        case ConditionConfig(branches=branches, otherwise=otherwise):
            return Chosen(dice.random.choice([*(branch.next for branch in branches), otherwise]))
        case LoopConfig(while_=str()):
            return Checked(dice.says(60))
        case LoopConfig():
            return Counted(dice.random.choice([0, 1, 2, 3, 4]))
    return None


def _noise(machine: Machine, dice: Dice, before: list[Happening], at: float) -> Fact:
    """What changes nothing: an old fact again, a fact about nothing, or about an attempt that is not being made."""
    wanted = {execute.path for execute in machine.outstanding()} | {path for path, _ in machine.deadlines()}
    old = [each.fact for each in before if getattr(each.fact, "path", "") not in wanted]
    match dice.random.randrange(4):
        case 0 if old:
            return dice.random.choice(old)
        case 1:
            return StepTimedOut("nowhere[0].s1", at)
        case 2:
            execute = dice.random.choice(machine.outstanding())
            stale = execute.attempt + dice.random.choice([-1, 1])
            if dice.says(50):
                return StepFailed(execute.path, stale, at, "STALE", "", True)
            return StepCompleted(execute.path, stale, at)
    return StepCompleted("nowhere", 1, at, Counted(7))
