"""A definition as a Mermaid flowchart, and what has become of its steps in a run.

Threat model: names are tenants' text, and whoever renders the chart may show it to others. So nodes have names of ours,
and of a label every character that is no letter, digit or harmless mark is written as its number: nothing in it can end
the label, be a directive, a link or HTML.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from copilot_domain.workflows.definition import ConditionConfig, Definition, GoTo, LoopConfig, ParallelConfig, Step
from copilot_domain.workflows.program import Program, Scope

_LABEL_CHARACTERS = 80
_SAFE = frozenset(" .,-_/+*=?!")

_SHAPES = {
    "llm": ("([", "])"),
    "tool": ("[[", "]]"),
    "condition": ("{", "}"),
    "human_review": ("[/", "/]"),
    "wait": ("((", "))"),
    "transform": ("[", "]"),
    "workflow": ("[(", ")]"),
}

_STYLES = {
    "completed": "fill:#dcfce7,stroke:#15803d,color:#14532d",
    "running": "fill:#dbeafe,stroke:#1d4ed8,color:#1e3a8a",
    "waiting": "fill:#fef3c7,stroke:#b45309,color:#78350f",
    "failed": "fill:#fee2e2,stroke:#b91c1c,color:#7f1d1d",
    "cancelled": "fill:#e5e7eb,stroke:#6b7280,color:#374151",
}

_COUNTS_MOST = ("failed", "waiting", "running", "cancelled", "completed")
"""A step that was executed several times has the colour of the first of these that one of its executions is in."""


@dataclass(frozen=True, slots=True)
class StateRow:
    """How many executions of a step are in a state."""

    step_id: str
    status: str
    count: int


def mermaid(definition: Definition, states: Sequence[StateRow] | None = None) -> str:
    """`states`: of a run's steps; None draws the definition alone."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in states or ():
        counts[row.step_id][row.status] += row.count
    return "\n".join(_Chart(definition, counts).lines()) + "\n"


def label(text: str) -> str:
    """Quoted, at most so long, without anything that Mermaid or a browser would take for more than text."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    if len(line) > _LABEL_CHARACTERS:
        line = line[: _LABEL_CHARACTERS - 1].rstrip() + "…"
    escaped = "".join(each if each.isalnum() or each in _SAFE else f"#{ord(each)};" for each in line)
    return f'"{escaped or " "}"'  # Mermaid takes no empty one


class _Chart:
    def __init__(self, definition: Definition, counts: Mapping[str, Counter[str]]) -> None:
        self._program = Program(definition)
        self._counts = counts
        self._nodes = {step.id: f"s{number}" for number, step in enumerate(definition.steps, 1)}
        self._links: list[str] = []

    def lines(self) -> Iterator[str]:
        yield "flowchart TD"
        main = self._program.main
        yield "  begin((( )))"
        self._links.append(f"begin --> {self._nodes[main.first]}")
        yield from self._scope(self._steps_of_main(), main, "  ")
        yield from (f"  {link}" for link in self._links)
        yield from self._colours()

    def _steps_of_main(self) -> list[str]:
        """Those that no branch and no body has."""
        inside = {step_id for step in self._program.steps.values() for ids in _inside(step) for step_id in ids}
        return [step_id for step_id in self._program.steps if step_id not in inside]

    def _scope(self, ids: Iterable[str], scope: Scope, indent: str) -> Iterator[str]:
        for step_id in ids:
            step = self._program.steps[step_id]
            self._link(step, scope)
            if isinstance(step.config, ParallelConfig | LoopConfig):
                yield from self._frame(step, indent)
            else:
                begin, end = _SHAPES[step.type]
                yield f"{indent}{self._nodes[step_id]}{begin}{label(self._text(step))}{end}"

    def _frame(self, step: Step, indent: str) -> Iterator[str]:
        """A box around what is inside; around each branch one of its own."""
        node, bodies = self._nodes[step.id], list(_inside(step))
        yield f"{indent}subgraph {node}[{label(f'{step.type}: {self._text(step)}')}]"
        for number, ids in enumerate(bodies):
            scope = self._program.inside(step, number)
            if len(bodies) == 1:
                yield from self._scope(ids, scope, indent + "  ")
                continue
            yield f'{indent}  subgraph {node}b{number}["{number + 1}"]'
            yield from self._scope(ids, scope, indent + "    ")
            yield f"{indent}  end"
        yield f"{indent}end"

    def _link(self, step: Step, scope: Scope) -> None:
        node, follows = self._nodes[step.id], scope.follows.get(step.id)
        if isinstance(step.config, ConditionConfig):
            for branch in step.config.branches:
                self._links.append(f"{node} -- {label(branch.when)} --> {self._nodes[branch.next]}")
            if (otherwise := step.config.otherwise or follows) is not None:
                self._links.append(f'{node} -- "else" --> {self._nodes[otherwise]}')
        elif follows is not None:
            self._links.append(f"{node} --> {self._nodes[follows]}")
        if isinstance(step.on_error, GoTo):
            self._links.append(f'{node} -. "error" .-> {self._nodes[step.on_error.next]}')

    def _text(self, step: Step) -> str:
        """Its name; where it was executed several times, or in several states, how often each."""
        counts = self._counts.get(step.id, Counter())
        if counts.total() < 2:
            return step.name
        told = ", ".join(f"{counts[status]} {status}" for status in reversed(_COUNTS_MOST) if counts[status])
        return f"{step.name[: _LABEL_CHARACTERS - len(told) - 3]} - {told}"

    def _colours(self) -> Iterator[str]:
        members: defaultdict[str, list[str]] = defaultdict(list)
        for step_id, node in self._nodes.items():
            found = self._counts.get(step_id, Counter())
            if status := next((each for each in _COUNTS_MOST if found[each]), None):
                members[status].append(node)
        for status, nodes in members.items():
            yield f"  classDef {status} {_STYLES[status]}"
            yield f"  class {','.join(nodes)} {status}"


def _inside(step: Step) -> list[list[str]]:
    """The ids of each branch, or of the body."""
    match step.config:
        case ParallelConfig(branches=branches):
            return branches
        case LoopConfig(body=body):
            return [body]
    return []
