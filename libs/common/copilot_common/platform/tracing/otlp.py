"""Spans to a collector by OTLP over HTTP, with OpenTelemetry's SDK.

    span ends (event loop) ─▶ queue, bounded ─▶ the SDK's thread: batches, encodes, posts, tries again

A collector that is away, slow or refuses costs requests nothing but spans: what the queue has no room for is lost. The
tracer is not made OpenTelemetry's global one: providers' SDKs would write spans of their own to that, with content.
"""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from time import monotonic
from typing import Any

import requests
from loguru import logger
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import SpanKind as OtelKind
from opentelemetry.trace import Tracer as OtelTracer

from copilot_common.platform.settings import Settings
from copilot_common.platform.trace import NO_SPAN, Attributes, Caller, Span, SpanKind, Trace

_QUEUE = 2_048  # spans, as the specification has it: some megabytes
_BATCH = 128  # some 4 ms of encoding: less than the 5 after which the event loop would be given the interpreter back
_EVERY_MS = 1_000  # a killed process loses its last second
_STOP_SECONDS = 5.0  # of the 20 that pods are given beyond DRAIN_SECONDS
_TELL_SECONDS = 60.0
_MOST = 64  # attributes or events of a span: far above what the code sets, and said here lest the environment does
_MOST_CHARACTERS = 256  # of an attribute: likewise
_PROTOCOL_HEADERS = {"content-type", "user-agent"}  # the exporter's own

_KINDS = {
    "server": OtelKind.SERVER,
    "client": OtelKind.CLIENT,
    "consumer": OtelKind.CONSUMER,
    "internal": OtelKind.INTERNAL,
}
_NOWHERE = Context()


class OtlpTracer:
    def __init__(self, settings: Settings, *, service: str, version: str, instance: str) -> None:
        """Connects nothing yet."""
        # Its texts quote addresses and answers, a line per attempt and per lost span. What matters is told here.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
        own = {
            "service.name": service,
            "service.version": version,
            "service.instance.id": instance,
        }
        self._provider = TracerProvider(
            sampler=_sampler(settings),
            resource=Resource(settings.trace_resource | own),
            shutdown_on_exit=False,
            span_limits=SpanLimits(*[_MOST] * 6, *[_MOST_CHARACTERS] * 2),
            meter_provider=NoOpMeterProvider(),
        )
        self._watch = _Watch(_exporter(settings))
        self._provider.add_span_processor(_Processor(self._watch))
        self._tracer = self._provider.get_tracer("copilot", version)

    def begin(self, name: str, kind: SpanKind, caller: Caller | None) -> Trace:
        return _trace(self._tracer, name, kind, _context_of(caller), {})

    async def stop(self) -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()

        def stop() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # too late: the loop has gone
                loop.call_soon_threadsafe(stopped.set)

        # A thread that the interpreter's end does not wait for, as an executor's is: the SDK takes up to 30 seconds.
        threading.Thread(target=stop, name="last spans", daemon=True).start()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await stopped.wait()
        except TimeoutError:
            logger.warning("Last spans not sent")


class OtlpSpan(Span):
    __slots__ = ("_span", "_tracer")

    def __init__(self, tracer: OtelTracer, span: OtelSpan) -> None:
        self._tracer = tracer
        self._span = span

    def begin(self, name: str, kind: SpanKind, attributes: Attributes) -> Trace:
        return _trace(self._tracer, name, kind, set_span_in_context(self._span, _NOWHERE), attributes)

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def note(self, event: str) -> None:
        self._span.add_event(event)

    def fail(self, error_type: str) -> None:
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        self._span.end()


def _trace(tracer: OtelTracer, name: str, kind: SpanKind, context: Context, attributes: Attributes) -> Trace:
    span = tracer.start_span(
        name, context, _KINDS[kind], attributes, record_exception=False, set_status_on_exception=False
    )
    ids = span.get_span_context()
    return Trace(
        trace_id=format_trace_id(ids.trace_id),
        span_id=format_span_id(ids.span_id),
        is_sampled=span.is_recording(),
        span=OtlpSpan(tracer, span) if span.is_recording() else NO_SPAN,
    )


def _context_of(caller: Caller | None) -> Context:
    if caller is None:
        return _NOWHERE
    flags = TraceFlags(TraceFlags.SAMPLED if caller.is_sampled else TraceFlags.DEFAULT)
    ids = SpanContext(int(caller.trace_id, 16), int(caller.span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(ids), _NOWHERE)


def _sampler(settings: Settings) -> Sampler:
    name = settings.otel_traces_sampler
    root: Sampler = TraceIdRatioBased(settings.otel_traces_sampler_arg)
    if name.endswith("always_on"):
        root = ALWAYS_ON
    elif name.endswith("always_off"):
        root = ALWAYS_OFF
    return ParentBased(root) if name.startswith("parentbased_") else root


def _exporter(settings: Settings) -> SpanExporter:
    session = _Session(settings.collector_headers)
    exporter = OTLPSpanExporter(
        endpoint=settings.traces_endpoint,
        timeout=settings.otel_exporter_otlp_timeout / 1000,
        compression=Compression.NoCompression,
        session=session,
        meter_provider=NoOpMeterProvider(),
    )
    # After the exporter, which has put there what the environment names.
    session.verify = settings.otel_exporter_otlp_certificate or True
    session.cert = None
    return exporter


class _Session(requests.Session):
    """Posts to the collector by our settings alone: no proxy, no netrc, no header or key that the exporter has found in
    the environment. A redirect is a failure; the exporter would take it for a success."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.trust_env = False
        self._own = dict(headers)

    def request(  # type: ignore[override] # as the exporter calls it
        self, method: str, url: str, *, headers: Mapping[str, str], **options: Any
    ) -> requests.Response:
        sent = {name: value for name, value in headers.items() if name in _PROTOCOL_HEADERS}
        response = super().request(method, url, headers=sent | self._own, **options)
        if HTTPStatus.MULTIPLE_CHOICES <= response.status_code < HTTPStatus.BAD_REQUEST:
            raise requests.TooManyRedirects
        return response


class _Watch(SpanExporter):
    """Counts what another exporter was given and what of it was lost, and says so, once a minute. `dropped` is for the
    processor to count in."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.taken = 0
        self.dropped = 0
        self._failed = 0
        self._told = 0
        self._told_at = -_TELL_SECONDS

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._failed += len(spans)
        self.taken += len(spans)
        self._tell()
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def _tell(self) -> None:
        lost = self._failed + self.dropped
        if lost > self._told and monotonic() - self._told_at >= _TELL_SECONDS:
            logger.bind(spans=lost - self._told).warning("Spans lost: the collector did not take them")
            self._told, self._told_at = lost, monotonic()


class _Processor(BatchSpanProcessor):
    """Keeps the SDK's own queue from being full, where it would throw out the oldest and nobody knew. Spans end on one
    thread, the event loop's, and are sent on another: each number here has one writer."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__(
            watch,
            max_queue_size=_QUEUE,
            schedule_delay_millis=_EVERY_MS,
            max_export_batch_size=_BATCH,
            export_timeout_millis=0,  # the SDK has no use for it
            meter_provider=NoOpMeterProvider(),
        )
        self._watch = watch
        self._ended = 0

    def on_end(self, span: ReadableSpan) -> None:
        if self._ended - self._watch.taken >= _QUEUE:
            self._watch.dropped += 1
            return
        self._ended += 1
        super().on_end(span)
