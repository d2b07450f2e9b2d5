"""The state machine of a run: facts in, effects out. No I/O, no clock, no chance: the same facts give the same state.

What it keeps grows with what is going on at once, not with what has happened (but for one path an iteration of a loop
that is running). Facts about what is not going on any more, or for the second time, change nothing.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from copilot_domain.workflows.definition import JoinCount, LoopConfig, ParallelConfig, Step
from copilot_domain.workflows.program import Program, Scope
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
    RunStarted,
    RunTimedOut,
    StepCompleted,
    StepError,
    StepFailed,
    StepTimedOut,
)

MAX_STEPS = 100_000
"""That one run may enter: a bound on what any definition can cost."""


@dataclass(slots=True)
class _Frame:
    """A `parallel` or `loop` that is going on. `count`: its branches or iterations, None while that is not known."""

    path: Path
    step: Step
    deadline: float | None
    count: int | None = None
    begun: int = 0
    active: set[int] = field(default_factory=set)
    parts: list[Path | None] = field(default_factory=list)
    completed: int = 0


class Machine:
    """`attempts`: by path, how many were made before the run was begun again; their numbers are not used twice."""

    def __init__(self, program: Program, attempts: Mapping[Path, int] | None = None) -> None:
        self._program = program
        self._attempts = attempts or {}
        self._leaves: dict[Path, Execute] = {}
        self._frames: dict[Path, _Frame] = {}
        self._entered = 0
        self._ended: Ended | None = None
        self._effects: list[Effect] = []
        self._todo: deque[Callable[[], None]] = deque()  # a loop of empty loops must not be a recursion

    @property
    def ended(self) -> Ended | None:
        return self._ended

    def outstanding(self) -> list[Execute]:
        """What is being done, waits, or is to be done."""
        return list(self._leaves.values())

    def is_wanted(self, path: Path, attempt: int) -> bool:
        leaf = self._leaves.get(path)
        return leaf is not None and leaf.attempt == attempt

    def deadlines(self) -> list[tuple[Path, float]]:
        """Of the `parallel`s and `loop`s that are going on."""
        return [(frame.path, frame.deadline) for frame in self._frames.values() if frame.deadline is not None]

    def apply(self, fact: Fact) -> list[Effect]:
        if self._ended is not None:
            return []
        match fact:
            case RunStarted():
                if not self._entered:
                    self._enter_next("", self._program.main.first, fact.at)
            case StepCompleted():
                self._completed(fact)
            case StepFailed():
                self._attempt_failed(fact)
            case StepTimedOut():
                if (frame := self._frames.get(fact.path)) is not None:
                    error = StepError(
                        fact.path, "STEP_TIMEOUT", f"The step took longer than {frame.step.timeout_ms} ms."
                    )
                    self._fail_frame(frame, error, fact.at)
            case RunCancelled():
                self._end(fact.at, "cancelled", None)
            case RunTimedOut():
                limit = self._program.definition.max_duration_ms
                self._end(fact.at, "failed", StepError("", "RUN_TIMEOUT", f"The run took longer than {limit} ms."))
        while self._todo and self._ended is None:
            self._todo.popleft()()
        self._todo.clear()
        effects, self._effects = self._effects, []
        return effects

    # A step begins

    def _enter(self, prefix: Path, step_id: str, at: float) -> None:
        step = self._program.steps[step_id]
        path = f"{prefix}.{step_id}" if prefix else step_id
        self._entered += 1
        if self._entered > MAX_STEPS:
            self._end(at, "failed", StepError(path, "TOO_MANY_STEPS", f"A run has at most {MAX_STEPS} steps."))
        elif isinstance(step.config, ParallelConfig | LoopConfig):
            self._enter_frame(path, step, at)
        else:
            self._execute(path, step_id, at)

    def _enter_next(self, prefix: Path, step_id: str, at: float) -> None:
        """Once what is being done with the fact is done, unless that ends the scope."""
        self._todo.append(lambda: self._enter(prefix, step_id, at) if self._is_going_on(prefix) else None)

    def _is_going_on(self, prefix: Path) -> bool:
        frame = self._frames.get(_frame_of(prefix)) if prefix else None
        return not prefix or (frame is not None and _index_of(prefix) in frame.active)

    def _execute(self, path: Path, step_id: str, due: float, attempt: int | None = None) -> None:
        number = self._attempts.get(path, 0) + 1 if attempt is None else attempt
        self._leaves[path] = leaf = Execute(path, step_id, number, due)
        self._effects.append(leaf)

    def _enter_frame(self, path: Path, step: Step, at: float) -> None:
        deadline = None if step.timeout_ms is None else at + step.timeout_ms / 1000
        self._frames[path] = frame = _Frame(path, step, deadline)
        self._effects.append(Entered(path, step.id, at, deadline))
        match step.config:
            case ParallelConfig(branches=branches):
                self._begin_counted(frame, len(branches), at)
            case LoopConfig(times=int(times)):
                self._begin_counted(frame, times, at)
            case LoopConfig(while_=str()):
                self._check(frame, at)
            case _:
                self._execute(path, step.id, at)

    def _begin_counted(self, frame: _Frame, count: int, at: float) -> None:
        limit = frame.step.config.max_iterations if isinstance(frame.step.config, LoopConfig) else count
        if count > limit:
            self._fail_frame(frame, _too_many(frame, limit), at)
            return
        frame.count = count
        frame.parts = [None] * count
        self._go_on(frame, at)

    def _check(self, frame: _Frame, at: float) -> None:
        """Ask a `while` loop whether it goes on."""
        self._execute(f"{frame.path}[{frame.begun}]", frame.step.id, at)

    def _begin_scope(self, frame: _Frame, at: float) -> None:
        index = frame.begun
        frame.begun += 1
        frame.active.add(index)
        prefix = f"{frame.path}[{index}]"
        self._enter_next(prefix, self._scope(prefix).first, at)

    # A step ends

    def _completed(self, fact: StepCompleted) -> None:
        if not self.is_wanted(fact.path, fact.attempt):
            return
        leaf = self._leaves.pop(fact.path)
        match fact.decision:
            case Counted(count):
                self._begin_counted(self._frames[fact.path], count, fact.at)
            case Checked(goes_on):
                self._checked(self._frames[_frame_of(fact.path)], goes_on, fact.at)
            case Chosen(next=str(chosen)):
                self._enter_next(_prefix_of(fact.path), chosen, fact.at)
            case _:
                self._advance(fact.path, leaf.step_id, fact.at)

    def _checked(self, frame: _Frame, goes_on: bool, at: float) -> None:
        if not goes_on:
            self._leave(frame, at)
        elif frame.begun >= (limit := cast(LoopConfig, frame.step.config).max_iterations):
            self._fail_frame(frame, _too_many(frame, limit), at)
        else:
            frame.parts.append(None)
            self._begin_scope(frame, at)

    def _advance(self, path: Path, step_id: str, at: float) -> None:
        """On to what follows, or to the scope's end."""
        prefix = _prefix_of(path)
        following = self._scope(prefix).follows.get(step_id)
        if following is not None:
            self._enter_next(prefix, following, at)
        elif prefix:
            self._scope_completed(prefix, path, at)
        else:
            self._end(at, "completed", None, outputs_of=path)

    def _scope_completed(self, prefix: Path, last: Path, at: float) -> None:
        frame, index = self._frames[_frame_of(prefix)], _index_of(prefix)
        frame.parts[index] = last
        frame.completed += 1
        self._scope_over(frame, index, at)

    def _scope_over(self, frame: _Frame, index: int, at: float) -> None:
        frame.active.discard(index)
        self._todo.append(lambda: self._go_on(frame, at) if self._frames.get(frame.path) is frame else None)

    def _go_on(self, frame: _Frame, at: float) -> None:
        """Begin what may begin, or leave."""
        match frame.step.config:
            case LoopConfig(while_=str()):
                if not frame.active:
                    self._check(frame, at)
            case LoopConfig(concurrency=concurrency):
                self._begin_up_to(frame, concurrency, at)
                if not frame.active:
                    self._leave(frame, at)
            case _:
                self._begin_up_to(frame, len(frame.parts), at)
                self._join(frame, at)

    def _begin_up_to(self, frame: _Frame, at_once: int, at: float) -> None:
        while frame.begun < (frame.count or 0) and len(frame.active) < at_once:
            self._begin_scope(frame, at)

    def _join(self, frame: _Frame, at: float) -> None:
        needed = _needed(cast(ParallelConfig, frame.step.config))
        if needed is None:
            if not frame.active:
                self._leave(frame, at)
        elif frame.completed >= needed:
            self._leave(frame, at)
        elif frame.completed + len(frame.active) < needed:
            message = f"Only {frame.completed} of the {needed} branches that were wanted completed."
            self._fail_frame(frame, StepError(frame.path, "JOIN_FAILED", message), at)

    def _leave(self, frame: _Frame, at: float) -> None:
        self._abort_inside(frame, at)
        del self._frames[frame.path]
        self._effects.append(Left(frame.path, frame.step.id, at, "completed", None, tuple(frame.parts)))
        self._advance(frame.path, frame.step.id, at)

    # A step fails

    def _attempt_failed(self, fact: StepFailed) -> None:
        if not self.is_wanted(fact.path, fact.attempt):
            return
        leaf = self._leaves.pop(fact.path)
        step = self._program.steps[leaf.step_id]
        made = fact.attempt - self._attempts.get(fact.path, 0)
        if fact.is_retryable and made < step.retry.max_attempts:
            pause_ms = min(step.retry.backoff_ms * 2 ** (made - 1), step.retry.max_backoff_ms)
            self._execute(fact.path, leaf.step_id, fact.at + pause_ms / 1000, fact.attempt + 1)
            return
        error = StepError(fact.path, fact.code, fact.message)
        if isinstance(step.config, LoopConfig):  # its count, or whether it goes on, cannot be known
            frame = self._frames.get(fact.path) or self._frames[_frame_of(fact.path)]
            self._fail_frame(frame, error, fact.at)
        else:
            self._failed(fact.path, step, error, fact.at)

    def _failed(self, path: Path, step: Step, error: StepError, at: float) -> None:
        """For good."""
        prefix = _prefix_of(path)
        if step.on_error == "fail":
            self._scope_failed(prefix, error, at)
            return
        following = self._program.after_error(step, self._scope(prefix))
        if following is not None:
            self._enter_next(prefix, following, at)
        elif prefix:
            self._scope_completed(prefix, path, at)
        else:
            self._end(at, "completed", None, outputs_of=path)

    def _scope_failed(self, prefix: Path, error: StepError, at: float) -> None:
        if not prefix:
            self._end(at, "failed", error)
            return
        frame = self._frames[_frame_of(prefix)]
        if isinstance(frame.step.config, ParallelConfig) and frame.step.config.on_branch_error == "continue":
            self._scope_over(frame, _index_of(prefix), at)
        else:
            self._fail_frame(frame, error, at)

    def _fail_frame(self, frame: _Frame, error: StepError, at: float) -> None:
        self._abort_inside(frame, at)
        del self._frames[frame.path]
        self._effects.append(Left(frame.path, frame.step.id, at, "failed", error, tuple(frame.parts)))
        self._failed(frame.path, frame.step, error, at)

    # Ends

    def _end(self, at: float, status: EndStatus, error: StepError | None, *, outputs_of: Path | None = None) -> None:
        self._abort("", at)
        self._ended = Ended(at, status, outputs_of, error)
        self._effects.append(self._ended)

    def _abort_inside(self, frame: _Frame, at: float) -> None:
        frame.active.clear()
        self._leaves.pop(frame.path, None)
        self._abort(f"{frame.path}[", at)

    def _abort(self, beginning: Path, at: float) -> None:
        for path in [path for path in self._leaves if path.startswith(beginning)]:
            leaf = self._leaves.pop(path)
            self._effects.append(Abort(leaf.path, leaf.step_id, leaf.attempt))
        for path in [path for path in self._frames if path.startswith(beginning)]:
            frame = self._frames.pop(path)
            frame.active.clear()
            self._effects.append(Left(path, frame.step.id, at, "cancelled", None, tuple(frame.parts)))

    def _scope(self, prefix: Path) -> Scope:
        if not prefix:
            return self._program.main
        frame = self._frames[_frame_of(prefix)]
        if isinstance(frame.step.config, LoopConfig):
            return self._program.body(frame.step)
        return self._program.branch(frame.step, _index_of(prefix))


def _needed(config: ParallelConfig) -> int | None:
    """How many branches must complete; None: all must be over."""
    if isinstance(config.join, JoinCount):
        return config.join.count
    return 1 if config.join == "any" else None


def _too_many(frame: _Frame, limit: int) -> StepError:
    return StepError(frame.path, "TOO_MANY_ITERATIONS", f"The loop has more than {limit} iterations (max_iterations).")


def _prefix_of(path: Path) -> Path:
    """`each[3]` of `each[3].check`; empty for a step of the main scope."""
    return path.rpartition(".")[0]


def _frame_of(prefix: Path) -> Path:
    """`each` of `each[3]`."""
    return prefix[: prefix.rindex("[")]


def _index_of(prefix: Path) -> int:
    return int(prefix[prefix.rindex("[") + 1 : -1])
