"""Where a run is: a tree of lines and frames.

A line is what one token walks: the run itself, a branch of a `parallel`, an iteration of a `loop`. Its token stands on
a leaf (something that is being done) or on a frame (a `parallel` or `loop`, with lines of its own); between two steps
it stands on nothing, but never after a fact has been applied.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from copilot_domain.workflows.definition import JoinCount, LoopConfig, ParallelConfig, Step
from copilot_domain.workflows.program import Scope
from copilot_domain.workflows.state.facts import Execute, Path


@dataclass(slots=True, eq=False)
class Line:
    """`index`: of the branch or iteration of `frame`, which is None for the run itself."""

    prefix: Path
    scope: Scope
    frame: "Frame | None" = None
    index: int = 0
    now: "Leaf | Frame | None" = None
    is_over: bool = False

    def path(self, step_id: str) -> Path:
        return f"{self.prefix}.{step_id}" if self.prefix else step_id


@dataclass(slots=True, eq=False)
class Leaf:
    """`asked_by`: the `loop` that wants to know how many iterations it has, or whether it goes on."""

    execute: Execute
    step: Step
    line: Line
    asked_by: "Frame | None" = None


@dataclass(slots=True, eq=False)
class Frame:
    """`count`: its branches or iterations; of a `while` loop, how many are known to be wanted. `lines`: those that are
    going on, by index. `parts`: one for each line that was begun."""

    path: Path
    step: Step
    line: Line
    deadline: float | None
    count: int = 0
    lines: dict[int, Line] = field(default_factory=dict)
    parts: list[Path | None] = field(default_factory=list)
    completed: int = 0
    asking: Leaf | None = None

    @property
    def is_going_on(self) -> bool:
        return self.line.now is self

    @property
    def at_once(self) -> int:
        return self.step.config.concurrency if isinstance(self.step.config, LoopConfig) else self.count

    @property
    def is_while(self) -> bool:
        return isinstance(self.step.config, LoopConfig) and self.step.config.while_ is not None

    @property
    def survives_a_line(self) -> bool:
        """That fails."""
        return isinstance(self.step.config, ParallelConfig) and self.step.config.on_branch_error == "continue"

    @property
    def needed(self) -> int | None:
        """How many lines must complete; None: all must be over."""
        if not isinstance(self.step.config, ParallelConfig) or self.step.config.join == "all":
            return None
        return self.step.config.join.count if isinstance(self.step.config.join, JoinCount) else 1


def cut(lines: Iterable[Line]) -> tuple[list[Leaf], list[Frame]]:
    """End the lines and all that is going on inside; what that was, frames from the inside out."""
    leaves: list[Leaf] = []
    frames: list[Frame] = []
    waiting = deque(lines)
    while waiting:
        line = waiting.popleft()
        match line.now:
            case Leaf() as leaf:
                leaves.append(leaf)
            case Frame() as frame:
                frames.append(frame)
                waiting.extend(frame.lines.values())
                if frame.asking is not None:
                    leaves.append(frame.asking)
        line.now, line.is_over = None, True
    return leaves, frames[::-1]
