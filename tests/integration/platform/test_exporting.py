"""The tracer against real collectors: what it samples, what it keeps, what it gives up, and that it ends."""

import asyncio
import io
from collections.abc import Iterator

import msgspec
import pytest
from loguru import logger

from copilot_common.platform.logs import configure_logs
from copilot_common.platform.settings import Settings, load_settings
from copilot_common.platform.trace import NO_SPAN, Trace, begin_trace, span
from copilot_common.platform.tracing.factory import build_tracer
from copilot_common.platform.tracing.otlp import _QUEUE, OtlpTracer
from support.clients import eventually
from support.collector import CollectorHandle, collector, running_collector

__all__ = ["collector"]

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def settings(collector: CollectorHandle, **more: object) -> Settings:
    given = {
        "database_url": "postgresql://copilot_app@127.0.0.1:1/nowhere",
        "redis_url": "redis://127.0.0.1:1/0",
        "jwt_secret": "Zk3vT9pQw8rYbN5mXc7LhD2sFgJ6aEuR",
        "encryption_key": bytes(range(7, 39)).hex(),
        "otel_exporter_otlp_endpoint": collector.url,
        "otel_exporter_otlp_timeout": 300,
        **more,
    }
    return load_settings({name.upper(): str(value) for name, value in given.items()})


def tracer_of(collector: CollectorHandle, **more: object) -> OtlpTracer:
    tracer = build_tracer(settings(collector, **more), service="api-server", version="1.0.0", instance="one")
    assert isinstance(tracer, OtlpTracer)
    return tracer


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logs("api-server", level="debug", stream=stream)
    yield stream
    logger.remove()


def messages(log: io.StringIO) -> list[str]:
    return [msgspec.json.decode(line)["message"] for line in log.getvalue().splitlines()]


def begun(tracer: OtlpTracer, flags: str | None) -> Trace:
    return begin_trace(None if flags is None else f"00-{TRACE}-{SPAN}-{flags}", tracer, "work", "server")


@pytest.mark.parametrize(
    ("sampler", "share", "expected"),
    [  # of a trace that begins here, of one that its caller records, of one that it doesn't
        ("parentbased_always_on", 0, (True, True, False)),
        ("parentbased_always_off", 1, (False, True, False)),
        ("parentbased_traceidratio", 0, (False, True, False)),
        ("parentbased_traceidratio", 1, (True, True, False)),
        ("traceidratio", 0, (False, False, False)),
        ("always_on", 0, (True, True, True)),
        ("always_off", 1, (False, False, False)),
    ],
)
async def test_a_sampler_decides_and_jobs_are_told(
    collector: CollectorHandle, sampler: str, share: float, expected: tuple[bool, bool, bool]
) -> None:
    tracer = tracer_of(collector, otel_traces_sampler=sampler, otel_traces_sampler_arg=share)
    for flags, is_sampled in zip((None, "01", "00"), expected, strict=True):
        trace = begun(tracer, flags)
        assert trace.traceparent.endswith("-01" if is_sampled else "-00")
        assert (trace.span is not NO_SPAN) == is_sampled
        with span("part", "client", {}) as part:
            assert (part is not NO_SPAN) == is_sampled
        trace.span.end()
    await tracer.stop()
    assert len(collector.spans) == 2 * sum(expected)


async def test_ids_of_a_trace_are_those_of_its_span_and_the_caller_is_its_parent(collector: CollectorHandle) -> None:
    tracer = tracer_of(collector, otel_resource_attributes="a=b,service.name=any")
    trace = begun(tracer, "01")
    with span("part", "client", {"gen_ai.request.model": "m"}) as part:
        part.note("first token")
        part.fail("429")
    trace.span.rename("GET /x")
    trace.span.end()
    await tracer.stop()
    child, parent = sorted(collector.spans, key=lambda seen: seen.kind)
    assert (parent.trace_id, parent.span_id, parent.parent_id) == (TRACE, trace.span_id, SPAN)
    assert (child.trace_id, child.parent_id, child.name) == (TRACE, trace.span_id, "part")
    assert child.attributes == {"gen_ai.request.model": "m", "error.type": "429"}
    assert (child.events, child.is_error) == (["first token"], True)
    assert (parent.name, parent.kind, parent.is_error) == ("GET /x", "server", False)
    assert parent.resource == {
        "service.name": "api-server", "service.version": "1.0.0", "service.instance.id": "one", "a": "b",
    }  # fmt: skip


async def test_more_than_the_queue_holds_is_lost_counted_and_told_once(
    collector: CollectorHandle, log: io.StringIO
) -> None:
    collector.mood = "hangs"
    tracer = tracer_of(collector, otel_exporter_otlp_timeout=60_000)
    for _ in range(_QUEUE + 1_000):
        begun(tracer, None).span.end()
    collector.mood = "takes"
    collector.released.set()

    async def told() -> bool:
        return bool(messages(log))

    await eventually(told, what="a line about lost spans")
    await tracer.stop()
    (line,) = [msgspec.json.decode(line) for line in log.getvalue().splitlines()]
    assert (line["message"], line["spans"]) == ("Spans lost: the collector did not take them", 1_000)
    assert len({seen.span_id for seen in collector.spans}) == _QUEUE


async def test_the_end_does_not_wait_for_a_collector_that_does_not_answer(log: io.StringIO) -> None:
    with running_collector("refuses") as refusing, running_collector("hangs") as hanging:
        tracers = [tracer_of(each, otel_exporter_otlp_timeout=60_000) for each in (refusing, hanging)]
        for tracer in tracers:
            begun(tracer, None).span.end()
        async with asyncio.timeout(10):  # the promise is five seconds
            await asyncio.gather(*(tracer.stop() for tracer in tracers))
    assert messages(log) == ["Last spans not sent"] * 2


async def test_what_ends_after_the_end_is_lost_without_a_word(collector: CollectorHandle, log: io.StringIO) -> None:
    tracer = tracer_of(collector)
    late = begun(tracer, None)
    await tracer.stop()
    late.span.end()
    late.span.end()
    late.span.fail("late")
    assert messages(log) == []
    assert collector.bodies == []


async def test_a_collector_that_redirects_has_taken_nothing(collector: CollectorHandle, log: io.StringIO) -> None:
    collector.mood = "redirects"
    tracer = tracer_of(collector)
    begun(tracer, None).span.end()
    await tracer.stop()
    assert messages(log) == ["Spans lost: the collector did not take them"]
    assert collector.paths == {"/v1/traces"}


_NONSENSE = [
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_TRACES_SAMPLER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
]


async def test_the_environment_does_not_reach_past_the_settings(
    collector: CollectorHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK would read them by itself, and end the process for some of them."""
    for name in _NONSENSE:
        monkeypatch.setenv(name, "nonsense")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-from=elsewhere")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    tracer = tracer_of(collector, otel_exporter_otlp_headers="x-key=ours")
    begun(tracer, None).span.end()
    await tracer.stop()
    assert [seen.name for seen in collector.spans] == ["work"]
    (headers,) = [{name.lower(): value for name, value in sent.items()} for sent in collector.headers]
    assert headers["x-key"] == "ours"
    assert "x-from" not in headers
