"""Rule by rule: what a definition must be, and the path and sentence where it is not."""

import re
from pathlib import Path
from typing import Any

import pytest

from copilot_domain.workflows.definition import STEP_TYPES, Definition
from copilot_domain.workflows.parsing import parse
from copilot_domain.workflows.validation import MAX_FAULTS, decode, encode, expressions_of, validate
from copilot_domain.workflows.validation.configs import CONFIG_CHECKS

EXAMPLE = re.search(r"```yaml\n(.*?)```", (Path(__file__).parents[3] / "docs/workflows.md").read_text(), re.S)

CONFIGS: dict[str, dict[str, Any]] = {
    "llm": {"prompt": "x"},
    "tool": {"tool": "context.search", "arguments": {"query": "x"}},
    "condition": {"branches": [{"when": "true", "next": "b"}]},
    "parallel": {"branches": [["b"]]},
    "loop": {"times": 1, "body": ["b"]},
    "human_review": {"prompt": "x"},
    "wait": {"seconds": 1},
    "transform": {"set": {"x": "1"}},
    "workflow": {"workflow_id": "01890000-0000-7000-8000-000000000000"},
}


def step(id: str, type: str = "transform", config: dict[str, Any] | None = None, **fields: object) -> dict[str, Any]:
    return {"id": id, "name": id, "type": type, "config": CONFIGS[type] if config is None else config, **fields}


def flow(*steps: dict[str, Any], **fields: object) -> dict[str, Any]:
    return {"name": "x", "steps": list(steps), "entry_point": steps[0]["id"], **fields}


def faults(definition: object) -> dict[str, str]:
    checked = validate(definition)
    return dict(checked) if isinstance(checked, list) else {}


def of_config(type: str, **fields: object) -> dict[str, str]:
    """The faults inside the config of a step, by their path there; a field that is None is left out."""
    config = {name: value for name, value in {**CONFIGS[type], **fields}.items() if value is not None}
    first = step("a", type, config)
    if type not in {"parallel", "loop", "condition"}:
        first["next_steps"] = ["b"]
    found = faults(flow(first, step("b")))
    return {path.removeprefix("steps[0].config").removeprefix("."): message for path, message in found.items()}


def test_every_type_of_step_has_a_check() -> None:
    assert tuple(CONFIG_CHECKS) == STEP_TYPES


@pytest.mark.parametrize("type", STEP_TYPES)
def test_the_least_config_of_every_type_is_valid(type: str) -> None:
    assert of_config(type) == {}


def test_the_documentations_example_is_valid_and_comes_back_from_storage_as_it_was() -> None:
    assert EXAMPLE
    definition = validate(parse(EXAMPLE[1].encode(), "yaml"))
    assert isinstance(definition, Definition), definition
    assert {step.type for step in definition.steps} == set(STEP_TYPES) - {"workflow"}
    assert decode(encode(definition)) == definition
    assert len(expressions_of(definition)) > 10


@pytest.mark.parametrize("definition", [None, 1, "x", [], True])
def test_what_is_no_object_is_one_fault(definition: object) -> None:
    assert faults(definition) == {"body": "must be an object"}


def test_what_must_be_there_is_named() -> None:
    assert faults({}) == dict.fromkeys(["name", "steps", "entry_point"], "is required")
    wanted = ["id", "name", "type", "config"]
    assert faults({"name": "x", "entry_point": "a", "steps": [{}]}) == {
        "entry_point": "names no step: `a`", **{f"steps[0].{name}": "is required" for name in wanted}
    }  # fmt: skip


def test_everything_wrong_is_told_at_once() -> None:
    definition = flow(
        step("a", "llm", {"temperature": 3, "tools": ["x"]}, next_steps=["nowhere"], retry={"max_attempts": 21}),
        step("a", "loop", {"body": [], "times": -1}),
        step("9", "wait", {}),
        name="",
        priority=6,
        surprise=1,
        inputs_schema={"type": "strin"},
        concurrency={"limit": 0, "key": 5},
    )
    assert faults(definition).keys() == {
        "name", "priority", "surprise", "inputs_schema.type", "concurrency.limit", "concurrency.key",
        "steps[0].config", "steps[0].config.temperature", "steps[0].config.tools", "steps[0].next_steps[0]",
        "steps[0].retry.max_attempts", "steps[1].id", "steps[1].config.body", "steps[1].config.times", "steps[2].id",
        "steps[2].config",
    }  # fmt: skip


def test_faults_are_bounded() -> None:
    assert len(faults(flow(step("a"), **{f"x{n}": 1 for n in range(500)}))) == MAX_FAULTS


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": "x" * 201}, "name"),
        ({"name": 5}, "name"),
        ({"name": None}, "name"),
        ({"description": "x" * 10_001}, "description"),
        ({"version": 0}, "version"),
        ({"version": "1"}, "version"),
        ({"version": True}, "version"),
        ({"priority": 0}, "priority"),
        ({"priority": 1.0}, "priority"),
        ({"max_duration_ms": 0}, "max_duration_ms"),
        ({"max_duration_ms": 2_592_000_001}, "max_duration_ms"),
        ({"concurrency": {"limit": 1_001}}, "concurrency.limit"),
        ({"concurrency": {}}, "concurrency.limit"),
        ({"concurrency": {"limit": 1, "on_limit": "wait"}}, "concurrency.on_limit"),
        ({"concurrency": {"limit": 1, "more": 1}}, "concurrency.more"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": "x" * 17_000}}, "metadata"),
        ({"inputs_schema": []}, "inputs_schema"),
        ({"inputs_schema": {"properties": {"a": {"$ref": "https://x.example/"}}}}, "inputs_schema.properties.a.$ref"),
        ({"entry_point": "nobody"}, "entry_point"),
        ({"entry_point": 5}, "entry_point"),
        ({"steps": []}, "steps"),
        ({"steps": {}}, "steps"),
    ],
)
def test_fields_of_the_definition_have_bounds(fields: dict[str, object], path: str) -> None:
    assert path in faults(flow(step("a")) | fields)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"id": "1a"}, "id"),
        ({"id": "a-b"}, "id"),
        ({"id": "a" * 65}, "id"),
        ({"id": "a\n"}, "id"),
        ({"id": 5}, "id"),
        ({"name": ""}, "name"),
        ({"type": "loops"}, "type"),
        ({"type": ["llm"]}, "type"),
        ({"config": []}, "config"),
        ({"surprise": 1}, "surprise"),
        ({"timeout_ms": 0}, "timeout_ms"),
        ({"timeout_ms": 2_592_000_001}, "timeout_ms"),
        ({"retry": {"max_attempts": 0}}, "retry.max_attempts"),
        ({"retry": {"backoff_ms": 86_400_001}}, "retry.backoff_ms"),
        ({"retry": {"max_backoff_ms": 0}}, "retry.max_backoff_ms"),
        ({"retry": {"often": 1}}, "retry.often"),
        ({"on_error": "ignore"}, "on_error"),
        ({"on_error": {}}, "on_error.next"),
        ({"on_error": {"next": "nobody"}}, "on_error.next"),
        ({"on_error": {"next": "a", "more": 1}}, "on_error.more"),
        ({"next_steps": "a"}, "next_steps"),
        ({"next_steps": [5]}, "next_steps[0]"),
    ],
)
def test_fields_of_a_step_have_bounds(fields: dict[str, object], path: str) -> None:
    assert f"steps[0].{path}" in faults(flow(step("a") | fields) | {"entry_point": "a"})


@pytest.mark.parametrize(
    ("type", "fields", "path"),
    [
        ("llm", {"prompt": None}, ""),
        ("llm", {"messages": "inputs.m"}, ""),
        ("llm", {"prompt": ""}, "prompt"),
        ("llm", {"temperature": 2.1}, "temperature"),
        ("llm", {"temperature": True}, "temperature"),
        ("llm", {"max_tokens": 0}, "max_tokens"),
        ("llm", {"output_schema": {"type": "x"}}, "output_schema.type"),
        ("llm", {"tools": ["context.search"]}, "tools"),
        ("llm", {"context": {"limit": 0}}, "context.limit"),
        ("llm", {"context": {"item_ids": ["x"]}}, "context.item_ids[0]"),
        ("llm", {"context": {"collection_ids": ["x"]}}, "context.collection_ids[0]"),
        ("llm", {"context": {"search": True}}, "context.search"),
        ("llm", {"promt": "x"}, "promt"),
        ("tool", {"tool": None}, "tool"),
        ("tool", {"tool": "shell"}, "tool"),
        ("tool", {"tool": "mcp:files"}, "tool"),
        ("tool", {"tool": "mcp:files/"}, "tool"),
        ("tool", {"tool": "mcp:/read"}, "tool"),
        ("tool", {"tool": "mcp:Files/read"}, "tool"),
        ("tool", {"tool": "mcp:-files/read"}, "tool"),
        ("tool", {"tool": "mcp:files/read\n"}, "tool"),
        ("tool", {"tool": "mcp:files/re ad"}, "tool"),
        ("tool", {"tool": "mcp:" + "x" * 64 + "/read"}, "tool"),
        ("tool", {"tool": "mcp:files/" + "x" * 129}, "tool"),
        ("tool", {"arguments": []}, "arguments"),
        ("tool", {"arguments": {}}, "arguments.query"),
        ("tool", {"tool": "http.request", "arguments": {"url": "https://x.example/"}}, "arguments.method"),
        ("tool", {"tool": "http.request", "arguments": {"method": "GET"}}, "arguments.url"),
        ("tool", {"tool": "http.request", "arguments": {"method": "GET", "url": "ftp://x"}}, "arguments.url"),
        ("tool", {"tool": "http.request", "arguments": {"method": "X", "url": "https://x"}}, "arguments.method"),
        ("condition", {"branches": []}, "branches"),
        ("condition", {"branches": [{"next": "b"}]}, "branches[0].when"),
        ("condition", {"branches": [{"when": "true", "next": "c"}]}, "branches[0].next"),
        ("condition", {"else": "c"}, "else"),
        ("condition", {"otherwise": "b"}, "otherwise"),
        ("parallel", {"branches": []}, "branches"),
        ("parallel", {"branches": [[]]}, "branches[0]"),
        ("parallel", {"branches": [["b"], [5]]}, "branches[1][0]"),
        ("parallel", {"branches": [["b"]] * 51}, "branches"),
        ("parallel", {"join": "some"}, "join"),
        ("parallel", {"join": {"count": 0}}, "join.count"),
        ("parallel", {"join": {"count": 2}}, "join.count"),
        ("parallel", {"on_branch_error": "x"}, "on_branch_error"),
        ("loop", {"times": None}, ""),
        ("loop", {"over": "inputs.x"}, ""),
        ("loop", {"body": []}, "body"),
        ("loop", {"times": -1}, "times"),
        ("loop", {"times": 1_001}, "times"),
        ("loop", {"times": 3, "max_iterations": 2}, "times"),
        ("loop", {"max_iterations": 10_001}, "max_iterations"),
        ("loop", {"max_iterations": 0}, "max_iterations"),
        ("loop", {"concurrency": 51}, "concurrency"),
        ("loop", {"times": None, "while": "true", "concurrency": 2}, "concurrency"),
        ("human_review", {"prompt": None}, "prompt"),
        ("human_review", {"timeout_ms": 0}, "timeout_ms"),
        ("human_review", {"on_timeout": "x"}, "on_timeout"),
        ("human_review", {"data": "x"}, "data"),
        ("wait", {"seconds": None}, ""),
        ("wait", {"until": "2026-01-31T00:00:00Z"}, ""),
        ("wait", {"seconds": -1}, "seconds"),
        ("wait", {"seconds": "soon"}, "seconds"),
        ("wait", {"seconds": None, "until": "tomorrow"}, "until"),
        ("wait", {"seconds": None, "until": "2026-01-31T00:00:00"}, "until"),
        ("transform", {"set": {}}, "set"),
        ("transform", {"set": {f"x{n}": "1" for n in range(101)}}, "set"),
        ("transform", {"set": {"x": 1}}, "set.x"),
        ("transform", {"set": {"a b": "1"}}, "set.a b"),
        ("workflow", {"workflow_id": "x"}, "workflow_id"),
        ("workflow", {"inputs": []}, "inputs"),
    ],
)
def test_a_configs_wrong_field_is_named(type: str, fields: dict[str, object], path: str) -> None:
    found = of_config(type, **fields)
    assert path in found, found


@pytest.mark.parametrize(
    ("type", "fields"),
    [
        ("llm", {"prompt": None, "messages": "inputs.m", "temperature": 0, "max_tokens": 1, "tools": []}),
        ("llm", {"context": {"query": "{{ inputs.q }}", "limit": 3}, "output_schema": {"type": "object"}}),
        ("tool", {"tool": "http.request", "arguments": {"method": "=inputs.m", "url": "{{ inputs.u }}"}}),
        ("tool", {"tool": "mcp:files/read", "arguments": {"path": "=inputs.p"}}),
        ("tool", {"tool": "mcp:0_a-b/dir/read.v2:all"}),
        ("loop", {"times": 0}),
        ("loop", {"times": None, "while": "index < 3", "concurrency": 1}),
        ("wait", {"seconds": "=inputs.s"}),
        ("wait", {"seconds": 0.5}),
        ("wait", {"seconds": None, "until": "2026-01-31T00:00:00+01:00"}),
        ("wait", {"seconds": None, "until": "{{ inputs.t }}"}),
        ("parallel", {"join": {"count": 1}, "on_branch_error": "continue"}),
    ],
)
def test_what_may_be_given_is_taken(type: str, fields: dict[str, object]) -> None:
    assert of_config(type, **fields) == {}


def test_agents_tools_say_that_they_are_to_come() -> None:
    assert of_config("llm", tools=["x"])["tools"] == "are not available until the agent loop exists"


@pytest.mark.parametrize("type", ["parallel", "loop", "condition", "human_review", "wait"])
def test_retry_is_for_steps_that_call_something(type: str) -> None:
    following: dict[str, Any] = {} if type in {"parallel", "loop", "condition"} else {"next_steps": ["b"]}
    found = faults(flow(step("a", type, retry={}, **following), step("b")))
    assert found == {"steps[0].retry": "applies to steps that call something"}


def test_there_are_at_most_200_steps() -> None:
    many = [step(f"s{n}", next_steps=[f"s{n + 1}"]) for n in range(199)]
    assert faults(flow(*many, step("s199"))) == {}
    too_many = faults(flow(*many, step("s199", next_steps=["s200"]), step("s200")))
    assert too_many == {"steps": "must have at most 200 entries"}


def test_a_megabyte_of_links_takes_no_longer_than_it_must() -> None:
    """Quadratic work on a list beyond its bound would take hours."""
    many = ["b"] * 200_000
    found = faults(flow(loop("a", *many), step("b", next_steps=many)))
    assert found["steps[0].config.body"] == "must have at most 200 entries"
    branches = [["b"] * 20 for _ in range(10_000)]
    assert "steps[0].config.branches" in faults(flow(step("a", "parallel", {"branches": branches}), step("b")))


# Structure


def test_an_id_stands_once() -> None:
    assert faults(flow(step("a", next_steps=["b"]), step("b"), step("b"))) == {
        "steps[2].id": "is the id of steps[1] already"
    }


def test_several_next_steps_are_refused_with_the_way_to_do_it() -> None:
    found = faults(flow(step("a", next_steps=["b", "c"]), step("b"), step("c")))
    assert found == {"steps[0].next_steps": "must have at most one entry; for several at once use `parallel`"}


@pytest.mark.parametrize(
    "steps",
    [
        [step("a", next_steps=["a"])],
        [step("a", next_steps=["b"]), step("b", next_steps=["a"])],
        [step("a", next_steps=["b"]), step("b", on_error={"next": "a"})],
        [step("a", next_steps=["b"]), step("b", "condition", {"branches": [{"when": "true", "next": "a"}]})],
        [
            step("a", next_steps=["b"]),
            step("b", "condition", {"branches": [{"when": "true", "next": "c"}], "else": "a"}),
            step("c"),
        ],
    ],
)  # fmt: skip
def test_a_way_back_is_refused_with_the_way_to_do_it(steps: list[dict[str, Any]]) -> None:
    found = faults(flow(*steps))
    assert list(found.values()) == ["leads back to `a`; to repeat steps use a `loop`"]


def test_ways_that_meet_again_are_no_circle() -> None:
    choose = step("a", "condition", {"branches": [{"when": "true", "next": "b"}], "else": "c"})
    assert faults(flow(choose, step("b", next_steps=["c"]), step("c"))) == {}


def test_what_no_way_leads_to_is_a_fault() -> None:
    assert faults(flow(step("a"), step("b"), step("c", next_steps=["b"]))) == {
        "steps[1]": "is never reached: no step leads here", "steps[2]": "is never reached: no step leads here"
    }  # fmt: skip


def test_what_follows_a_condition_with_an_else_is_never_reached() -> None:
    config = {"branches": [{"when": "true", "next": "b"}], "else": "b"}
    steps = [step("b"), step("c")]
    assert faults(flow(step("a", "condition", config, next_steps=["c"]), *steps)).keys() == {"steps[2]"}
    assert faults(flow(step("a", "condition", config, next_steps=["c"], on_error="continue"), *steps)) == {}


def loop(id: str, *body: str, **fields: object) -> dict[str, Any]:
    return step(id, "loop", {"times": 1, "body": list(body)}, **fields)


def test_a_step_belongs_to_one_scope() -> None:
    both = step("a", "parallel", {"branches": [["b"], ["b"]]})
    assert faults(flow(both, step("b"))).keys() == {"steps[0].config.branches[1][0]"}
    assert faults(flow(loop("a", "b", "b"), step("b"))).keys() == {"steps[0].config.body[1]"}
    assert faults(flow(loop("a", "b", next_steps=["c"]), step("b"), loop("c", "b"))).keys() == {
        "steps[2].config.body[0]"
    }


@pytest.mark.parametrize(
    "links", [{"next_steps": ["c"]}, {"on_error": {"next": "c"}}, {"next_steps": ["a"]}], ids=["next", "error", "owner"]
)
def test_no_way_leads_out_of_a_body(links: dict[str, Any]) -> None:
    found = faults(flow(loop("a", "b", next_steps=["c"]), step("b", **links), step("c")))
    assert len(found) == 1
    assert "leads out of its scope" in next(iter(found.values()))


def test_no_way_leads_into_a_body() -> None:
    found = faults(flow(loop("a", "b", next_steps=["c"]), step("b"), step("c", next_steps=["b"])))
    assert found == {"steps[2].next_steps[0]": "leads out of its scope: `b` is in steps[0].config.body"}
    assert faults(flow(step("b"), loop("a", "b"))).keys() == {"entry_point"}


def test_in_a_body_ways_lead_to_later_steps_of_the_list() -> None:
    skips = [loop("a", "b", "c", "d"), step("b", "condition", {"branches": [{"when": "true", "next": "d"}]})]
    assert faults(flow(*skips, step("c"), step("d"))) == {}
    assert faults(flow(*skips, step("c"), step("d", next_steps=["c"]))).keys() == {"steps[3].next_steps[0]"}
    jumps = [loop("a", "b", "c", "d"), step("b", next_steps=["d"]), step("c"), step("d")]
    assert faults(flow(*jumps)) == {"steps[2]": "is never reached: no step leads here"}


def test_nothing_contains_itself() -> None:
    assert "leads back into `a` itself" in faults(flow(loop("a", "a"))).values()
    found = faults(flow(step("m"), loop("a", "b"), loop("b", "a")))
    assert {"steps[1].config.body", "steps[2].config.body"} <= found.keys()


@pytest.mark.parametrize(("levels", "is_valid"), [(8, True), (9, False)])
def test_scopes_nest_up_to_eight_levels(levels: int, is_valid: bool) -> None:
    nested = [loop(f"l{n}", f"l{n + 1}") for n in range(levels)]
    assert (faults(flow(*nested, step(f"l{levels}"))) == {}) is is_valid


def test_names_of_no_step_are_told_without_what_follows_from_them() -> None:
    found = faults(flow(step("a", next_steps=["bb"]), step("b", next_steps=["c"]), step("c")))
    assert found == {"steps[0].next_steps[0]": "names no step: `bb`"}


@pytest.mark.parametrize("definition", [flow(step("a", next_steps=["0"])), flow(step("a"), entry_point="0")])
def test_a_name_that_can_be_no_steps_is_one_fault(definition: dict[str, Any]) -> None:
    (message,) = faults(definition).values()
    assert message.endswith("not begin with a digit")


# Expressions


def test_expressions_are_found_with_their_places() -> None:
    body = {"a": ["=inputs.b", "==literal", "plain"], "b": {"c": "{% if x %}y{% endif %}"}}
    arguments = {"method": "GET", "url": "https://x/{{ inputs.a }}", "body": body}
    definition = validate(
        flow(
            step("a", "tool", {"tool": "http.request", "arguments": arguments}, next_steps=["b"]),
            step("b", "loop", {"while": "index < 3", "body": ["c", "e"]}, next_steps=["d"]),
            step("c", "condition", {"branches": [{"when": "item.ok", "next": "e"}]}),
            step("e", "transform", {"set": {"x": "1", "y": "item"}}),
            step("d", "wait", {"seconds": "=inputs.s"}),
            concurrency={"limit": 1, "key": "{{ inputs.k }}"},
        )
    )
    assert isinstance(definition, Definition), definition
    assert [tuple(each) for each in expressions_of(definition)] == [
        ("steps[0].config.arguments.url", "https://x/{{ inputs.a }}", "template"),
        ("steps[0].config.arguments.body.a[0]", "inputs.b", "cel"),
        ("steps[0].config.arguments.body.b.c", "{% if x %}y{% endif %}", "template"),
        ("steps[1].config.while", "index < 3", "cel"),
        ("steps[2].config.branches[0].when", "item.ok", "cel"),
        ("steps[3].config.set.x", "1", "cel"),
        ("steps[3].config.set.y", "item", "cel"),
        ("steps[4].config.seconds", "inputs.s", "cel"),
        ("concurrency.key", "{{ inputs.k }}", "template"),
    ]
