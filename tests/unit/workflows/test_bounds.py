"""What a run may cost, and how deep and how long it may be."""

from collections import deque
from sys import gettrace, settrace
from tracemalloc import get_traced_memory, start, stop
from types import FrameType

import pytest

from copilot_domain.workflows.definition import (
    Definition,
    LoopConfig,
)
from copilot_domain.workflows.state import (
    MAX_STEPS,
    Counted,
    Entered,
    Execute,
)
from support.workflows import definition, step
from unit.workflows.run import Run, aborted, ended, left, parallel


def nested(depth: int, innermost: LoopConfig | None = None, **fields: object) -> Definition:
    """Loops of one iteration in each other; `fields` are the outermost's."""
    loops = [
        step(f"l{at}", LoopConfig(times=1, body=[f"l{at + 1}"]), **(fields if not at else {})) for at in range(depth)
    ]
    last = [step(f"l{depth}", innermost), step("leaf")] if innermost else [step(f"l{depth}")]
    return definition(*loops, *last)


def test_long_chains_and_deep_nests_of_empty_loops_are_no_recursion() -> None:
    chain = [step(f"l{at}", LoopConfig(times=0, body=[f"a{at}"])) for at in range(2_000)]
    run = Run(definition(*chain, *(step(f"a{at}") for at in range(2_000))))
    assert ended(run.begun).status == "completed"
    run = Run(nested(500, LoopConfig(times=0, body=["leaf"])))
    assert ended(run.begun).status == "completed"


def test_a_failure_rises_through_any_depth() -> None:
    run = Run(nested(500))
    effects = run.fails(run.outstanding[0])
    assert len(left(effects)) == 500
    assert ended(effects).status == "failed"


def test_a_time_out_reaches_down_to_any_depth() -> None:
    run = Run(nested(500, timeout_ms=1))
    effects = run.times_out("l0")
    assert len(left(effects)) == 500
    assert len(aborted(effects)) == 1


def test_a_run_has_at_most_so_many_steps() -> None:
    inner = LoopConfig(times=1_000, body=["e"], max_iterations=1_000)
    empty = LoopConfig(times=0, body=["a"])
    run = Run(definition(step("l", LoopConfig(times=1_000, body=["m"])), step("m", inner), step("e", empty), step("a")))
    error = ended(run.begun).error
    assert error is not None
    assert error.code == "TOO_MANY_STEPS"
    assert len([each for each in run.begun if isinstance(each, Entered)]) <= MAX_STEPS


@pytest.mark.parametrize("concurrency", [1, 10**9])
def test_a_loop_of_more_iterations_than_a_run_has_steps_costs_nothing(concurrency: int) -> None:
    config = LoopConfig(over="[]", body=["a"], concurrency=concurrency, max_iterations=10**9)
    run = Run(definition(step("l", config), step("a")))
    start()
    effects = run.completes("l", Counted(10**9))
    _, most_bytes = get_traced_memory()
    stop()
    error = ended(effects).error
    assert error is not None
    assert error.code == "TOO_MANY_STEPS"
    assert most_bytes < 1_000_000


def work_per_fact(definition: Definition, count: int) -> float:
    """In bytecode instructions, which no other process disturbs. Each loop that asks is told `count`; what is begun is
    completed, the oldest first."""
    instructions = 0

    def trace(frame: FrameType, event: str, _: object) -> object:
        nonlocal instructions
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        instructions += event == "opcode"
        return trace

    run = Run(definition)
    loops = {each.id for each in definition.steps if isinstance(each.config, LoopConfig)}
    waiting, facts = deque(each for each in run.begun if isinstance(each, Execute)), 0
    while waiting:
        execute = waiting.popleft()
        decision = Counted(count) if execute.step_id in loops else None
        before = gettrace()
        settrace(trace)  # type: ignore[arg-type]
        effects = run.completes(execute.path, decision, execute.attempt)
        settrace(before)
        waiting.extend(each for each in effects if isinstance(each, Execute))
        facts += 1
    assert run.machine.ended is not None
    assert run.machine.ended.status == "completed"
    return instructions / facts


def test_ten_thousand_iterations_cost_each_what_a_hundred_do() -> None:
    config = LoopConfig(over="[]", body=["a"], max_iterations=10_000)
    loop = definition(step("l", config), step("a"))
    assert work_per_fact(loop, 10_000) < 1.2 * work_per_fact(loop, 100)


def test_what_else_is_going_on_does_not_make_a_fact_dearer() -> None:
    """50 branches with loops of 50 at once, each with a parallel inside, as much as 5 with 5."""

    def wide(width: int) -> Definition:
        inner = [
            [
                step(f"l{at}", LoopConfig(over="[]", body=[f"m{at}"], concurrency=width)),
                step(f"m{at}", parallel([f"a{at}"])),
                step(f"a{at}"),
            ]
            for at in range(width)
        ]
        branches = parallel(*([line[0].id] for line in inner))
        return definition(step("p", branches), *(each for line in inner for each in line))

    assert work_per_fact(wide(50), 50) < 1.2 * work_per_fact(wide(5), 5)
