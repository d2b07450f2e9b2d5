"""A second opinion on a run: from the definition and the effects alone, what may be said and done next.

It knows of each line (the run, a branch, an iteration) which step it stands on, and what must come after it. It shares
no code with the machine: it looks at paths.
"""

import re
from dataclasses import dataclass, field

from copilot_domain.workflows.definition import Definition, GoTo, JoinCount, LoopConfig, ParallelConfig, Step
from copilot_domain.workflows.state import (
    Abort,
    Checked,
    Chosen,
    Counted,
    Effect,
    Ended,
    Entered,
    Execute,
    Fact,
    Left,
    Path,
    RunCancelled,
    RunTimedOut,
    StepCompleted,
    StepFailed,
    StepTimedOut,
)
from support.workflows import Happening, lines_inside


@dataclass
class Watch:
    definition: Definition
    attempts: dict[Path, int] = field(default_factory=dict)
    executing: dict[Path, int] = field(default_factory=dict)
    open_frames: dict[Path, Step] = field(default_factory=dict)
    counts: dict[Path, int] = field(default_factory=dict)
    begun: dict[Path, list[int]] = field(default_factory=dict)
    next_of: dict[Path, str | None] = field(default_factory=dict)  # by line: the step that must come now
    completed_lines: dict[Path, Path | None] = field(default_factory=dict)
    failed_lines: set[Path] = field(default_factory=set)
    with_output: set[Path] = field(default_factory=set)
    closed: set[Path] = field(default_factory=set)
    ended: Ended | None = None

    def __post_init__(self) -> None:
        self.steps = {step.id: step for step in self.definition.steps}
        self.next_of[""] = self.definition.entry_point

    def see(self, happening: Happening) -> None:
        assert self.ended is None or not happening.effects
        self._note_fact(happening.fact)
        for effect in happening.effects:
            self._note_effect(effect, happening.fact)
        if self.ended is None:
            assert self.executing, "a run that has not ended waits for something"
            assert not [line for line, step in self.next_of.items() if step is not None and self._is_open(line)]
            self._check_frames()

    # Facts

    def _note_fact(self, fact: Fact) -> None:
        match fact:
            case StepCompleted(path, attempt, _, decision) if self.executing.get(path) == attempt:
                self._settle(path)
                match decision:
                    case Counted(count):
                        self.counts[path] = count
                    case Checked(goes_on):
                        frame = path.rpartition("[")[0]
                        self.counts[frame] = self.counts.get(frame, 0) + goes_on
                    case Chosen(str(chosen)):
                        self.next_of[line_of(path)] = chosen
                    case _:
                        self.with_output.add(path)
                        self._step_ended(path, self._step(path))
            case StepFailed(path, attempt, is_retryable=is_retryable) if self.executing.get(path) == attempt:
                step = self._step(path)
                made = attempt - self.attempts.get(path, 0)
                if not (is_retryable and made < step.retry.max_attempts):
                    self._settle(path)
                    if not isinstance(step.config, LoopConfig):
                        self._step_failed(path, step)

    def _settle(self, path: Path) -> None:
        del self.executing[path]
        self.closed.add(path)

    def _step_ended(self, path: Path, step: Step) -> None:
        line = line_of(path)
        self._go_to(line, self._follows(line, step), path)

    def _step_failed(self, path: Path, step: Step) -> None:
        line = line_of(path)
        if step.on_error == "fail":
            self.failed_lines.add(line)
        else:
            to = step.on_error.next if isinstance(step.on_error, GoTo) else self._follows(line, step)
            self._go_to(line, to, None)

    def _go_to(self, line: Path, to: str | None, output: Path | None) -> None:
        self.next_of[line] = to
        if to is None:
            self.completed_lines[line] = output

    def _follows(self, line: Path, step: Step) -> str | None:
        if step.next_steps:
            return step.next_steps[0]
        if not line:
            return None
        frame, index = split(line)
        lines = lines_inside(self._step(frame))
        ids = lines[index if len(lines) > 1 else 0]
        at = ids.index(step.id) + 1
        return ids[at] if at < len(ids) else None

    # Effects

    def _note_effect(self, effect: Effect, fact: Fact) -> None:
        match effect:
            case Execute(path, step_id, attempt):
                assert path not in self.closed, f"{path} again"
                if path in self.executing:
                    assert isinstance(fact, StepFailed)
                    assert fact.path == path
                    assert attempt == self.executing[path] + 1
                else:
                    assert attempt == self.attempts.get(path, 0) + 1
                    self._begins(path, step_id)
                self.executing[path] = attempt
            case Entered(path, step_id, at, deadline):
                step = self.steps[step_id]
                assert deadline == (None if step.timeout_ms is None else at + step.timeout_ms / 1000)
                self._begins(path, step_id)
                self.open_frames[path] = step
                self.begun[path] = []
                match step.config:
                    case ParallelConfig(branches=branches):
                        self.counts[path] = len(branches)
                    case LoopConfig(times=int(times)):
                        self.counts[path] = times
            case Abort(path, _, attempt):
                assert self.executing[path] == attempt
                self._settle(path)
            case Left():
                self._left(effect, fact)
            case Ended():
                self._ended(effect, fact)

    def _begins(self, path: Path, step_id: str) -> None:
        if path in self.open_frames or path.endswith("]"):
            return  # what a loop asks for
        line = line_of(path)
        assert self._is_open(line)
        if line:
            frame, index = split(line)
            if index not in self.begun[frame]:
                assert index == len(self.begun[frame]), "branches and iterations begin in order"
                assert index < self.counts[frame]
                self.begun[frame].append(index)
                self.next_of[line] = lines_inside(self.open_frames[frame])[index if self._is_parallel(frame) else 0][0]
        assert self.next_of[line] == step_id
        self.next_of[line] = None

    def _left(self, left: Left, fact: Fact) -> None:
        frame, step = left.path, self.open_frames[left.path]
        inside = f"{frame}["
        assert not [path for path in (*self.executing, *self.open_frames) if path.startswith(inside)]
        assert frame not in self.executing
        lines = {index: f"{frame}[{index}]" for index in self.begun[frame]}
        outputs = tuple(self.completed_lines.get(line) for line in lines.values())
        if left.status == "completed":
            assert left.parts == outputs
        else:  # lines may have been begun in vain
            assert left.parts == outputs + (None,) * (len(left.parts) - len(outputs))
            assert len(outputs) <= len(left.parts) <= self.counts.get(frame, 0)
        assert {part for part in left.parts if part is not None} <= self.with_output
        assert (left.status == "failed") == (left.error is not None)
        if left.status == "completed":
            self._joined(frame, step, lines)
            self.with_output.add(frame)
        elif left.status == "failed":
            self._failed_rightly(left, step, lines, fact)
        del self.open_frames[frame]
        self.closed.add(frame)
        if left.status == "completed":
            self._step_ended(frame, step)
        elif left.status == "failed":
            self._step_failed(frame, step)

    def _joined(self, frame: Path, step: Step, lines: dict[int, Path]) -> None:
        completed = [line for line in lines.values() if line in self.completed_lines]
        failed = [line for line in lines.values() if line in self.failed_lines]
        needed = needed_of(step)
        if needed is not None:
            assert len(completed) >= needed
        else:
            assert len(lines) == self.counts.get(frame, 0)
            assert len(completed) + len(failed) == len(lines)
        assert not failed or tolerates(step)

    def _failed_rightly(self, left: Left, step: Step, lines: dict[int, Path], fact: Fact) -> None:
        assert left.error is not None
        failed = [line for line in lines.values() if line in self.failed_lines]
        match left.error.code:
            case "STEP_TIMEOUT" if left.error.step == left.path:
                assert isinstance(fact, StepTimedOut)
                assert fact.path == left.path
            case "JOIN_FAILED" if left.error.step == left.path:
                needed = needed_of(step)
                assert needed is not None
                assert len(lines) - len(failed) < needed
            case "TOO_MANY_ITERATIONS" if left.error.step == left.path:
                assert isinstance(step.config, LoopConfig)
                assert self.counts[left.path] > step.config.max_iterations
            case _:
                asked = isinstance(fact, StepFailed) and fact.path.startswith(left.path) and fact.path in self.closed
                assert asked or failed
                assert not failed or not tolerates(step)

    def _ended(self, ended: Ended, fact: Fact) -> None:
        assert not self.executing
        assert not self.open_frames
        assert (ended.status == "failed") == (ended.error is not None)
        match ended.status:
            case "completed":
                assert ended.outputs_of == self.completed_lines[""]
            case "failed":
                assert "" in self.failed_lines or isinstance(fact, RunTimedOut)
            case "cancelled":
                assert isinstance(fact, RunCancelled)
        self.ended = ended

    # What must hold between facts

    def _check_frames(self) -> None:
        active: dict[Path, set[int]] = {frame: set() for frame in self.open_frames}
        for path in {*self.executing, *self.open_frames}:
            if not path.endswith("]") and (line := line_of(path)):
                frame, index = split(line)
                assert index not in active[frame], "a line stands on one step"
                active[frame].add(index)
        for frame, step in self.open_frames.items():
            self._check_frame(frame, step, active[frame])

    def _check_frame(self, frame: Path, step: Step, active: set[int]) -> None:
        lines = [f"{frame}[{index}]" for index in self.begun[frame]]
        completed = sum(line in self.completed_lines for line in lines)
        failed = sum(line in self.failed_lines for line in lines)
        assert completed + failed + len(active) == len(lines)
        assert not failed or tolerates(step)
        if isinstance(step.config, LoopConfig):
            at_once, count = step.config.concurrency, self.counts.get(frame, 0)
            asks = [
                path for path in self.executing if path == frame or (path.endswith("]") and split(path)[0] == frame)
            ]
            assert len(asks) <= 1
            assert len(active) <= at_once
            assert asks or (active and (len(active) == at_once or len(lines) == count))
        else:
            needed = needed_of(step)
            assert active
            assert needed is None or completed < needed <= completed + len(active)

    def _is_open(self, line: Path) -> bool:
        return not line or split(line)[0] in self.open_frames

    def _is_parallel(self, frame: Path) -> bool:
        return isinstance(self.open_frames[frame].config, ParallelConfig)

    def _step(self, path: Path) -> Step:
        return self.steps[re.sub(r"\[\d+\]$", "", path).rpartition(".")[2]]


def line_of(path: Path) -> Path:
    return path.rpartition(".")[0]


def split(line: Path) -> tuple[Path, int]:
    frame, _, index = line.removesuffix("]").rpartition("[")
    return frame, int(index)


def needed_of(step: Step) -> int | None:
    assert isinstance(step.config, ParallelConfig | LoopConfig)
    if isinstance(step.config, LoopConfig) or step.config.join == "all":
        return None
    return step.config.join.count if isinstance(step.config.join, JoinCount) else 1


def tolerates(step: Step) -> bool:
    return isinstance(step.config, ParallelConfig) and step.config.on_branch_error == "continue"
