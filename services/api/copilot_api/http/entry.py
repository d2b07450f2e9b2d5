"""The outermost ASGI layer: trace, request id, log line and metrics of every request, whatever becomes of it."""

from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any
from uuid import UUID

from loguru import logger

from copilot_api.http.addresses import Networks, client_address
from copilot_api.http.context import RequestContext, attach_context
from copilot_api.http.lingering import RequestBody, has_body
from copilot_common.base.ids import new_id
from copilot_common.platform.metrics import HttpMetrics
from copilot_common.platform.trace import NO_SPAN, Trace, Tracer, begin_trace

Message = MutableMapping[str, Any]
AsgiScope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

_QUIET_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})  # probes would drown the rest

_UNMATCHED = "unmatched"
_FAULT = 500  # and above: ours; what is below, the caller's, is no error of a server's span
_REFUSED = 400  # and above: nothing more of the request is wanted


class Entry:
    """Wraps the application."""

    def __init__(self, app: AsgiApp, *, metrics: HttpMetrics, trusted: Networks, tracer: Tracer | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._trusted = trusted
        self._tracer = tracer

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        headers = dict(scope["headers"])
        context = self._begin(scope, headers)
        body = RequestBody(receive) if has_body(headers) else None
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if body is not None and status >= _REFUSED:
                    await body.discard()
                message["headers"] = [*message["headers"], *context.answer_headers]
            await send(message)

        try:
            await self._app(scope, body.receive if body else receive, send_with_headers)
        finally:
            self._end(scope, context.trace, status, perf_counter() - began)

    def _begin(self, scope: AsgiScope, headers: dict[bytes, bytes]) -> RequestContext:
        request_id = _request_id(headers.get(b"x-request-id"))
        peer = scope["client"][0] if scope.get("client") else None
        context = RequestContext(
            request_id=request_id,
            trace=begin_trace(_text(headers.get(b"traceparent")), self._tracer_of(scope), "HTTP", "server"),
            address=client_address(peer, _text(headers.get(b"x-forwarded-for")), self._trusted),
            answer_headers=[(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")],
        )
        attach_context(scope, context)
        return context

    def _tracer_of(self, scope: AsgiScope) -> Tracer | None:
        return None if self._tracer is None or scope["path"] in _QUIET_PATHS else self._tracer

    def _end(self, scope: AsgiScope, trace: Trace, status: int, seconds: float) -> None:
        route = scope.get("path_template") or _UNMATCHED
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.duration.labels(method, route).observe(seconds)
        if trace.span is not NO_SPAN:
            _end_span(trace, method, route, status)
        if scope["path"] in _QUIET_PATHS and status < 400:
            return
        logger.bind(method=scope["method"], path=scope["path"], status=status, duration_ms=round(seconds * 1000)).info(
            "Request completed"
        )


def _end_span(trace: Trace, method: str, route: str, status: int) -> None:
    """The template, never the path: whoever calls chooses that, and it names what is theirs."""
    span = trace.span
    method = "_OTHER" if method == "other" else method
    about: dict[str, str | int | float | bool] = {
        "http.request.method": method,
        "http.response.status_code": status,
    }
    if route != _UNMATCHED:
        span.rename(f"{method} {route}")
        about["http.route"] = route
    if trace.tenant_id is not None:
        about["copilot.tenant_id"] = trace.tenant_id
    span.set(about)
    if status >= _FAULT:
        span.fail(str(status))
    span.end()


_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


def _request_id(given: bytes | None) -> str:
    """The caller's, when it is a UUID (a free text could forge log lines); else a new one."""
    try:
        return str(UUID(_text(given) or ""))
    except ValueError:
        return str(new_id())


def _text(value: bytes | None) -> str | None:
    return value.decode("latin-1") if value is not None else None
