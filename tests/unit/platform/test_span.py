"""Spans: seen by nobody unless a tracer makes them, children of what they are in, failed by what goes wrong."""

import asyncio
import subprocess
import sys

import pytest

from copilot_common.base.errors import NotFound, ProviderError, Unavailable
from copilot_common.platform.settings import load_settings
from copilot_common.platform.trace import (
    NO_SPAN,
    Attributes,
    Caller,
    Span,
    SpanKind,
    Trace,
    begin_span,
    begin_trace,
    current_span,
    current_trace,
    span,
)
from copilot_common.platform.tracing.factory import build_tracer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
NEEDED = {
    "DATABASE_URL": "postgresql://copilot_app@127.0.0.1:1/nowhere",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "JWT_SECRET": "Zk3vT9pQw8rYbN5mXc7LhD2sFgJ6aEuR",
    "ENCRYPTION_KEY": bytes(range(7, 39)).hex(),
}


class Seen(Span):
    """Tells `told` what becomes of it, and of its parts."""

    def __init__(self, name: str, told: list[str]) -> None:
        self.name = name
        self.told = told

    def begin(self, name: str, kind: SpanKind, attributes: Attributes) -> Trace:
        part = Seen(f"{self.name}/{name}", self.told)
        return Trace(TRACE, "1" * 16, span=part)

    def fail(self, error_type: str) -> None:
        self.told.append(f"{self.name} failed: {error_type}")

    def note(self, event: str) -> None:
        self.told.append(f"{self.name} noted: {event}")

    def end(self) -> None:
        self.told.append(f"{self.name} ended")


class SeeingTracer:
    def __init__(self) -> None:
        self.told: list[str] = []

    def begin(self, name: str, kind: SpanKind, caller: Caller | None) -> Trace:
        return Trace(TRACE, SPAN, span=Seen(name, self.told))

    async def stop(self) -> None:
        """Holds nothing."""


def test_without_a_tracer_spans_are_nobodys_and_the_current_trace_stays() -> None:
    trace = begin_trace()
    with span("part", "client", {}) as part:
        assert part is NO_SPAN
        assert current_trace.get() is trace
    assert begin_span("part", "client", {}) is NO_SPAN
    assert current_span() is NO_SPAN


def test_outside_of_any_trace_spans_are_nobodys() -> None:
    current_trace.set(None)
    with span("part", "client", {}) as part:
        assert part is NO_SPAN
    assert begin_span("part", "client", {}) is NO_SPAN


@pytest.mark.parametrize("flags", ["00", "02", "01", "03"])
def test_what_the_caller_decided_about_sampling_is_passed_on(flags: str) -> None:
    trace = begin_trace(f"00-{TRACE}-{SPAN}-{flags}")
    assert trace.traceparent.endswith("-01" if int(flags) & 1 else "-00")


def test_what_is_done_within_a_span_is_of_it_and_of_the_same_principal() -> None:
    tracer = SeeingTracer()
    outer = begin_trace(None, tracer, "outer", "server")
    outer.tenant_id, outer.user_id = "tenant", "user"
    with span("part", "internal", {}), begin_span("chat", "client", {}):
        inner = current_trace.get()
        assert inner is not None
        assert (inner.span_id, inner.tenant_id, inner.user_id) == ("1" * 16, "tenant", "user")
    assert current_trace.get() is outer
    outer.span.end()
    assert tracer.told == ["outer/part/chat ended", "outer/part ended", "outer ended"]


def test_an_exception_fails_its_span_and_goes_on() -> None:
    tracer = SeeingTracer()
    begin_trace(None, tracer, "outer", "server")
    with pytest.raises(Unavailable), span("part", "internal", {}):
        raise Unavailable("item")
    assert tracer.told == ["outer/part failed: Unavailable", "outer/part ended"]


def test_an_errors_type_is_a_status_or_a_class_and_never_its_text() -> None:
    refused = ProviderError("a secret", provider="openai", retryable=False, status=429)
    cut = ProviderError("a secret", provider="openai", retryable=True)
    told: list[str] = []
    for error in (refused, cut, ValueError("a secret")):
        Seen("x", told).tell(error)
    assert told == ["x failed: 429", "x failed: ProviderError", "x failed: ValueError"]


@pytest.mark.parametrize(
    ("error", "noted"),
    [(asyncio.CancelledError(), "cancelled"), (GeneratorExit(), "cancelled"), (NotFound("collection"), "refused")],
)
def test_what_is_cancelled_or_refused_has_not_failed(error: BaseException, noted: str) -> None:
    told: list[str] = []
    with pytest.raises(type(error)), Seen("x", told):
        raise error
    assert told == [f"x noted: {noted}", "x ended"]


@pytest.mark.parametrize(
    "more", [{}, {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}]
)
def test_without_a_collector_there_is_no_tracer(more: dict[str, str]) -> None:
    settings = load_settings(NEEDED | more)
    assert build_tracer(settings, service="api-server", version="1", instance="a") is None


@pytest.mark.parametrize(
    ("given", "posted_to"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, "http://collector:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://otel.example/in/"}, "https://otel.example/in/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://[::1]:4318/x"}, "http://[::1]:4318/x"),
        (
            {
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://this/one",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://not/this",
            },
            "http://this/one",
        ),
    ],
)
def test_spans_go_where_the_specification_says(given: dict[str, str], posted_to: str) -> None:
    assert load_settings(NEEDED | given).traces_endpoint == posted_to


def test_headers_and_attributes_are_pairs_with_percent_encoded_values() -> None:
    given = {
        "OTEL_EXPORTER_OTLP_HEADERS": " authorization=Basic%20dTpw== , x-tenant=a%2Cb,",
        "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=pr%C3%BCfung,empty=",
    }
    settings = load_settings(NEEDED | given)
    assert settings.collector_headers == {"authorization": "Basic dTpw==", "x-tenant": "a,b"}
    assert settings.trace_resource == {"service.namespace": "prüfung", "empty": ""}


def test_without_a_collector_the_sdk_is_not_even_loaded() -> None:
    code = """
import sys, copilot_workflow_engine.worker, copilot_context_service.worker
from copilot_api.composition import build_app, build_services
from copilot_common.platform.settings import load_settings
from copilot_common.queue.process import build_backbone
build_app(build_services(load_settings()))
build_backbone("any", load_settings(), version="1")
print(*{"opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf"} & sys.modules.keys())
"""
    done = subprocess.run([sys.executable, "-c", code], env=NEEDED, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
