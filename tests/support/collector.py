"""A collector of traces, as OTLP over HTTP wants it: a real server that decodes what it is sent.

`CollectorHandle.mood`: `takes`, `refuses` (503, as an overloaded one does), `redirects` (to itself, as an ingress
does that wants https), `hangs` (until the test ends).
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

Mood = Literal["takes", "refuses", "redirects", "hangs"]
_STATUS: dict[Mood, int] = {"takes": 200, "refuses": 503, "redirects": 308}


@dataclass(frozen=True)
class SeenSpan:
    """Ids in hexadecimal, times in nanoseconds since 1970; `kind` in small letters."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, object]
    events: list[str]
    is_error: bool
    began: int
    ended: int
    resource: dict[str, object] = field(repr=False)


@dataclass
class CollectorHandle:
    """`bodies` and `headers` are of every request that came, whatever became of it."""

    url: str
    mood: Mood = "takes"
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def spans(self) -> list[SeenSpan]:
        return [span for body in list(self.bodies) for span in decoded(body)]

    def of_trace(self, trace_id: str) -> list[SeenSpan]:
        return [span for span in self.spans if span.trace_id == trace_id]


def decoded(body: bytes) -> Iterator[SeenSpan]:
    request = ExportTraceServiceRequest.FromString(body)
    for of_resource in request.resource_spans:
        resource = _attributes(of_resource.resource.attributes)
        for scope in of_resource.scope_spans:
            for span in scope.spans:
                yield _seen(span, resource)


def _seen(span: Span, resource: dict[str, object]) -> SeenSpan:
    return SeenSpan(
        service=str(resource["service.name"]),
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes=_attributes(span.attributes),
        events=[event.name for event in span.events],
        is_error=span.status.code == Status.STATUS_CODE_ERROR,
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        resource=resource,
    )


def _attributes(pairs: Sequence[KeyValue]) -> dict[str, object]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "") for pair in pairs}


def _handler(handle: CollectorHandle) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            handle.paths.add(self.path)
            handle.headers.append(dict(self.headers))
            handle.bodies.append(self.rfile.read(int(self.headers["content-length"])))
            if handle.mood == "hangs":
                handle.released.wait()
                self.close_connection = True
                return
            self.send_response(_STATUS[handle.mood])
            if handle.mood == "redirects":
                self.send_header("location", f"{handle.url}/elsewhere")
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Tests look at what came, not at lines about it."""

    return Handler


@contextmanager
def running_collector(mood: Mood = "takes") -> Iterator[CollectorHandle]:
    handle = CollectorHandle(url="", mood=mood)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(handle)) as server:
        server.daemon_threads = True
        handle.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield handle
        finally:
            handle.released.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def collector() -> Iterator[CollectorHandle]:
    with running_collector() as handle:
        yield handle
