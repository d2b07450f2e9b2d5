"""Whatever comes in has faults or none, never an exception; and what is valid can be walked to an end."""

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_domain.workflows.definition import ConditionConfig, Definition, LoopConfig
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.state import (
    Checked,
    Chosen,
    Counted,
    Decision,
    Execute,
    Machine,
    RunStarted,
    StepCompleted,
)
from copilot_domain.workflows.validation import Fault, decode, encode, expressions_of, validate

IDS = ["a", "b", "c", "d", "e", "f", "g", "h"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(IDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def damaged(random: Random, value: Any, junk: list[Any]) -> Any:
    """The same with some of its parts replaced by anything."""
    if random.random() < 0.05:
        return random.choice(junk)
    if isinstance(value, dict):
        return {name: damaged(random, inner, junk) for name, inner in value.items() if random.random() > 0.02}
    if isinstance(value, list):
        return [damaged(random, inner, junk) for inner in value]
    return value


def scope(random: Random, ids: list[str], steps: list[dict[str, Any]], depth: int, *, is_list: bool) -> None:
    """Steps in order, each maybe with steps of its own; every way leads forward."""
    while ids:
        step_id, later = ids.pop(0), ids
        inner = [later.pop() for _ in range(random.randint(1, 3)) if later] if depth < 8 else []
        kind = random.choice(["transform", "wait", "condition", "loop", "parallel"])
        step: dict[str, Any] = {"id": step_id, "name": "n", "type": kind}
        if kind in {"loop", "parallel"} and inner:
            _frame(random, step, inner)
            scope(random, inner, steps, depth + 1, is_list=True)
        else:
            later.extend(reversed(inner))
            _leaf(random, step, list(later))
        if later and (not is_list or random.random() < 0.3):
            step["next_steps"] = [later[0] if random.random() < 0.9 else random.choice(later)]
        step["on_error"] = random.choice(["fail", "continue", {"next": random.choice(later)} if later else "fail"])
        steps.append(step)


def _frame(random: Random, step: dict[str, Any], inner: list[str]) -> None:
    if step["type"] == "loop":
        ways: list[dict[str, Any]] = [{"times": random.randint(0, 3)}, {"over": "x"}, {"while": "x"}]
        step["config"] = {"body": list(inner), "max_iterations": 5, **random.choice(ways)}
    else:
        cut = random.randint(1, len(inner))
        branches = [branch for branch in (inner[:cut], inner[cut:]) if branch]
        join = random.choice(["all", "any", {"count": len(branches)}])
        step["config"] = {"branches": [list(branch) for branch in branches], "join": join}


def _leaf(random: Random, step: dict[str, Any], later: list[str]) -> None:
    if step["type"] == "condition" and later:
        branches = [{"when": "x", "next": random.choice(later)} for _ in range(random.randint(1, 2))]
        step["config"] = {"branches": branches, **random.choice([{}, {"else": random.choice(later)}])}
    else:
        step["type"], step["config"] = random.choice([("transform", {"set": {"x": "1"}}), ("wait", {"seconds": 1})])


def made(random: Random) -> dict[str, Any]:
    steps: list[dict[str, Any]] = []
    scope(random, IDS[: random.randint(1, 8)], steps, 0, is_list=False)
    return {"name": "x", "entry_point": "a", "steps": steps}


@given(JSON)
def test_any_json_has_faults_or_none(value: object) -> None:
    checked = validate(value)
    assert isinstance(checked, Definition) or (checked and all(isinstance(fault, Fault) for fault in checked))


@given(st.randoms(use_true_random=False), st.lists(JSON, min_size=1, max_size=5))
def test_a_damaged_definition_has_faults_or_none(random: Random, junk: list[Any]) -> None:
    checked = validate(damaged(random, made(random), [*junk, *IDS, [], {}, None]))
    assert isinstance(checked, Definition) or checked


@settings(max_examples=300)
@given(st.randoms(use_true_random=False))
def test_a_valid_definition_is_walked_to_its_end(random: Random) -> None:
    checked = validate(made(random))
    if isinstance(checked, Definition):
        assert decode(encode(checked)) == checked
        assert isinstance(expressions_of(checked), list)
        walk(checked, random)


def test_the_walks_are_of_definitions_worth_walking() -> None:
    valid = [each for seed in range(300) if isinstance(each := validate(made(Random(seed))), Definition)]
    assert len(valid) > 50
    assert {step.type for each in valid for step in each.steps} == {
        "transform", "wait", "condition", "loop", "parallel",
    }  # fmt: skip


def walk(definition: Definition, random: Random) -> None:
    program = Program(definition)
    machine = Machine(program)
    machine.apply(RunStarted(0.0))
    for _ in range(20_000):
        if machine.ended is not None:
            assert machine.ended.status in {"completed", "failed"}
            return
        todo = random.choice(machine.outstanding())
        machine.apply(StepCompleted(todo.path, todo.attempt, 1.0, decide(program, todo, random)))
    raise AssertionError("it does not end")


def decide(program: Program, todo: Execute, random: Random) -> Decision | None:
    config = program.steps[todo.step_id].config
    if isinstance(config, ConditionConfig):
        last = [config.otherwise]
        return Chosen(random.choice([branch.next for branch in config.branches] + last))
    if isinstance(config, LoopConfig):
        return Checked(random.random() < 0.6) if todo.path.endswith("]") else Counted(random.randint(0, 6))
    return None
