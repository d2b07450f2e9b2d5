"""How an evaluation ends that has no value."""

from typing import Literal

from copilot_common.base.errors import CopilotError, ErrorCode

ExpressionCode = Literal["EXPRESSION_INVALID", "EXPRESSION_FAILED", "EXPRESSION_TIMEOUT", "EXPRESSION_TOO_LARGE"]


class ExpressionFailed(CopilotError):
    """`reason`: INVALID is a fault of the source alone, FAILED comes about with this data, TIMEOUT and TOO_LARGE
    (memory, result, nesting) ran into a cap. `index` counts the expressions of the call; None where it is not known
    which of several it was, or where it was the data. `path` is where it stands in a structure (`body.items[0]`).

    The message carries no value of the data: it may be stored and shown.
    """

    code: ErrorCode = "VALIDATION_ERROR"

    def __init__(self, index: int | None, reason: ExpressionCode, message: str, *, path: str | None = None) -> None:
        details = {"reason": reason, "index": index, "path": path}
        super().__init__(message, details={name: value for name, value in details.items() if value is not None})
        self.index = index
        self.reason: ExpressionCode = reason
        self.path = path
