"""The API's error body, as an exception."""

from collections.abc import Mapping

import msgspec


class ApiError(Exception):
    """An answer other than 2xx. `code` is one of the wire contract's, or one that a newer API has."""

    def __init__(
        self,
        *,
        status: int,
        code: str,
        message: str,
        details: Mapping[str, object] | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.details = dict(details or {})
        self.request_id = request_id
        self.retry_after_seconds: float | None = None

    @property
    def fields(self) -> dict[str, str]:
        """The path of each wrong field and what is wrong with it."""
        found = self.details.get("fields")
        return {str(name): str(problem) for name, problem in found.items()} if isinstance(found, dict) else {}


class _Body(msgspec.Struct):
    code: str
    message: str
    details: dict[str, object] = {}
    request_id: str | None = None


def error_from(status: int, body: bytes, *, request_id: str | None) -> ApiError:
    """Also for what a proxy in between has answered."""
    try:
        found = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = f"Status {status}, and not in this API's form: does COPILOT_URL name an LLM CoPilot Agent?"
        return ApiError(status=status, code="UNEXPECTED_ANSWER", message=message, request_id=request_id)
    return ApiError(
        status=status,
        code=found.code,
        message=found.message,
        details=found.details,
        request_id=found.request_id or request_id,
    )
