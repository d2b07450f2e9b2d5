"""Why an item can't be ingested, as the user is told."""

from copilot_common.base.errors import CopilotError, ProviderError
from copilot_domain.context.reembedding.embedders import ModelUnavailable


class IngestionError(CopilotError):
    """The item can't be ingested as it is: trying again would fail again. `reason` and the message go to the user."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class FetchFailed(CopilotError):
    """What a URL has could not be had: another try may do it. `reason` and the message are shown where none does."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def describe(error: BaseException) -> tuple[str, str]:
    """Code and sentence for the item; a foreign exception's words are never passed on."""
    match error:
        case IngestionError():
            return error.reason, error.message
        case FetchFailed():
            return error.reason, error.message
        case ModelUnavailable():
            return "MODEL_UNAVAILABLE", error.message
        case ProviderError():
            return "EMBEDDING_FAILED", _explain(error)
        case CopilotError():
            return error.code, error.message
        case _:
            return "INTERNAL_ERROR", "Something went wrong here."


def _explain(error: ProviderError) -> str:
    if not error.is_final:
        return "The embedding provider failed."
    if error.status is None:
        return "The embedding provider's answers cannot be used."
    return f"The embedding provider refused it (status {error.status})."
