"""The steps of a definition and what leads where, as far as it can be read: also of one with faults elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from copilot_domain.workflows.validation.configs import MAX_BRANCHES, MAX_LISTED
from copilot_domain.workflows.validation.shapes import MAX_STEPS, STEP_ID


@dataclass(frozen=True)
class Link:
    """`path`: of the field that names the target."""

    path: str
    target: str


@dataclass
class Group:
    """The steps of one branch or body, in order. `owner`: the `parallel` or `loop`."""

    path: str
    owner: str
    members: list[Link]

    @cached_property
    def ids(self) -> list[str]:
        return [member.target for member in self.members]


@dataclass
class Node:
    """`follows`: where `next_steps` lead. `jumps`: what a condition chooses, and `on_error`. `passes`: whether the step
    can be followed by what stands after it; a condition with an `else` is not."""

    id: str
    path: str
    follows: list[Link] = field(default_factory=list)
    jumps: list[Link] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    passes: bool = True

    @property
    def links(self) -> list[Link]:
        return self.follows + self.jumps


def outline(definition: object) -> list[Node]:
    """Steps without a usable id are left out, and what is beyond the bounds: the shapes have told of them."""
    steps = definition.get("steps") if isinstance(definition, dict) else None
    return [
        _node(step, f"steps[{index}]")
        for index, step in enumerate(_entries(steps, MAX_STEPS))
        if isinstance(step, dict) and isinstance(step.get("id"), str) and STEP_ID.fullmatch(step["id"])
    ]


def _node(step: dict[str, object], path: str) -> Node:
    node = Node(str(step["id"]), path)
    node.follows = _texts(step.get("next_steps"), f"{path}.next_steps")
    config, on_error = step.get("config"), step.get("on_error")
    if isinstance(on_error, dict):
        node.jumps += _text(on_error.get("next"), f"{path}.on_error.next")
    if isinstance(config, dict):
        _read_config(node, str(step.get("type")), config)
    node.passes = node.passes or on_error == "continue"
    return node


def _read_config(node: Node, kind: str, config: dict[str, object]) -> None:
    path = f"{node.path}.config"
    if kind == "condition":
        node.jumps += list(_branch_links(config.get("branches"), f"{path}.branches"))
        node.jumps += _text(config.get("else"), f"{path}.else")
        node.passes = config.get("else") is None
    elif kind == "loop":
        node.groups = [Group(f"{path}.body", node.id, _texts(config.get("body"), f"{path}.body"))]
    elif kind == "parallel":
        branches = config.get("branches")
        node.groups = [
            Group(f"{path}.branches[{index}]", node.id, _texts(branch, f"{path}.branches[{index}]"))
            for index, branch in enumerate(_entries(branches, MAX_BRANCHES))
        ]


def _branch_links(branches: object, path: str) -> Iterator[Link]:
    for index, branch in enumerate(_entries(branches, MAX_LISTED)):
        if isinstance(branch, dict):
            yield from _text(branch.get("next"), f"{path}[{index}].next")


def _texts(value: object, path: str) -> list[Link]:
    return [link for index, each in enumerate(_entries(value, MAX_LISTED)) for link in _text(each, f"{path}[{index}]")]


def _entries(value: object, most: int) -> list[object]:
    return value[:most] if isinstance(value, list) else []


def _text(value: object, path: str) -> list[Link]:
    return [Link(path, value)] if isinstance(value, str) else []
