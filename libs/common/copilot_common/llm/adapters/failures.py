"""A provider's failures as our errors: by status or type, never by text, and never with the provider's own words."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from copilot_common.base.errors import ProviderError, ProviderTimeout

# Those below 500 that pass by themselves: timeout, conflict with itself, too early, rate limit.
_RETRYABLE_BELOW_500: Final = frozenset({408, 409, 425, 429})
_NEVER_RETRYABLE: Final = frozenset({501, 505})


def status_failure(provider: str, status: int, headers: Mapping[str, str] | None = None) -> ProviderError:
    retryable = status in _RETRYABLE_BELOW_500 or (status >= 500 and status not in _NEVER_RETRYABLE)
    return ProviderError(
        _explain(provider, status),
        provider=provider,
        retryable=retryable,
        status=status,
        retry_after_seconds=retry_after_seconds(headers or {}),
    )


def connection_failure(provider: str) -> ProviderError:
    return ProviderError(f"The connection to {provider} failed.", provider=provider, retryable=True)


def connect_timeout(provider: str) -> ProviderTimeout:
    return ProviderTimeout(f"{provider} could not be reached in time.", provider=provider, retryable=True)


def unreadable_answer(provider: str) -> ProviderError:
    return ProviderError(f"{provider} sent an answer that cannot be read.", provider=provider, retryable=True)


def broken_stream(provider: str) -> ProviderError:
    return ProviderError(f"{provider} ended its answer in the middle.", provider=provider, retryable=True)


def stream_failure(provider: str, *, retryable: bool) -> ProviderError:
    """The provider itself reported a failure within a stream that had begun well."""
    return ProviderError(f"{provider} failed while answering.", provider=provider, retryable=retryable)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """From `retry-after-ms`, or `Retry-After` as seconds or as an HTTP date."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    wish = headers.get("retry-after")
    seconds = _number(wish)
    if seconds is not None or not wish:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(wish).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _explain(provider: str, status: int) -> str:
    if status in {401, 403}:
        return f"{provider} refused its API key (status {status})."
    if status == 404:
        return f"{provider} does not serve this model (status 404)."
    if status == 429:
        return f"{provider} limits the rate of requests (status 429)."
    if status < 500:
        return f"{provider} refused the request (status {status})."
    return f"{provider} failed (status {status})."
