"""Runs that are begun again, or forked."""

from copilot_domain.workflows.definition import (
    LoopConfig,
    RetryPolicy,
)
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.state import (
    Counted,
    Execute,
    Fact,
    Machine,
    RunCancelled,
    RunRetried,
    RunStarted,
    StepCompleted,
    StepFailed,
    facts_until,
    to_retry,
)
from support.workflows import definition, step
from unit.workflows.run import Run, ended, left, parallel


def test_attempts_go_on_where_they_were_and_the_policy_counts_anew() -> None:
    steps = definition(step("a", retry=RetryPolicy(max_attempts=2, backoff_ms=1_000)))
    run = Run(steps, {"a": 4})
    assert run.begun == [Execute("a", "a", 5, 0.0)]
    assert run.fails("a", retryable=True) == [Execute("a", "a", 6, 2.0)]
    assert ended(run.fails("a", retryable=True)).status == "failed"


def test_a_retry_in_a_loop_keeps_what_completed_and_does_the_rest_again() -> None:
    program = Program(
        definition(
            step("l", LoopConfig(over="[]", body=["p"]), timeout_ms=10_000),
            step("p", parallel(["a", "b"], ["c"], ["d"])),
            step("a", retry=RetryPolicy(max_attempts=2)), step("b"), step("c"), step("d"),
        )
    )  # fmt: skip
    facts: list[Fact] = [
        RunStarted(0.0),
        StepCompleted("l", 1, 1.0, Counted(2)),
        StepCompleted("l[0].p[0].a", 1, 2.0),
        StepCompleted("l[0].p[0].b", 1, 2.0),
        StepCompleted("l[0].p[1].c", 1, 2.0),
        StepCompleted("l[0].p[2].d", 1, 2.0),
        StepFailed("l[1].p[0].a", 1, 3.0, "BUSY", "", is_retryable=True),
        StepCompleted("l[1].p[0].a", 2, 4.0),
        StepCompleted("l[1].p[2].d", 1, 4.0),
        StepFailed("l[1].p[0].b", 1, 5.0, "BROKEN", "It broke."),
        StepCompleted("l[1].p[1].c", 1, 6.0),  # too late
    ]
    again = to_retry(program, facts)
    assert again is not None
    assert again.facts == facts[:-2]
    assert again.attempts == {"l[1].p[0].b": 1, "l[1].p[1].c": 1}
    machine = Machine(program, again.attempts)
    for fact in [*again.facts, RunRetried(100.0)]:
        machine.apply(fact)
    assert machine.outstanding() == [Execute("l[1].p[1].c", "c", 2, 100.0), Execute("l[1].p[0].b", "b", 2, 100.0)]
    assert machine.deadlines() == [("l", 110.0)]
    machine.apply(StepCompleted("l[1].p[1].c", 2, 101.0))
    effects = machine.apply(StepCompleted("l[1].p[0].b", 2, 102.0))
    assert left(effects) == [("l[1].p", "completed"), ("l", "completed")]
    assert ended(effects).status == "completed"


def test_time_does_not_go_back_when_an_older_retry_is_told_again() -> None:
    run = Run(definition(step("p", parallel(["a"]), timeout_ms=1_000), step("a")))
    for at in (50.0, 20.0):
        assert run.machine.apply(RunRetried(at)) == []
    assert run.machine.deadlines() == [("p", 51.0)]
    assert run.machine.outstanding() == [Execute("p[0].a", "a", 1, 50.0)]


def test_runs_that_would_end_the_same_way_at_once_cannot_be_retried() -> None:
    completed: list[Fact] = [RunStarted(0.0), StepCompleted("a", 1, 1.0)]
    program = Program(definition(step("a")))
    assert to_retry(program, completed) is None
    assert to_retry(program, completed[:1]) is None, "it has not ended"
    assert to_retry(program, [RunCancelled(0.0)]) is None, "it has not begun"
    counted = Program(definition(step("l", LoopConfig(over="[]", body=["a"], max_iterations=2)), step("a")))
    assert to_retry(counted, [RunStarted(0.0), StepCompleted("l", 1, 1.0, Counted(3))]) is None
    empty = Program(definition(step("l", LoopConfig(times=3, body=["a"], max_iterations=2)), step("a")))
    assert to_retry(empty, [RunStarted(0.0)]) is None


def test_a_fork_keeps_what_came_before_the_step() -> None:
    program = Program(definition(step("a"), step("b"), step("c")))
    facts: list[Fact] = [RunStarted(0.0), *(StepCompleted(path, 1, 1.0) for path in "abc")]
    assert facts_until(program, facts, "b") == facts[:2]
    assert facts_until(program, facts, "a") == facts[:1]
    assert facts_until(program, facts, "nowhere") is None
