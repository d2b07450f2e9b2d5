"""The state machine of a run: facts in, effects out. No I/O, no clock, no chance: the same facts give the same state.

What it keeps grows with what is going on at once, not with what has happened (but for one path an iteration of a loop
that is running); what a fact costs, with what it begins and ends. Facts about what is not going on any more, or for the
second time, change nothing.

A process that takes a run over replays its facts, drops their effects, and does what is `outstanding`. How a run that
has failed is begun again stands in `again.py`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import assert_never

from copilot_domain.workflows.definition import ConditionConfig, LoopConfig, ParallelConfig, Step
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.state.facts import (
    Abort,
    Checked,
    Chosen,
    Counted,
    Effect,
    Ended,
    EndStatus,
    Entered,
    Execute,
    Fact,
    Left,
    Path,
    RunCancelled,
    RunRetried,
    RunStarted,
    RunTimedOut,
    StepCompleted,
    StepError,
    StepFailed,
    StepTimedOut,
)
from copilot_domain.workflows.state.tree import Frame, Leaf, Line, cut

MAX_STEPS = 100_000
"""That one run may enter: a bound on what any definition can cost."""


class Machine:
    """`attempts`: by path, how many were made before the run was begun again; their numbers are not used twice."""

    def __init__(self, program: Program, attempts: Mapping[Path, int] | None = None) -> None:
        self._program = program
        self._attempts = attempts or {}
        self._main = Line("", program.main)
        self._leaves: dict[Path, Leaf] = {}
        self._frames: dict[Path, Frame] = {}
        self._entered = 0
        self._ended: Ended | None = None
        self._effects: list[Effect] = []
        self._todo: deque[Callable[[], None]] = deque()  # a loop of empty loops must not be a recursion

    @property
    def ended(self) -> Ended | None:
        return self._ended

    def outstanding(self) -> list[Execute]:
        """What is being done, waits, or is to be done."""
        return [leaf.execute for leaf in self._leaves.values()]

    def is_wanted(self, path: Path, attempt: int) -> bool:
        return self._wanted(path, attempt) is not None

    def deadlines(self) -> list[tuple[Path, float]]:
        """Of the `parallel`s and `loop`s that are going on."""
        return [(frame.path, frame.deadline) for frame in self._frames.values() if frame.deadline is not None]

    def apply(self, fact: Fact) -> list[Effect]:
        """The effects in order; what was begun may already be wanted no more (`Execute`, then its `Abort`). A fact may
        count and have none (a branch failed, the `parallel` goes on). ValueError, and nothing changed, where a decision
        is not what was asked for."""
        if self._ended is None:
            self._take(fact)
        while self._todo and self._ended is None:
            self._todo.popleft()()
        self._todo.clear()
        effects, self._effects = self._effects, []
        return effects

    def _take(self, fact: Fact) -> None:
        match fact:
            case RunStarted(at):
                if not self._entered:
                    self._enter_next(self._main, self._main.scope.first, at)
            case StepCompleted(path, attempt):
                if (leaf := self._wanted(path, attempt)) is not None:
                    self._completed(leaf, fact)
            case StepFailed(path, attempt):
                if (leaf := self._wanted(path, attempt)) is not None:
                    self._attempt_failed(leaf, fact)
            case StepTimedOut(path, at):
                if (frame := self._frames.get(path)) is not None:
                    message = f"The step took longer than {frame.step.timeout_ms} ms."
                    self._fail_frame(frame, StepError(path, "STEP_TIMEOUT", message), at)
            case RunRetried(at):
                self._begin_time_anew(at)
            case RunCancelled(at):
                self._end(at, "cancelled")
            case RunTimedOut(at):
                limit = self._program.definition.max_duration_ms
                self._end(at, "failed", StepError("", "RUN_TIMEOUT", f"The run took longer than {limit} ms."))
            case _:
                assert_never(fact)

    def _wanted(self, path: Path, attempt: int) -> Leaf | None:
        leaf = self._leaves.get(path)
        return leaf if leaf is not None and leaf.execute.attempt == attempt else None

    def _begin_time_anew(self, at: float) -> None:
        """Never backwards, so that the fact may come twice."""
        for leaf in self._leaves.values():
            leaf.execute = replace(leaf.execute, due=max(leaf.execute.due, at))
        for frame in self._frames.values():
            if frame.deadline is not None:
                frame.deadline = max(frame.deadline, _deadline(frame.step, at) or 0)

    # A step begins

    def _enter_next(self, line: Line, step_id: str, at: float) -> None:
        """Once what is being done with the fact is done, unless that ends the line."""
        self._todo.append(lambda: None if line.is_over else self._enter(line, self._program.steps[step_id], at))

    def _enter(self, line: Line, step: Step, at: float) -> None:
        self._entered += 1
        if self._entered > MAX_STEPS:
            self._end_too_long(line.path(step.id), at)
        elif isinstance(step.config, ParallelConfig | LoopConfig):
            self._enter_frame(line, step, at)
        else:
            line.now = self._execute(line.path(step.id), step, line, at)

    def _execute(self, path: Path, step: Step, line: Line, due: float, asked_by: Frame | None = None) -> Leaf:
        execute = Execute(path, step.id, self._attempts.get(path, 0) + 1, due)
        self._leaves[path] = leaf = Leaf(execute, step, line, asked_by)
        self._effects.append(execute)
        return leaf

    def _enter_frame(self, line: Line, step: Step, at: float) -> None:
        frame = Frame(line.path(step.id), step, line, _deadline(step, at))
        line.now = self._frames[frame.path] = frame
        self._effects.append(Entered(frame.path, step.id, at, frame.deadline))
        match step.config:
            case ParallelConfig(branches=branches):
                self._counted(frame, len(branches), at)
            case LoopConfig(times=int(times)):
                self._counted(frame, times, at)
            case _ if frame.is_while:
                self._check(frame, at)
            case _:
                frame.asking = self._execute(frame.path, step, line, at, frame)

    def _counted(self, frame: Frame, count: int, at: float) -> None:
        limit = frame.step.config.max_iterations if isinstance(frame.step.config, LoopConfig) else count
        if count > limit:
            self._fail_for_iterations(frame, limit, at)
        elif self._entered + count > MAX_STEPS:  # better now than after most of them were paid for
            self._end_too_long(frame.path, at)
        else:
            frame.count = count
            self._go_on(frame, at)

    def _check(self, frame: Frame, at: float) -> None:
        """Ask a `while` loop whether it goes on."""
        path = f"{frame.path}[{len(frame.parts)}]"
        frame.asking = self._execute(path, frame.step, frame.line, at, frame)

    def _checked(self, frame: Frame, goes_on: bool, limit: int, at: float) -> None:
        if not goes_on:
            self._leave(frame, at)
        elif frame.count >= limit:
            self._fail_for_iterations(frame, limit, at)
        else:
            frame.count += 1
            self._begin_lines(frame, at)

    def _begin_lines(self, frame: Frame, at: float) -> None:
        """As many as there may be at once."""
        while (index := len(frame.parts)) < frame.count and len(frame.lines) < frame.at_once:
            scope = self._program.inside(frame.step, index)
            line = frame.lines[index] = Line(f"{frame.path}[{index}]", scope, frame, index)
            frame.parts.append(None)
            self._enter_next(line, scope.first, at)

    # A step ends

    def _completed(self, leaf: Leaf, fact: StepCompleted) -> None:
        match leaf.asked_by, leaf.step.config, fact.decision:
            case (None, _, None) | (None, ConditionConfig(), Chosen(None)):
                self._settle(leaf)
                self._advance(leaf.line, leaf.step, fact.path, fact.at)
            case None, ConditionConfig(), Chosen(str(chosen)) if chosen in self._program.steps:
                self._settle(leaf)
                self._enter_next(leaf.line, chosen, fact.at)
            case Frame() as frame, LoopConfig(while_=None), Counted(count):
                self._settle(leaf)
                self._counted(frame, count, fact.at)
            case Frame() as frame, LoopConfig(while_=str(), max_iterations=limit), Checked(goes_on):
                self._settle(leaf)
                self._checked(frame, goes_on, limit, fact.at)
            case _:
                raise ValueError(f"{fact.decision} is no answer to what was asked of {fact.path}")

    def _settle(self, leaf: Leaf) -> None:
        """It is neither being done nor wanted any more."""
        del self._leaves[leaf.execute.path]
        if leaf.asked_by is None:
            leaf.line.now = None
        else:
            leaf.asked_by.asking = None

    def _advance(self, line: Line, step: Step, path: Path, at: float) -> None:
        self._go_to(line, line.scope.follows.get(step.id), path, at)

    def _go_to(self, line: Line, following: str | None, last: Path | None, at: float) -> None:
        """On to what follows, or to the line's end; its output is that of `last`."""
        if following is not None:
            self._enter_next(line, following, at)
        elif line.frame is None:
            self._end(at, "completed", outputs_of=last)
        else:
            line.frame.parts[line.index] = last
            line.frame.completed += 1
            self._line_over(line, line.frame, at)

    def _line_over(self, line: Line, frame: Frame, at: float) -> None:
        line.is_over = True
        del frame.lines[line.index]
        self._todo.append(lambda: self._go_on(frame, at) if frame.is_going_on else None)

    def _go_on(self, frame: Frame, at: float) -> None:
        """Begin what may begin, or leave."""
        self._begin_lines(frame, at)
        possible = frame.completed + len(frame.lines)
        if frame.needed is None and frame.lines:
            return
        if frame.is_while:
            self._check(frame, at)
        elif frame.needed is None or frame.completed >= frame.needed:
            self._leave(frame, at)
        elif possible < frame.needed:
            message = f"At most {possible} of the {frame.needed} branches that were wanted can complete."
            self._fail_frame(frame, StepError(frame.path, "JOIN_FAILED", message), at)

    def _leave(self, frame: Frame, at: float) -> None:
        self._close(frame, "completed", None, at)
        self._advance(frame.line, frame.step, frame.path, at)

    # A step fails

    def _attempt_failed(self, leaf: Leaf, fact: StepFailed) -> None:
        policy = leaf.step.retry
        made = fact.attempt - self._attempts.get(fact.path, 0)
        if fact.is_retryable and made < policy.max_attempts:
            pause_ms = min(policy.backoff_ms * 2 ** (made - 1), policy.max_backoff_ms)
            leaf.execute = Execute(fact.path, leaf.step.id, fact.attempt + 1, fact.at + pause_ms / 1000)
            self._effects.append(leaf.execute)
            return
        self._settle(leaf)
        error = StepError(fact.path, fact.code, fact.message)
        if leaf.asked_by is not None:
            self._fail_frame(leaf.asked_by, error, fact.at)
        else:
            self._failed(leaf.line, leaf.step, error, fact.at)

    def _fail_frame(self, frame: Frame, error: StepError, at: float) -> None:
        self._close(frame, "failed", error, at)
        self._failed(frame.line, frame.step, error, at)

    def _failed(self, line: Line, step: Step, error: StepError, at: float) -> None:
        """For good: with it its line, the frame of that, its line, and so on, up to what has an answer to it."""
        while step.on_error == "fail":
            frame = line.frame
            if frame is None:
                self._end(at, "failed", error)
                return
            if frame.survives_a_line:
                self._line_over(line, frame, at)
                return
            self._close(frame, "failed", error, at)
            line, step = frame.line, frame.step
        self._go_to(line, self._program.after_error(step, line.scope), None, at)

    def _fail_for_iterations(self, frame: Frame, limit: int, at: float) -> None:
        message = f"The loop has more than {limit} iterations (max_iterations)."
        self._fail_frame(frame, StepError(frame.path, "TOO_MANY_ITERATIONS", message), at)

    # Ends

    def _close(self, frame: Frame, status: EndStatus, error: StepError | None, at: float) -> None:
        if frame.asking is not None:
            self._abort(frame.asking)
        self._cut(frame.lines.values(), at)
        frame.line.now = None
        self._left(frame, status, error, at)

    def _end(
        self, at: float, status: EndStatus, error: StepError | None = None, outputs_of: Path | None = None
    ) -> None:
        self._cut([self._main], at)
        self._ended = Ended(at, status, outputs_of, error)
        self._effects.append(self._ended)

    def _end_too_long(self, path: Path, at: float) -> None:
        self._end(at, "failed", StepError(path, "TOO_MANY_STEPS", f"A run has at most {MAX_STEPS} steps."))

    def _cut(self, lines: Iterable[Line], at: float) -> None:
        leaves, frames = cut(lines)
        for leaf in leaves:
            self._abort(leaf)
        for frame in frames:
            self._left(frame, "cancelled", None, at)

    def _abort(self, leaf: Leaf) -> None:
        del self._leaves[leaf.execute.path]
        self._effects.append(Abort(leaf.execute.path, leaf.step.id, leaf.execute.attempt))

    def _left(self, frame: Frame, status: EndStatus, error: StepError | None, at: float) -> None:
        del self._frames[frame.path]
        self._effects.append(Left(frame.path, frame.step.id, at, status, error, tuple(frame.parts)))


def _deadline(step: Step, at: float) -> float | None:
    return None if step.timeout_ms is None else at + step.timeout_ms / 1000
