"""A run to lead by hand."""

from collections.abc import Sequence

from copilot_domain.workflows.definition import (
    Definition,
    ParallelConfig,
)
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.state import (
    Abort,
    Decision,
    Effect,
    Ended,
    Execute,
    Left,
    Machine,
    Path,
    RunStarted,
    StepCompleted,
    StepFailed,
    StepTimedOut,
)


class Run:
    """A machine, and shorter words for its facts, which come a second apart."""

    def __init__(self, definition: Definition, attempts: dict[Path, int] | None = None) -> None:
        self.program = Program(definition)
        self.machine = Machine(self.program, attempts)
        self.at = 0.0
        self.begun = self.machine.apply(RunStarted(0.0))

    def completes(self, path: Path, decision: Decision | None = None, attempt: int | None = None) -> list[Effect]:
        return self.machine.apply(StepCompleted(path, attempt or self.attempt(path), self.later(), decision))

    def fails(self, path: Path, *, retryable: bool = False) -> list[Effect]:
        return self.machine.apply(StepFailed(path, self.attempt(path), self.later(), "BROKEN", "It broke.", retryable))

    def times_out(self, path: Path) -> list[Effect]:
        return self.machine.apply(StepTimedOut(path, self.later()))

    def attempt(self, path: Path) -> int:
        return next(each.attempt for each in self.machine.outstanding() if each.path == path)

    def later(self) -> float:
        self.at += 1
        return self.at

    @property
    def outstanding(self) -> list[Path]:
        return [each.path for each in self.machine.outstanding()]


def aborted(effects: Sequence[Effect]) -> list[Path]:
    return [each.path for each in effects if isinstance(each, Abort)]


def left(effects: Sequence[Effect]) -> list[tuple[Path, str]]:
    return [(each.path, each.status) for each in effects if isinstance(each, Left)]


def executed(effects: Sequence[Effect]) -> list[Path]:
    return [each.path for each in effects if isinstance(each, Execute)]


def ended(effects: Sequence[Effect]) -> Ended:
    assert isinstance(effects[-1], Ended)
    return effects[-1]


def parallel(*branches: list[str], **fields: object) -> ParallelConfig:
    return ParallelConfig(branches=list(branches), **fields)  # type: ignore[arg-type]
