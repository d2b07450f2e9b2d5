"""The one error tree. It knows nothing of HTTP: the API maps `code` to a status in one place.

    CopilotError
    ├── InvalidInput            the caller sent something wrong; `fields` names each path
    ├── Unauthenticated         no valid credential
    ├── Forbidden               a valid credential without the needed scope or role
    ├── NotFound                absent, or not visible to this principal (another tenant's id looks the same)
    ├── Conflict                true at another time; `code` may be a named one
    ├── TooLarge                more bytes than allowed here; carries the bound
    ├── RateLimited             carries when to come back
    ├── Unavailable             this process cannot serve it now
    ├── ProviderError           an LLM provider failed
    │   └── ProviderTimeout     it did not answer in time
    ├── EgressRefused           a call to an address of a tenant's choice that the rules forbid
    ├── EgressFailed            such a call was let out and failed
    └── SettingsError           a missing, weak or malformed setting; ends the process at start

Messages are for the caller: they never carry content, keys or foreign exception text.
"""

from typing import Final, Literal

ErrorCode = Literal[
    "BAD_REQUEST",
    "UNAUTHORIZED",
    "BUDGET_EXCEEDED",
    "FORBIDDEN",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "CONFLICT",
    "QUOTA_EXCEEDED",
    "GENERATION_IN_PROGRESS",
    "IDEMPOTENCY_MISMATCH",
    "IDEMPOTENCY_IN_PROGRESS",
    "PAYLOAD_TOO_LARGE",
    "UNSUPPORTED_MEDIA_TYPE",
    "VALIDATION_ERROR",
    "RATE_LIMITED",
    "INTERNAL_ERROR",
    "PROVIDER_ERROR",
    "UNAVAILABLE",
    "PROVIDER_TIMEOUT",
    "EGRESS_REFUSED",
    "EGRESS_FAILED",
    "INTERRUPTED",
    "CANCELLED",
]

_FAILURES: frozenset[ErrorCode] = frozenset(
    {"INTERNAL_ERROR", "PROVIDER_ERROR", "PROVIDER_TIMEOUT", "UNAVAILABLE", "EGRESS_FAILED", "INTERRUPTED"}
)


class CopilotError(Exception):
    """Base of every error this product raises on purpose."""

    code: ErrorCode = "INTERNAL_ERROR"

    def __init__(self, message: str, *, details: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, object] = details or {}

    @property
    def is_refusal(self) -> bool:
        """Whoever asked may ask otherwise; nothing has failed here."""
        return self.code not in _FAILURES


class InvalidInput(CopilotError):
    """`fields` maps the path of each wrong field (`documents[0].text`) to one sentence about it."""

    code: ErrorCode = "VALIDATION_ERROR"

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__("The request is not valid.", details={"fields": fields})
        self.fields = fields


class Unauthenticated(CopilotError):
    code: ErrorCode = "UNAUTHORIZED"


class Forbidden(CopilotError):
    code: ErrorCode = "FORBIDDEN"


class NotFound(CopilotError):
    code: ErrorCode = "NOT_FOUND"

    def __init__(self, resource: str) -> None:
        super().__init__(f"No such {resource}.", details={"resource": resource})


class Conflict(CopilotError):
    """`code` is CONFLICT or one of the named 409 codes of the wire contract."""

    def __init__(self, message: str, *, code: ErrorCode = "CONFLICT", details: dict[str, object] | None = None) -> None:
        super().__init__(message, details=details)
        self.code = code


class TooLarge(CopilotError):
    code: ErrorCode = "PAYLOAD_TOO_LARGE"

    def __init__(self, resource: str, *, max_bytes: int) -> None:
        super().__init__(f"The {resource} is larger than {max_bytes} bytes.", details={"max_bytes": max_bytes})
        self.max_bytes = max_bytes


class RateLimited(CopilotError):
    code: ErrorCode = "RATE_LIMITED"

    def __init__(self, *, limit: int, remaining: int, retry_after_seconds: int) -> None:
        super().__init__(
            f"Too many requests; try again in {retry_after_seconds} s.",
            details={"retry_after": retry_after_seconds, "limit": limit, "remaining": remaining},
        )
        self.retry_after_seconds = retry_after_seconds


class Unavailable(CopilotError):
    code: ErrorCode = "UNAVAILABLE"


# A key, a bill, a permission: mended at the provider's while work waits, and what all tenants' work fails by.
_OPERATORS_TO_MEND: Final = frozenset({401, 402, 403})


class ProviderError(CopilotError):
    """A provider's failure, classified by status or type, never by its text.

    `retryable` says whether the same call may succeed later; `retry_after_seconds` is the provider's own wish.
    """

    code: ErrorCode = "PROVIDER_ERROR"

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        retryable: bool,
        status: int | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, details={"provider": provider, **({"status": status} if status else {})})
        self.provider = provider
        self.retryable = retryable
        self.status = status
        self.retry_after_seconds = retry_after_seconds

    @property
    def is_final(self) -> bool:
        """Background work need not try again: what was sent is refused, or the model is not there."""
        return not self.retryable and self.status not in _OPERATORS_TO_MEND


class ProviderTimeout(ProviderError):
    code: ErrorCode = "PROVIDER_TIMEOUT"


EgressRule = Literal["url", "scheme", "userinfo", "host", "port", "address", "method", "header"]
EgressFailure = Literal["dns", "connect", "tls", "timeout", "disconnected", "protocol", "too_large"]


class EgressRefused(CopilotError):
    """Never worth a retry. The message names the rule, not an address that a name led to: it may be shown."""

    code: ErrorCode = "EGRESS_REFUSED"

    def __init__(self, rule: EgressRule, message: str) -> None:
        super().__init__(message, details={"rule": rule})
        self.rule = rule


class EgressFailed(CopilotError):
    """`retryable` says whether the same call may succeed later; the request may have been received all the same."""

    code: ErrorCode = "EGRESS_FAILED"

    def __init__(self, failure: EgressFailure, message: str) -> None:
        super().__init__(message, details={"failure": failure})
        self.failure = failure
        self.retryable = failure != "too_large"


class SettingsError(CopilotError):
    """One line that names the variable and says what to do; never its value."""
