"""How the doing of a step came out."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from loguru import logger

from copilot_common.base.errors import CopilotError, EgressFailed, ProviderError, Unavailable
from copilot_common.expressions.errors import ExpressionFailed
from copilot_common.tenancy import Transaction
from copilot_domain.workflows.runs.types import StepUsage
from copilot_domain.workflows.state import Decision


@dataclass(frozen=True, slots=True)
class Done:
    output: object = None
    decision: Decision | None = None
    usage: StepUsage | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """`message` is shown: no secrets, no foreign text. `is_retryable`: the same may succeed later."""

    code: str
    message: str
    is_retryable: bool = False


Action = Callable[[Transaction, int], Awaitable[None]]
"""What is written in the transaction in which a step begins to wait; gets the number of an event of its own."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Until `due` (epoch seconds), or until somebody decides. `wake_id`: of the review or the child run it waits for;
    `action` makes it."""

    due: float | None = None
    wake_id: UUID | None = None
    action: Action | None = None


Outcome = Done | Failed | Waits


def failure(error: BaseException, *, is_once: bool) -> Failed:
    """What a step's exception means. `is_once`: it had begun something that must not be done twice."""
    if is_once:
        return Failed("OUTCOME_UNKNOWN", "The call failed; it is not known whether it arrived.")
    match error:
        case ExpressionFailed():
            return Failed(error.reason, error.message)
        case ProviderError() | EgressFailed():
            return Failed(error.code, error.message, error.retryable)
        case CopilotError():
            return Failed(error.code, error.message, isinstance(error, Unavailable))
    logger.opt(exception=error).error("Step failed")
    return Failed("INTERNAL_ERROR", f"The step failed with {type(error).__name__}.")
