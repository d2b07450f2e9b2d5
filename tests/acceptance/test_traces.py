"""Traces as a collector gets them: of three real processes, of failures, and of none where the collector is no good."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from copilot_devstack.ports import free_port
from copilot_devstack.processes import wait_until
from support.api import ApiProcess, Site, StartApi, wait_ready
from support.background import add_item, ask_later, ended_message, ready_item
from support.clients import Client, eventually
from support.collector import CollectorHandle, SeenSpan, running_collector
from support.runs import define, ended, start, step
from support.simulator import scripted
from support.workers import CONTEXT, ENGINE, WorkerProcess, Workers
from support.workers import wait_ready as wait_workers

CALLER = "00f067aa0ba902b7"
CANARY = "zebra-{}-quagga"
TOKEN = "collector-token-17"
LOST = "Spans lost: the collector did not take them"
MESSAGES = "/api/v1/conversations/{conversation_id}/messages"


@dataclass
class Stack:
    api: ApiProcess
    workers: list[WorkerProcess]

    @property
    def processes(self) -> list[ApiProcess | WorkerProcess]:
        return [self.api, *self.workers]

    def end(self) -> None:
        """As Kubernetes ends pods: what each has seen is sent by then."""
        self.api.send(signal.SIGTERM)
        for worker in self.workers:
            worker.terminate()
        for process in self.processes:
            assert wait_until(lambda process=process: process.exit_code is not None, 30), "it did not end"  # type: ignore[misc]
            assert process.exit_code == 0

    @property
    def log_lines(self) -> list[dict[str, Any]]:
        return [line for process in self.processes for line in process.log_lines]


def start_stack(environ: dict[str, str], start_api: StartApi, workers: Workers) -> Stack:
    started = [workers(environ, command, ready=False) for command in (CONTEXT, ENGINE)]
    stack = Stack(start_api(environ), started)
    wait_workers(*started)
    return stack


class Trace:
    """The spans of one trace, found by what they are."""

    def __init__(self, spans: Sequence[SeenSpan]) -> None:
        self.spans = {span.span_id: span for span in spans}
        assert len(self.spans) == len(spans), "a span was sent twice"

    def one(self, name: str, attributes: dict[str, object] | None = None, *, under: SeenSpan | None = None) -> SeenSpan:
        found = [
            span
            for span in self.spans.values()
            if span.name == name and (under is None or span.parent_id == under.span_id)
        ]
        assert len(found) == 1, (name, [(span.name, span.kind, span.service) for span in self.spans.values()])
        wanted = attributes or {}
        assert {each: found[0].attributes.get(each) for each in wanted} == wanted
        return found[0]

    def parent(self, span: SeenSpan) -> SeenSpan:
        return self.spans[span.parent_id]


async def work(client: Client) -> None:
    """An item is ingested, an answer is drawn from it, another is made in the background, a workflow asks a model."""
    item = await add_item(client, f"The Heron lamp is lit at the harbour wall. {CANARY.format('item')}", "heron.md")
    assert (await ready_item(client, item))["status"] == "ready"
    conversation = await client.conversation(title=CANARY.format("title"))
    model = f"openai/{scripted('tokens=5')[0]}"
    question = f"Which lamp is lit at the harbour wall? {CANARY.format('question')}"
    await client.stream(conversation, question, model=model, context={"search": True})
    await ended_message(client, conversation, await ask_later(client, conversation))
    asks = step("zebra_step", "llm", {"prompt": CANARY.format("prompt"), "model": model})
    await ended(client, await start(client, await define(client, asks)))
    await client.call("GET", f"/nowhere/{CANARY.format('path')}?q={CANARY.format('query')}")


async def test_an_ingestion_a_chat_with_search_and_a_run_are_one_trace_across_three_processes(
    site: Site, start_api: StartApi, workers: Workers, collector: CollectorHandle
) -> None:
    environ = site.environ(
        otel_exporter_otlp_endpoint=collector.url,
        otel_exporter_otlp_headers=f"authorization=Bearer%20{TOKEN}",
        otel_resource_attributes="deployment.environment.name=test",
    )
    stack, trace_id = start_stack(environ, start_api, workers), uuid4().hex
    async with stack.api.client(site.acme, traceparent=f"00-{trace_id}-{CALLER}-01") as client:
        await work(client)
    stack.end()

    trace = Trace(collector.of_trace(trace_id))
    check_chat(trace)
    check_jobs(trace)
    check_edges(trace)
    check_logs(stack, trace, trace_id)
    tenants = {span.attributes.get("copilot.tenant_id") for span in trace.spans.values() if span.kind == "server"}
    assert tenants == {site.acme.tenant_id, None}  # of nobody: what no route took
    check_what_was_sent(stack, site, collector)


def check_chat(trace: Trace) -> None:
    """From the request through the queue and back, and to the provider."""
    request = trace.one(f"POST {MESSAGES}/stream", {"http.response.status_code": 200, "http.request.method": "POST"})
    assert (request.service, request.kind, request.parent_id) == ("api-server", "server", CALLER)
    asks = trace.one("context.search", under=request)
    answers = trace.one("context.search", under=asks)
    embeds = trace.one("embeddings wordllama-256", {"gen_ai.provider.name": "local"}, under=answers)
    assert (asks.service, asks.kind) == ("api-server", "client")
    assert (answers.service, answers.kind) == ("context-service", "server")
    assert (embeds.service, embeds.kind) == ("context-service", "client")
    chat = trace.one("chat other", {"gen_ai.provider.name": "openai", "gen_ai.usage.output_tokens": 5}, under=request)
    assert (chat.kind, chat.events) == ("client", ["first token"])
    assert request.ended >= chat.ended > chat.began >= request.began


def check_jobs(trace: Trace) -> None:
    """Each under the request that asked for it, in the process that did it."""
    ingests = trace.one("process context.ingest", {"copilot.job.outcome": "completed", "copilot.job.attempt": 1})
    assert (ingests.service, ingests.kind) == ("context-service", "consumer")
    assert trace.parent(ingests).name == "POST /api/v1/context"
    trace.one("embeddings wordllama-256", under=ingests)
    generates = trace.one("process message.generate", {"messaging.destination.name": "workflow"})
    assert generates.service == "workflow-engine"
    assert trace.parent(generates).name == f"POST {MESSAGES}"
    trace.one("chat other", under=generates)
    leads = trace.one("process run.advance")
    assert trace.parent(leads).name == "POST /api/v1/workflows/runs"
    does = trace.one("step llm", {"copilot.step.type": "llm"}, under=leads)
    assert does.kind == "internal"
    trace.one("chat other", under=does)


def check_edges(trace: Trace) -> None:
    assert not [span for span in trace.spans.values() if span.is_error]
    assert trace.one("HTTP").attributes == {"http.request.method": "GET", "http.response.status_code": 404}
    strays = [span.name for span in trace.spans.values() if span.parent_id not in trace.spans and span.kind != "server"]
    assert strays == []
    assert not [span.name for span in trace.spans.values() if "health" in span.name]


def check_logs(stack: Stack, trace: Trace, trace_id: str) -> None:
    """Every line of the trace is within one of its spans; every request's line within the request's own."""
    lines = [line for line in stack.log_lines if line["trace_id"] == trace_id]
    assert {line["span_id"] for line in lines} <= trace.spans.keys()
    completed = [line for line in lines if line["message"] == "Request completed"]
    requests = [span for span in trace.spans.values() if span.kind == "server" and span.service == "api-server"]
    assert {line["span_id"] for line in completed} == {span.span_id for span in requests}


def check_what_was_sent(stack: Stack, site: Site, collector: CollectorHandle) -> None:
    """By the standard's form, with whose process it is, and without what was written or is secret."""
    assert collector.paths == {"/v1/traces"}
    assert {headers["authorization"] for headers in collector.headers} == {f"Bearer {TOKEN}"}
    resources = {span.service: span.resource for span in collector.spans}
    assert resources.keys() == {"api-server", "context-service", "workflow-engine"}
    assert {each["deployment.environment.name"] for each in resources.values()} == {"test"}
    assert resources["workflow-engine"]["service.instance.id"] == stack.workers[1].process_id
    logs = b"".join(process.log_path.read_bytes() for process in stack.processes)
    for text in ("zebra", "quagga", "Heron", "heron.md", "harbour", "word0", site.acme.api_key, site.acme.user_id):
        assert not [body for body in collector.bodies if text.encode() in body], text
    assert TOKEN.encode() not in logs


async def test_what_fails_is_an_error_of_its_span_and_of_those_that_fail_with_it(
    site: Site, start_api: StartApi, workers: Workers, collector: CollectorHandle
) -> None:
    environ = site.environ(otel_exporter_otlp_traces_endpoint=f"{collector.url}/of/ours", max_retries=0)
    engine, api, trace_id = workers(environ, ready=False), start_api(environ), uuid4().hex
    wait_workers(engine)
    async with api.client(site.acme, traceparent=f"00-{trace_id}-{CALLER}-01") as client:
        conversation = await client.conversation()
        assert (await client.ask(conversation, model=f"openai/{scripted('fault=status')[0]}")).status_code == 502
        unknown = step("a", "transform", {"set": {"x": "inputs.nothing"}})
        await ended(client, await start(client, await define(client, unknown)))
        await client.call("GET", f"/conversations/{uuid4()}")
    Stack(api, [engine]).end()

    trace = Trace(collector.of_trace(trace_id))
    assert collector.paths == {"/of/ours"}
    request = trace.one(f"POST {MESSAGES}", {"error.type": "502"})
    failed = [request, trace.one("chat other", {"error.type": "500"}, under=request)]
    failed.append(trace.one("step transform", {"error.type": "EXPRESSION_FAILED"}))
    assert all(span.is_error for span in failed)
    assert {span.span_id for span in trace.spans.values() if span.is_error} == {span.span_id for span in failed}
    assert trace.one("GET /api/v1/conversations/{conversation_id}").attributes["http.response.status_code"] == 404


async def test_a_collector_that_is_away_refuses_or_hangs_harms_neither_requests_nor_the_end(
    site: Site, start_api: StartApi
) -> None:
    with running_collector("refuses") as refusing, running_collector("hangs") as hanging:
        given = [(f"http://127.0.0.1:{free_port()}", 1_000), (refusing.url, 1_000), (hanging.url, 60_000)]
        apis = [start_api(impaired(site, url, timeout_ms), ready=False) for url, timeout_ms in given]

        async def was_sent() -> bool:
            return bool(refusing.bodies and hanging.bodies)

        for api in apis:
            wait_ready(api)
            async with api.client(site.acme) as client:
                conversation = await client.conversation()
                for _ in range(20):
                    assert (await client.ask(conversation, model=f"openai/{scripted('tokens=1')[0]}")).is_success
        await eventually(was_sent, what="a batch at each collector")
        for api, (_, timeout_ms) in zip(apis, given, strict=True):
            lines = int(timeout_ms == 1_000)  # the other one waits yet
            await eventually(lambda api=api, lines=lines: told(api, lines), what="what is told")  # type: ignore[misc]
            async with api.client(site.acme) as client:
                await client.conversation()
            api.send(signal.SIGTERM)
        for api in apis:
            # Less than the 30 seconds that the SDK would take.
            assert wait_until(lambda api=api: api.exit_code is not None, 20), "it did not end"  # type: ignore[misc]
            assert api.exit_code == 0
            warnings = {line["message"] for line in api.log_lines if line["level"] != "info"}
            assert warnings <= {LOST, "Last spans not sent"}
        assert refusing.bodies
        assert hanging.bodies


def impaired(site: Site, url: str, timeout_ms: int) -> dict[str, str]:
    return site.environ(otel_exporter_otlp_endpoint=url, otel_exporter_otlp_timeout=timeout_ms, drain_seconds=5)


async def told(api: ApiProcess, count: int) -> bool:
    """One line in the first minute, however many batches were lost."""
    return [line["message"] for line in api.log_lines].count(LOST) == count


async def test_without_a_collector_ids_are_as_before(site: Site, start_api: StartApi) -> None:
    api, trace_id = start_api(site.environ()), uuid4().hex
    async with api.client(site.acme, traceparent=f"00-{trace_id}-{CALLER}-00") as client:
        await ask_later(client, await client.conversation())
    rows = site.rows("SELECT traceparent FROM jobs WHERE kind LIKE '%%generate%%'")
    assert [row[0][:36] + row[0][-3:] for row in rows] == [f"00-{trace_id}--00"]
