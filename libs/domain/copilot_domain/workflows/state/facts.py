"""What happened to a run, as it is recorded, and what is to be done next. The machine turns the one into the other.

A path says where in a run something is: `review`, `each[3].check`, `both[0].fetch`: the steps around it with the number
of the iteration or of the branch, then the step itself. Moments are epoch seconds.
"""

from dataclasses import dataclass
from typing import Literal

Path = str

EndStatus = Literal["completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class StepError:
    """`message` is safe to show: no secrets, no foreign text."""

    step: Path
    code: str
    message: str


# Facts


@dataclass(frozen=True, slots=True)
class RunStarted:
    at: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a condition decided: the step it leads to, or None for what follows it anyway."""

    next: str | None


@dataclass(frozen=True, slots=True)
class Counted:
    """How many iterations a loop has."""

    count: int


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether a `while` loop goes on."""

    goes_on: bool


Decision = Chosen | Counted | Checked


@dataclass(frozen=True, slots=True)
class StepCompleted:
    """A step that does something itself has its result; or what a loop asked for is known."""

    path: Path
    attempt: int
    at: float
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class StepFailed:
    """One attempt. `is_retryable`: the same may succeed later."""

    path: Path
    attempt: int
    at: float
    code: str
    message: str
    is_retryable: bool = False


@dataclass(frozen=True, slots=True)
class StepTimedOut:
    """A `parallel` or `loop` took longer than its `timeout_ms`."""

    path: Path
    at: float


@dataclass(frozen=True, slots=True)
class RunCancelled:
    at: float


@dataclass(frozen=True, slots=True)
class RunTimedOut:
    at: float


@dataclass(frozen=True, slots=True)
class RunRetried:
    """The facts before it are those that a run kept which is begun again, or the copy of one (`again.py`). The time of
    what is going on begins anew."""

    at: float


Fact = RunStarted | StepCompleted | StepFailed | StepTimedOut | RunCancelled | RunTimedOut | RunRetried


# Effects


@dataclass(frozen=True, slots=True)
class Execute:
    """Do a step, not before `due`. For a `loop`: find out how many iterations it has (path of the loop), or whether it
    goes on (path of an iteration, `each[3]`)."""

    path: Path
    step_id: str
    attempt: int
    due: float


@dataclass(frozen=True, slots=True)
class Abort:
    """A step that was being done, or waits, is wanted no more."""

    path: Path
    step_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Entered:
    """A `parallel` or `loop` has begun. `deadline`: when its time is up."""

    path: Path
    step_id: str
    at: float
    deadline: float | None


@dataclass(frozen=True, slots=True)
class Left:
    """A `parallel` or `loop` has ended. Its output is made of `parts`, in order: for each branch or iteration that was
    begun, the path of its last step; None where it has no output, because it failed, was cancelled, or went on after
    its last step had failed (`on_error: continue`)."""

    path: Path
    step_id: str
    at: float
    status: EndStatus
    error: StepError | None = None
    parts: tuple[Path | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The run has. `outputs_of`: the step whose output is the run's; None also where a run goes on after its last step
    has failed."""

    at: float
    status: EndStatus
    outputs_of: Path | None = None
    error: StepError | None = None


Effect = Execute | Abort | Entered | Left | Ended
