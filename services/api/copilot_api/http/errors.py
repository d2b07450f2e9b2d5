"""From exceptions to the wire's error body. HTTP statuses are decided here and nowhere else."""

from typing import Any

import psycopg
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.exceptions import ValidationException as LitestarValidation
from litestar.status_codes import (
    HTTP_413_REQUEST_ENTITY_TOO_LARGE,
    HTTP_415_UNSUPPORTED_MEDIA_TYPE,
    HTTP_500_INTERNAL_SERVER_ERROR,
)
from loguru import logger

from copilot_api.http.context import request_context
from copilot_common.base.errors import (
    Conflict,
    CopilotError,
    ErrorCode,
    InvalidInput,
    NotFound,
    RateLimited,
    Unavailable,
)

STATUS: dict[ErrorCode, int] = {
    "BAD_REQUEST": 400,
    "UNAUTHORIZED": 401,
    "BUDGET_EXCEEDED": 402,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "CONFLICT": 409,
    "QUOTA_EXCEEDED": 409,
    "GENERATION_IN_PROGRESS": 409,
    "IDEMPOTENCY_MISMATCH": 409,
    "IDEMPOTENCY_IN_PROGRESS": 409,
    "PAYLOAD_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "VALIDATION_ERROR": 422,
    "RATE_LIMITED": 429,
    "INTERNAL_ERROR": 500,
    "PROVIDER_ERROR": 502,
    "UNAVAILABLE": 503,
    "PROVIDER_TIMEOUT": 504,
    "EGRESS_REFUSED": 422,
    "EGRESS_FAILED": 502,
    # An answer that ended early, asked for plainly: the client may read what there is of it.
    "INTERRUPTED": 503,
    "CANCELLED": 409,
}

_FRAMEWORK_CODES: dict[int, ErrorCode] = {
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    HTTP_413_REQUEST_ENTITY_TOO_LARGE: "PAYLOAD_TOO_LARGE",
    HTTP_415_UNSUPPORTED_MEDIA_TYPE: "UNSUPPORTED_MEDIA_TYPE",
    HTTP_500_INTERNAL_SERVER_ERROR: "INTERNAL_ERROR",
}

RETRY_SECONDS_WHEN_UNAVAILABLE = "2"


def handle_exception(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, object]]:
    """The handler of every exception of every route."""
    known = to_copilot_error(error)
    if known.code == "INTERNAL_ERROR":
        logger.opt(exception=error).error("Request failed")
    headers = {}
    if isinstance(known, RateLimited):
        headers["Retry-After"] = str(known.retry_after_seconds)
    elif known.code == "UNAVAILABLE":
        headers["Retry-After"] = RETRY_SECONDS_WHEN_UNAVAILABLE
    elif known.code == "UNAUTHORIZED":
        headers["WWW-Authenticate"] = "Bearer"
    return Response(
        error_body(known, request_context(request.scope).request_id), status_code=STATUS[known.code], headers=headers
    )


def error_body(error: CopilotError, request_id: str) -> dict[str, object]:
    return {"code": error.code, "message": error.message, "details": error.details, "request_id": request_id}


def to_copilot_error(error: Exception) -> CopilotError:  # noqa: PLR0911 — one return per kind of error
    """Classified by type alone; a foreign exception's text is never passed on."""
    match error:
        case CopilotError():
            return error
        case LitestarValidation():
            return InvalidInput(_parameter_faults(error))
        case NotFoundException():
            return NotFound("route")
        case MethodNotAllowedException():
            return _with_code("METHOD_NOT_ALLOWED", "This route does not know that method.")
        case HTTPException():
            code = _FRAMEWORK_CODES.get(error.status_code, "BAD_REQUEST")
            return _with_code(code, _FRAMEWORK_MESSAGES.get(code, "The request is not valid."))
        case psycopg.DataError():
            # A value that PostgreSQL cannot hold (a NUL in a query parameter, a number out of range).
            return InvalidInput({"": "a value cannot be stored"})
        case psycopg.IntegrityError():
            # What this referred to was deleted by somebody else in this very moment.
            return Conflict("Something this depends on has just been changed; look again.")
        case psycopg.OperationalError():
            return Unavailable("The database is not reachable.")
        case _:
            return _with_code("INTERNAL_ERROR", "Something went wrong here; the request id leads to the log line.")


_FRAMEWORK_MESSAGES: dict[ErrorCode, str] = {
    "PAYLOAD_TOO_LARGE": "The body is too large.",
    "UNSUPPORTED_MEDIA_TYPE": "The body must be application/json.",
}


def _with_code(code: ErrorCode, message: str) -> CopilotError:
    error = CopilotError(message)
    error.code = code
    return error


def _parameter_faults(error: LitestarValidation) -> dict[str, str]:
    faults = {}
    for fault in error.extra if isinstance(error.extra, list) else []:
        name = str(fault.get("key", ""))
        if name == "data":  # Litestar's name for a body, where there is none
            faults["body"] = "is required"
            continue
        faults[name] = "is required" if name in str(fault.get("message")) else str(fault.get("message"))
    return faults or {"": "a parameter is not valid"}
