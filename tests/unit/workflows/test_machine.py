"""What the machine does at the corners of a run, one at a time."""

import pytest

from copilot_domain.workflows.definition import (
    Branch,
    ConditionConfig,
    GoTo,
    JoinCount,
    LoopConfig,
    RetryPolicy,
)
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.state import (
    Abort,
    Checked,
    Chosen,
    Counted,
    Decision,
    Ended,
    Execute,
    Left,
    Machine,
    Path,
    RunCancelled,
    RunStarted,
    RunTimedOut,
    StepError,
)
from support.workflows import definition, step
from unit.workflows.run import Run, aborted, ended, executed, left, parallel

# Joins


def test_any_takes_the_first_and_cancels_the_rest() -> None:
    run = Run(
        definition(step("p", parallel(["a"], ["b", "c"], join="any")), step("a"), step("b"), step("c"), step("z"))
    )
    effects = run.completes("p[1].b")
    assert executed(effects) == ["p[1].c"]
    effects = run.completes("p[1].c")
    assert effects[:2] == [Abort("p[0].a", "a", 1), Left("p", "p", 2.0, "completed", None, (None, "p[1].c"))]
    assert run.outstanding == ["z"]


def test_any_cancels_loops_inside_with_all_they_do_inner_ones_first() -> None:
    body = LoopConfig(times=3, body=["l2"], concurrency=2)
    run = Run(
        definition(
            step("p", parallel(["a"], ["l1"], join="any")),
            step("a"), step("l1", body), step("l2", LoopConfig(over="[]", body=["b"])), step("b"),
        )
    )  # fmt: skip
    run.completes("p[1].l1[0].l2", Counted(2))
    effects = run.completes("p[0].a")
    assert aborted(effects) == ["p[1].l1[1].l2", "p[1].l1[0].l2[0].b"]
    assert left(effects) == [
        ("p[1].l1[1].l2", "cancelled"),
        ("p[1].l1[0].l2", "cancelled"),
        ("p[1].l1", "cancelled"),
        ("p", "completed"),
    ]


@pytest.mark.parametrize("join", ["any", JoinCount(count=2)])
def test_a_branch_that_fails_fails_the_join_unless_told_otherwise(join: object) -> None:
    run = Run(definition(step("p", parallel(["a"], ["b"], ["c"], join=join)), step("a"), step("b"), step("c")))
    effects = run.fails("p[1].b")
    assert aborted(effects) == ["p[0].a", "p[2].c"]
    assert ended(effects).error == StepError("p[1].b", "BROKEN", "It broke.")


def test_a_count_fails_as_soon_as_too_few_are_left() -> None:
    config = parallel(["a"], ["b"], ["c"], join=JoinCount(count=2), on_branch_error="continue")
    run = Run(definition(step("p", config), step("a"), step("b"), step("c")))
    assert run.fails("p[0].a") == []
    effects = run.fails("p[2].c")
    assert aborted(effects) == ["p[1].b"]
    assert ended(effects).error == StepError(
        "p", "JOIN_FAILED", "At most 1 of the 2 branches that were wanted can complete."
    )


def test_a_branch_that_fails_at_once_leaves_the_others_unbegun() -> None:
    loop = step("l", LoopConfig(times=3, body=["b"], max_iterations=2))
    run = Run(definition(step("p", parallel(["l"], ["a"]), on_error="continue"), loop, step("b"), step("a"), step("z")))
    assert executed(run.begun) == ["z"]
    assert left(run.begun) == [("p[0].l", "failed"), ("p", "failed")]


def test_all_branches_may_fail_where_errors_are_tolerated() -> None:
    run = Run(definition(step("p", parallel(["a"], ["b"], on_branch_error="continue")), step("a"), step("b")))
    run.fails("p[0].a")
    effects = run.fails("p[1].b")
    assert effects == [Left("p", "p", 2.0, "completed", None, (None, None)), Ended(2.0, "completed", "p")]


# Errors that are answered


def test_a_part_that_failed_and_was_passed_over_has_no_output() -> None:
    run = Run(definition(step("l", LoopConfig(times=2, body=["a"])), step("a", on_error="continue")))
    run.fails("l[0].a")
    assert run.completes("l[1].a") == [
        Left("l", "l", 2.0, "completed", None, (None, "l[1].a")),
        Ended(2.0, "completed", "l"),
    ]
    alone = Run(definition(step("a", on_error="continue")))
    assert alone.fails("a") == [Ended(1.0, "completed", None)]


def test_a_loop_or_parallel_that_fails_can_be_passed_over_too() -> None:
    run = Run(
        definition(
            step("l", LoopConfig(times=2, body=["p"])),
            step("p", parallel(["a"], ["b"]), on_error="continue"),
            step("a"), step("b"),
        )
    )  # fmt: skip
    effects = run.fails("l[0].p[0].a")
    assert aborted(effects) == ["l[0].p[1].b"]
    assert executed(effects) == ["l[1].p[0].a", "l[1].p[1].b"]


def test_an_error_in_a_branch_leads_to_a_later_step_of_the_branch() -> None:
    config = parallel(["a", "b", "c"], ["d"])
    run = Run(definition(step("p", config), step("a", on_error=GoTo("c")), step("b"), step("c"), step("d")))
    assert executed(run.fails("p[0].a")) == ["p[0].c"]
    run.completes("p[1].d")
    assert ended(run.completes("p[0].c")).status == "completed"


def test_what_a_loop_asks_is_tried_again_and_fails_the_loop_in_the_end() -> None:
    policy = RetryPolicy(max_attempts=2, backoff_ms=500)
    for config, path in [(LoopConfig(over="[]", body=["a"]), "l"), (LoopConfig(while_="true", body=["a"]), "l[0]")]:
        run = Run(definition(step("l", config, retry=policy, on_error="continue"), step("a"), step("z")))
        assert run.fails(path, retryable=True) == [Execute(path, "l", 2, 1.5)]
        effects = run.fails(path, retryable=True)
        assert effects[0] == Left("l", "l", 2.0, "failed", StepError(path, "BROKEN", "It broke."), ())
        assert run.outstanding == ["z"]


# Time


def test_a_loop_that_runs_out_of_time_before_it_is_counted_asks_no_more() -> None:
    run = Run(
        definition(
            step("l", LoopConfig(over="[]", body=["a"]), timeout_ms=10, on_error="continue"), step("a"), step("z")
        )
    )
    effects = run.times_out("l")
    assert aborted(effects) == ["l"]
    assert run.completes("l", Counted(2), attempt=1) == []
    assert run.outstanding == ["z"]


def test_waits_and_attempts_that_are_to_come_are_aborted_as_well() -> None:
    config = parallel(["w"], ["a"], ["b"])
    retry = RetryPolicy(max_attempts=2)
    run = Run(definition(step("p", config), step("w"), step("a", retry=retry), step("b")))
    run.fails("p[1].a", retryable=True)
    effects = run.fails("p[2].b")
    assert effects[:2] == [Abort("p[0].w", "w", 1), Abort("p[1].a", "a", 2)]


def test_of_two_frames_out_of_time_the_first_told_counts() -> None:
    steps = [
        step("l", LoopConfig(times=1, body=["p"]), timeout_ms=10, on_error="continue"),
        step("p", parallel(["a"]), timeout_ms=10, on_error="continue"),
        step("a"),
        step("z"),
    ]
    outer_first = Run(definition(*steps))
    assert outer_first.machine.deadlines() == [("l", 0.01), ("l[0].p", 0.01)]
    assert left(outer_first.times_out("l")) == [("l[0].p", "cancelled"), ("l", "failed")]
    assert outer_first.times_out("l[0].p") == []
    inner_first = Run(definition(*steps))
    assert left(inner_first.times_out("l[0].p")) == [("l[0].p", "failed"), ("l", "completed")]
    assert inner_first.times_out("l") == []


def test_a_frame_that_has_ended_cannot_run_out_of_time() -> None:
    run = Run(definition(step("p", parallel(["a"]), timeout_ms=10), step("a"), step("z")))
    run.completes("p[0].a")
    assert run.times_out("p") == []
    assert ended(run.completes("z")).status == "completed"


def test_a_run_out_of_time_fails_and_aborts_everything() -> None:
    run = Run(definition(step("p", parallel(["a"], ["b"])), step("a"), step("b"), max_duration_ms=70))
    effects = run.machine.apply(RunTimedOut(9.0))
    assert aborted(effects) == ["p[0].a", "p[1].b"]
    assert ended(effects).error == StepError("", "RUN_TIMEOUT", "The run took longer than 70 ms.")


# Facts that cannot be


def test_a_decision_that_was_not_asked_for_is_refused_and_changes_nothing() -> None:
    condition = ConditionConfig(branches=[Branch(when="true", next="z")])
    loop = step("l", LoopConfig(over="[]", body=["b"]))
    run = Run(definition(step("a"), step("c", condition), loop, step("b"), step("z")))
    cases: list[tuple[Path, list[Decision | None], Decision | None]] = [
        ("a", [Counted(1), Checked(True), Chosen("z"), Chosen(None)], None),
        ("c", [Counted(1), Checked(True), Chosen("nowhere")], Chosen(None)),
        ("l", [None, Checked(True), Chosen("z")], Counted(1)),
    ]
    for path, wrong, right in cases:
        for decision in wrong:
            with pytest.raises(ValueError, match="no answer"):
                run.completes(path, decision)
            assert run.outstanding == [path]
        assert run.completes(path, right)
    assert run.outstanding == ["l[0].b"]


def test_a_run_that_is_cancelled_before_it_starts_never_starts() -> None:
    machine = Machine(Program(definition(step("a"))))
    assert machine.apply(RunCancelled(1.0)) == [Ended(1.0, "cancelled")]
    assert machine.apply(RunStarted(2.0)) == []
