"""Any definition, and anything that may happen to a run of it."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from copilot_domain.workflows.definition import Definition
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.state import (
    Abort,
    Ended,
    Execute,
    Fact,
    Left,
    Machine,
    Path,
    RunCancelled,
    RunRetried,
    StepCompleted,
    StepFailed,
    facts_until,
    to_retry,
)
from support.workflows import Dice, Happening, any_dice, definitions, play
from unit.workflows.watch import Watch

SETTINGS = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def played(definition: Definition, dice: Dice) -> tuple[Program, Machine, list[Happening]]:
    program = Program(definition)
    machine = Machine(program)
    return program, machine, play(machine, program, dice, watch=Watch(definition).see)


@given(definitions(), st.lists(any_dice, min_size=1, max_size=10))
@SETTINGS
def test_every_run_keeps_the_rules_and_ends(definition: Definition, several: list[Dice]) -> None:
    for dice in several:
        _, machine, happenings = played(definition, dice)
        assert isinstance(happenings[-1].effects[-1], Ended)
        assert machine.outstanding() == []
        assert machine.deadlines() == []


@given(definitions(), any_dice)
@SETTINGS
def test_the_same_facts_give_the_same_effects_and_state(definition: Definition, dice: Dice) -> None:
    program = Program(definition)
    machine, again = Machine(program), Machine(Program(definition))

    def replay(happening: Happening) -> None:
        assert again.apply(happening.fact) == happening.effects
        assert again.outstanding() == machine.outstanding()
        assert again.deadlines() == machine.deadlines()
        assert again.ended == machine.ended

    play(machine, program, dice, watch=replay)


@given(definitions(), any_dice)
@SETTINGS
def test_facts_without_effects_can_be_left_out(definition: Definition, dice: Dice) -> None:
    """Those that come twice, too late, or from nowhere; but an answer may count without an effect now."""
    program, machine, happenings = played(definition, replace(dice, noise=40))
    again = Machine(program)
    effects = [again.apply(fact) for fact in recorded(Machine(program), [each.fact for each in happenings])]
    assert [each for each in effects if each] == [each.effects for each in happenings if each.effects]
    assert again.ended == machine.ended


def recorded(machine: Machine, facts: Sequence[Fact]) -> list[Fact]:
    """Those that count, as a runner writes them down."""
    return [fact for fact in facts if _is_awaited(machine, fact) | bool(machine.apply(fact))]


def _is_awaited(machine: Machine, fact: Fact) -> bool:
    if isinstance(fact, RunRetried):
        return True
    return isinstance(fact, StepCompleted | StepFailed) and machine.is_wanted(fact.path, fact.attempt)


@given(definitions(), any_dice)
@SETTINGS
def test_after_the_end_nothing_changes(definition: Definition, dice: Dice) -> None:
    _, machine, happenings = played(definition, dice)
    ended = machine.ended
    for each in [*happenings, Happening(RunCancelled(9e9), []), Happening(RunRetried(9e9), [])]:
        assert machine.apply(each.fact) == []
    assert machine.ended == ended


@given(definitions(), any_dice, st.integers(0, 60))
@SETTINGS
def test_cancelling_ends_a_run_at_any_point(definition: Definition, dice: Dice, after: int) -> None:
    program, _, happenings = played(definition, dice)
    machine = Machine(program)
    for each in happenings[: min(after, len(happenings) - 1)]:
        machine.apply(each.fact)
    outstanding = machine.outstanding()
    *effects, ended = machine.apply(RunCancelled(1e6))
    assert isinstance(ended, Ended)
    assert (ended.status, ended.at) == ("cancelled", 1e6)
    aborted = [(each.path, each.attempt) for each in effects if isinstance(each, Abort)]
    assert sorted(aborted) == sorted((each.path, each.attempt) for each in outstanding)
    assert all(isinstance(each, Abort) or (isinstance(each, Left) and each.status == "cancelled") for each in effects)


@given(definitions(), any_dice, any_dice, any_dice)
@SETTINGS
def test_a_retry_does_what_failed_or_was_cut_short_and_nothing_else(
    definition: Definition, first: Dice, second: Dice, third: Dice
) -> None:
    """Twice, so that what one retry has done is kept by the next."""
    program, _, happenings = played(definition, first)
    facts = recorded(Machine(program), [each.fact for each in happenings])
    attempts: dict[Path, int] = {}
    done = {(each.path, each.attempt) for each in _executed(happenings)}
    for dice in (second, third):
        again = to_retry(program, facts, attempts)
        if again is None:
            return
        machine, watch = Machine(program, again.attempts), Watch(definition, dict(again.attempts))
        for fact in again.facts:
            watch.see(Happening(fact, machine.apply(fact)))
        begun = {(each.path, each.attempt) for each in machine.outstanding()}
        assert begun, "something is to be done again"
        assert not begun & done, "under numbers that were not used"
        later = play(machine, program, dice, begin=RunRetried(1e6), watch=watch.see)
        assert not {(each.path, each.attempt) for each in _executed(later)} & done
        done |= begun | {(each.path, each.attempt) for each in _executed(later)}
        attempts = dict(again.attempts)
        facts = recorded(Machine(program, attempts), [*again.facts, *(each.fact for each in later)])


def _executed(happenings: list[Happening]) -> list[Execute]:
    return [effect for each in happenings for effect in each.effects if isinstance(effect, Execute)]


@given(definitions(), any_dice, st.integers(0, 1_000))
@SETTINGS
def test_a_fork_begins_at_the_step_it_is_asked_to(definition: Definition, dice: Dice, which: int) -> None:
    program, _, happenings = played(definition, dice)
    executed = _executed(happenings)
    if not executed:  # empty loops only
        return
    path = executed[which % len(executed)].path
    kept = facts_until(program, [each.fact for each in happenings], path)
    assert kept is not None
    machine = Machine(program)
    effects = [effect for fact in kept for effect in machine.apply(fact)]
    assert [effect.path for effect in effects if isinstance(effect, Execute)].count(path) == 1
    assert facts_until(program, kept[:-1], path) is None
