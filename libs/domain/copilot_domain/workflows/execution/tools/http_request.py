"""`http.request {method, url, headers?, body?, mode?, max_bytes?}`: one call to a host that the operator allows.

`mode` is what becomes of it when this process dies in the middle: `idempotent` is sent again under the same
`Idempotency-Key`, `at_most_once` never. By default, as HTTP has it: POST and PATCH at most once, others again.
"""

from typing import Literal

import msgspec
import yarl

from copilot_common.base.errors import EgressFailed, EgressRefused
from copilot_common.platform.egress.client import EgressResponse
from copilot_domain.workflows.definition import Json
from copilot_domain.workflows.execution.kinds.base import StepCall
from copilot_domain.workflows.execution.outcomes import Done, Failed, Outcome

_MAX_BYTES = 4 * 1024 * 1024
_SECONDS = 30.0
_LONGEST_SECONDS = 600.0
_UNSAFE = {"POST", "PATCH"}
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_SHOWN_HEADERS = ("content-type", "location", "etag", "retry-after")


class _Arguments(msgspec.Struct, forbid_unknown_fields=True):
    """`body`: a text as it is, anything else as JSON."""

    url: str
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    headers: dict[str, str] = {}
    body: object = None
    mode: Literal["idempotent", "at_most_once"] | None = None
    max_bytes: int = _MAX_BYTES

    @property
    def is_once(self) -> bool:
        return self.mode == "at_most_once" or (self.mode is None and self.method in _UNSAFE)


async def http_request(call: StepCall, arguments: Json) -> Outcome:
    """A status from 400 on fails the step; what it says is not kept. `{status, headers, body}`, the body as JSON where
    it is JSON."""
    try:
        given = msgspec.convert(arguments, _Arguments)
    except msgspec.ValidationError as error:
        return Failed("INVALID_ARGUMENTS", str(error))
    if not _is_allowed(given.url, call.toolbox.http_hosts):
        return Failed("HOST_NOT_ALLOWED", "The operator does not allow this host (HTTP_TOOL_HOSTS).")
    await call.begin(given.is_once)
    return await _send(call, given)


async def _send(call: StepCall, given: _Arguments) -> Outcome:
    content, headers = _content(given, str(call.idempotency_key))
    seconds = _SECONDS if call.step.timeout_ms is None else min(call.step.timeout_ms / 1000, _LONGEST_SECONDS)
    try:
        answer = await call.toolbox.egress.request(
            given.method,
            given.url,
            headers=headers,
            content=content,
            max_bytes=min(given.max_bytes, _MAX_BYTES),
            timeout_seconds=seconds,
        )
    except EgressRefused as error:
        return Failed("EGRESS_REFUSED", error.message)
    except EgressFailed as error:  # it may have arrived
        if given.is_once:
            return Failed("OUTCOME_UNKNOWN", f"It is not known whether the call arrived: {error.message}")
        return Failed("EGRESS_FAILED", error.message, error.retryable)
    if answer.status >= 400:
        may_help = answer.status in _TRY_AGAIN and not given.is_once
        return Failed("HTTP_ERROR", f"The server answered with status {answer.status}.", may_help)
    return Done(_output(answer))


def _content(given: _Arguments, key: str) -> tuple[bytes, dict[str, str]]:
    headers = {name.lower(): value for name, value in given.headers.items()}
    headers.setdefault("idempotency-key", key)
    if given.body is None:
        return b"", headers
    if isinstance(given.body, str):
        return given.body.encode(), headers
    headers.setdefault("content-type", "application/json")
    return msgspec.json.encode(given.body), headers


def _output(answer: EgressResponse) -> Json:
    headers = {name: answer.headers[name] for name in _SHOWN_HEADERS if name in answer.headers}
    return {"status": answer.status, "headers": headers, "body": _body(answer)}


def _body(answer: EgressResponse) -> object:
    if "json" in answer.headers.get("content-type", ""):
        try:
            return msgspec.json.decode(answer.content)
        except msgspec.DecodeError:
            pass
    return answer.content.decode(errors="replace")


def _is_allowed(url: str, hosts: frozenset[str]) -> bool:
    """`api.example.com` allows that host, `.example.com` all below it, `*` any."""
    try:
        host = (yarl.URL(url).host or "").lower().rstrip(".")
    except ValueError:
        return False
    return "*" in hosts or host in hosts or any(each.startswith(".") and host.endswith(each) for each in hosts)
