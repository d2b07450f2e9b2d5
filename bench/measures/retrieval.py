"""Retrieval at size: how fast texts come in, what is found among them, how fast, and what chat notices of it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from operator import itemgetter
from time import perf_counter

import numpy as np

from bench.contenders import closed
from bench.cpu import CpuMeter
from bench.load.job import Outcome, Target
from bench.load.runner import generate
from bench.percentiles import Summary, summarise
from bench.progress import say
from bench.queueing.processes import pid_of, running
from bench.queueing.producer import Producer, as_superuser, forget_jobs, open_producer
from bench.queueing.rounds import Rounds
from bench.retrieval.answers import fewest_rows
from bench.retrieval.chat import PER_SECOND, Chat
from bench.retrieval.filling import Ingestions, enqueue, rate
from bench.retrieval.rankings import Rankings, exact_best, recall
from bench.retrieval.resident import ResidentMemory
from bench.retrieval.statements import timed_statements
from bench.retrieval.tenants import Tenant, add_members, make_tenants, sizes
from bench.retrieval.texts import CHUNK_CHARACTERS, CHUNKS, Author
from bench.rows import Row, Verdict, at_least, at_most, failure_notes, ratio
from bench.words import json_text
from copilot_common.embedding.wordllama_adapter import WordLlamaEmbedder
from copilot_devstack.worker_server import ContextServiceServer
from copilot_domain.context import NewItem, SearchRequest
from copilot_domain.context.reembedding.embedders import Embedders
from copilot_domain.context.search.searching import ContextSearch

_RATE_LIMIT = 800.0
_MEMORY_LIMIT_MIB = 400.0
_RECALL_LIMIT = 0.98
_SQL_LIMIT_MS = 8.0
_API_LIMIT_MS = 25.0
_CHAT_LIMIT = 2.0
_KEPT_LIMIT = 0.6
_BEST = 10
_CLIENTS = 8
_API_QUESTIONS = 8_000  # a client has a thousand before its neighbour's: what was kept of a question is of no use
_FIRST_QUESTION = 10_000
_LOOKED_AT = 20  # answers of a window
_WARM_UP = 20
# The others, which take turns, are done by then: with and without chat the large tenant's texts come in.
_CHAT_BEGINS = 0.52
_ALONE_SECONDS = 10.0  # what the ingestion's rate beside chat is compared with
_MEASURED = ("small", "middle", "large")
_MIB = 1024 * 1024


@dataclass(frozen=True)
class _Filled:
    """`kept` is the ingestion's rate during chat as a share of that just before; None where it ended meanwhile.
    `cpu_ms` is what each process used altogether."""

    chunks: int
    per_second: float
    enqueue_seconds: float
    seconds: float
    kept: float | None
    rates: tuple[float, float]
    chat: Summary
    cpu_ms: Mapping[str, float]


@dataclass(frozen=True)
class _Asked:
    """`fewest` rows of some answers that were looked at, after the window."""

    outcome: Outcome
    cpu_ms: Mapping[str, float]
    fewest: int


@dataclass(frozen=True)
class _Found:
    """`fewest` rows of any ranking, by mode, and of what is shown; `recall` of vector searches, times in ms of hybrid
    ones."""

    chunks: int
    recall: float
    fewest: dict[str, int]
    sql_ms: Summary
    statements: float
    whole_ms: Summary


@dataclass(frozen=True)
class _Timed:
    """A search, `rows` of it shown."""

    sql_ms: float
    statements: int
    whole_ms: float
    rows: int


def measure(rounds: Rounds) -> list[Row]:
    say("retrieval: tenants")
    tenants = make_tenants(rounds.product, sizes(rounds.plan.chunks))
    rows = asyncio.run(_play(rounds, tenants))
    forget_jobs(rounds.product)
    return rows


async def _play(rounds: Rounds, tenants: Mapping[str, Tenant]) -> list[Row]:
    author, plan = Author(), rounds.plan
    async with open_producer(rounds.product) as producer:
        enqueued = await _enqueue(producer, author, tenants)
        with (
            running(ContextServiceServer, rounds.product) as service,
            ResidentMemory(pid_of(service)) as memory,
        ):
            pids = _pids(rounds, service)
            filled = await _fill(rounds, enqueued, CpuMeter(pids))
            say("retrieval: chat alone")
            answers = await Chat(rounds.product).talk(plan.chat_seconds)
            found = {name: await _search(rounds, producer, author, tenants[name]) for name in _MEASURED}
            callers = [(name, [tenants[name].api_key]) for name in _MEASURED]
            callers.append(("large", add_members(rounds.product, tenants["large"], _CLIENTS)))
            asked: list[list[_Asked]] = [[] for _ in callers]
            windows = count(_FIRST_QUESTION, _API_QUESTIONS)
            for _ in range(plan.rounds):
                for (name, keys), several in zip(callers, asked, strict=True):
                    several.append(await _ask(rounds, author, name, keys, next(windows), CpuMeter(pids)))
            say("retrieval: chat alone, once more")
            quiet = summarise(answers + await Chat(rounds.product).talk(plan.chat_seconds))
    rounds.keep("retrieval", "ingestion", per_second=filled.per_second)
    rounds.keep("retrieval", "chat alone", ms=quiet)
    rounds.keep("retrieval", "chat beside ingestion", ms=filled.chat)
    for name, one in found.items():
        rounds.keep("retrieval", f"SQL, {name} tenant", ms=one.sql_ms)
    return [
        _ingestion_row(filled, _disk_bytes(rounds)),
        *memory_rows(memory.alone_mib, memory.with_children_mib, memory.together_mib),
        *(row for name, one in found.items() for row in search_rows(name, one, plan.recall_questions)),
        *(
            api_row(f"{_callers(len(keys))}, p95, {name} tenant ({found[name].chunks} chunks)", several)
            for (name, keys), several in zip(callers, asked, strict=True)
        ),
        *chat_rows(quiet, filled.chat, filled.kept, filled.rates),
    ]


async def _enqueue(producer: Producer, author: Author, tenants: Mapping[str, Tenant]) -> float:
    """Everything waits when the service starts, so that it is saturated from then on. Returns seconds."""
    began, seed = perf_counter(), 0
    for tenant in tenants.values():
        say(f"retrieval: some {tenant.chunks} chunks of {tenant.slug} are enqueued")
        items = []
        for first in range(0, tenant.chunks, CHUNKS):
            seed += 1
            characters = min(CHUNKS, tenant.chunks - first) * CHUNK_CHARACTERS
            items.append(NewItem(name=f"document {seed}", type="text", content=author.document(seed, characters)))
            if len(items) == 100:  # what waits in memory
                await enqueue(producer, tenant.principal, items)
                items = []
        await enqueue(producer, tenant.principal, items)
    return perf_counter() - began


async def _fill(rounds: Rounds, enqueue_seconds: float, meter: CpuMeter) -> _Filled:
    """The rate is that of all but the time of the chat."""
    seconds, wanted = rounds.plan.chat_seconds, rounds.plan.chunks
    with Ingestions(rounds.product) as ingestions:
        first = await ingestions.until("retrieval", chunks=1)
        before = await ingestions.until("retrieval", chunks=int(wanted * _CHAT_BEGINS))
        await asyncio.sleep(min(seconds, _ALONE_SECONDS))
        begin = await asyncio.to_thread(ingestions.look)
        say("retrieval: chat beside the ingestion")
        chat = await Chat(rounds.product).talk(seconds)
        end = await asyncio.to_thread(ingestions.look)
        last = await ingestions.until("retrieval")
    alone, beside = rate(before, begin), rate(begin, end)
    quiet_chunks = (begin.chunks - first.chunks) + (last.chunks - end.chunks)
    quiet_seconds = (begin.at - first.at) + (last.at - end.at)
    return _Filled(
        chunks=last.chunks,
        per_second=quiet_chunks / max(quiet_seconds, 1e-9),
        enqueue_seconds=enqueue_seconds,
        seconds=last.at - first.at,
        kept=beside / alone if end.left and alone else None,
        rates=(alone, beside),
        chat=summarise(chat),
        cpu_ms=meter.ms_since_start(),
    )


async def _search(rounds: Rounds, producer: Producer, author: Author, tenant: Tenant) -> _Found:
    say(f"retrieval: searches of the {tenant.slug} tenant")
    embedder, plan = WordLlamaEmbedder(), rounds.plan
    await embedder.load()
    questions = [author.question(seed) for seed in range(plan.recall_questions)]
    rankings = Rankings(producer.db, embedder)
    ranked = {
        mode: [await rankings.rank(tenant.principal, SearchRequest(query=one, mode=mode)) for one in questions]
        for mode in ("vector", "hybrid")
    }
    vectors = np.stack(list((await embedder.embed(questions, purpose="query")).vectors))
    exact = await asyncio.to_thread(exact_best, rounds.product, tenant.principal, embedder.spec.name, vectors, _BEST)
    timed = await _time(producer, embedder, author, tenant, plan.sql_searches)
    return _Found(
        chunks=_chunk_count(rounds, tenant),
        recall=recall(ranked["vector"], exact),
        fewest={mode: min(len(one) for one in several) for mode, several in ranked.items()}
        | {"shown": min(one.rows for one in timed)},
        sql_ms=summarise([one.sql_ms for one in timed]),
        statements=sum(one.statements for one in timed) / len(timed),
        whole_ms=summarise([one.whole_ms for one in timed]),
    )


async def _time(
    producer: Producer, embedder: WordLlamaEmbedder, author: Author, tenant: Tenant, count: int
) -> list[_Timed]:
    search, timed = ContextSearch(producer.db, Embedders(embedder)), []
    with timed_statements() as clock:
        for number in range(-_WARM_UP, count):
            clock.reset()
            began = perf_counter()
            found = await search.search(tenant.principal, SearchRequest(query=author.question(1_000 + number)))
            whole_ms = (perf_counter() - began) * 1000
            if number >= 0:
                timed.append(_Timed(clock.seconds * 1000, clock.count, whole_ms, len(found.results)))
    slowest, seconds = max(clock.by_statement.items(), key=itemgetter(1))
    say(f"retrieval: {seconds / (count + _WARM_UP) * 1000:.1f} ms of each for {slowest}")
    return timed


async def _ask(rounds: Rounds, author: Author, tenant: str, keys: Sequence[str], first: int, meter: CpuMeter) -> _Asked:
    """`first`: the number of its first question; none comes twice in a run."""
    say(f"retrieval: searches of the {tenant} tenant through the API, {_callers(len(keys))}")
    bodies = [json_text({"query": author.question(number)}) for number in range(first, first + _API_QUESTIONS)]
    target = Target(
        host="127.0.0.1",
        port=rounds.product.api.port,
        path="/api/v1/context/search",
        headers={},
        bodies=bodies,
        turns=len(bodies),
        is_spread=True,
        headers_each=[{"X-API-Key": key} for key in keys],
    )
    job = closed(target, clients=_CLIENTS, seconds=rounds.plan.api_seconds, plan=rounds.plan)
    outcome = await asyncio.to_thread(generate, job)
    cpu_ms = meter.ms_since_start()
    fewest = await asyncio.to_thread(fewest_rows, target.port, keys[0], [body.encode() for body in bodies[:_LOOKED_AT]])
    return _Asked(outcome, cpu_ms, fewest)


def _pids(rounds: Rounds, service: ContextServiceServer) -> dict[str, int | None]:
    stores = rounds.product.stores
    return {
        "context service": pid_of(service),
        "postgres": stores.postgres.pid,
        "api": rounds.product.pid,
        "redis": stores.redis.pid,
    }


def _cpu_each(cpu_ms: Mapping[str, float], count: int) -> str:
    """Unlike a rate it hardly depends on what else the machine does."""
    return ", ".join(f"{name} {ms / max(count, 1):.2f}" for name, ms in cpu_ms.items())


def _chunk_count(rounds: Rounds, tenant: Tenant) -> int:
    query = "SELECT count(*) FROM context_chunks WHERE tenant_id = %s"
    return int(str(as_superuser(rounds.product, query, tenant.principal.tenant_id)[0][0]))


def _disk_bytes(rounds: Rounds) -> dict[str, int]:
    query = (
        "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
        "WHERE relkind IN ('r', 'p') AND (relname LIKE 'context%%' OR relname LIKE 'blob%%') ORDER BY 2 DESC"
    )
    return {str(name): int(str(size)) for name, size in as_superuser(rounds.product, query)}


def _ingestion_row(filled: _Filled, disk: Mapping[str, int]) -> Row:
    total = sum(disk.values())
    largest = ", ".join(f"{name} {size / _MIB:.0f}" for name, size in list(disk.items())[:5])
    return Row(
        name="ingestion of plain text",
        target=f"≥ {_RATE_LIMIT:g} chunks/s",
        measured=f"{filled.per_second:.0f} chunks/s",
        verdict=at_least(filled.per_second, _RATE_LIMIT),
        notes=[
            f"{filled.chunks} chunks of {len(sizes(filled.chunks))} tenants, documents of some {CHUNKS}; from the "
            f"first to the last that is found {filled.seconds:.0f} s, less those of the chat; made and enqueued before "
            f"in {filled.enqueue_seconds:.0f} s",
            f"CPU ms a chunk, children and chat included: {_cpu_each(filled.cpu_ms, filled.chunks)}",
            f"on disk {total / _MIB:.0f} MiB, {total / max(filled.chunks, 1) / 1024:.1f} KiB a chunk: {largest}",
        ],
    )


def memory_rows(alone_mib: float, with_children_mib: float, together_mib: float) -> list[Row]:
    values = {
        "context service, RSS at most": alone_mib,
        "the same with its children": with_children_mib,
        "the same, what they share by parts (PSS)": together_mib,
    }
    return [
        Row(
            name=name,
            target=f"≤ {_MEMORY_LIMIT_MIB:g} MiB",
            measured=f"{mib:.0f} MiB",
            verdict=at_most(mib, _MEMORY_LIMIT_MIB),
            notes=[
                "the highest that the kernel has seen (VmHWM); with its children looked at every 5 s, from the first on"
            ]
            if mib == alone_mib
            else [],
        )
        for name, mib in values.items()
    ]


def search_rows(name: str, found: _Found, questions: int) -> list[Row]:
    what, fewest = f"{name} tenant ({found.chunks} chunks)", min(found.fewest.values())
    is_whole = fewest >= min(_BEST, found.chunks)
    verdict: Verdict = at_least(found.recall, _RECALL_LIMIT) if is_whole else "MISSED"
    sql = found.sql_ms
    return [
        Row(
            name=f"recall@{_BEST}, {what}",
            target=f"≥ {_RECALL_LIMIT:g}, {_BEST} rows",
            measured=f"{found.recall:.3f}, {fewest} rows",
            verdict=verdict,
            notes=[
                f"{questions} questions, vector searches' rankings before passages are assembled against all vectors "
                f"compared; fewest rows of rankings and of what is shown (10 were asked for): "
                f"{', '.join(f'{what} {count}' for what, count in found.fewest.items())}"
            ],
        ),
        Row(
            name=f"search in SQL, p95, {what}",
            target=f"≤ {_SQL_LIMIT_MS:g} ms",
            measured=f"{found.sql_ms.p95:.2f} ms",
            verdict=at_most(found.sql_ms.p95, _SQL_LIMIT_MS),
            notes=[
                f"sum of {found.statements:.1f} statements, each from its sending to its last row, BEGIN and COMMIT "
                f"included; {sql.count} hybrid searches one by one: p50 {sql.p50:.2f}, p99 {sql.p99:.2f} ms; the whole "
                f"search in that process p95 {found.whole_ms.p95:.2f} ms"
            ],
        ),
    ]


def _callers(keys: int) -> str:
    return f"{_CLIENTS} clients with one key" if keys == 1 else f"{_CLIENTS} clients of {keys} users"


def api_row(what: str, asked: Sequence[_Asked]) -> Row:
    """The median of the rounds. MISSED, however fast, where a request failed or an answer had too few rows."""
    several = sorted((one.outcome for one in asked), key=lambda outcome: outcome.latency_ms.p95)
    outcome = several[len(several) // 2]
    latency, p95s = outcome.latency_ms, ", ".join(f"{one.outcome.latency_ms.p95:.1f}" for one in asked)
    cpu_ms = {process: sum(one.cpu_ms[process] for one in asked) for process in asked[0].cpu_ms}
    fewest = min(one.fewest for one in asked)
    is_whole = fewest >= _BEST and not any(one.failures for one in several)
    return Row(
        name=f"search over HTTP, {what}",
        target=f"≤ {_API_LIMIT_MS:g} ms",
        measured=f"{latency.p95:.1f} ms",
        verdict=at_most(latency.p95, _API_LIMIT_MS) if is_whole else "MISSED",
        notes=[
            f"closed loop, tenants by turns: p95 {p95s} ms; of the median {outcome.per_second:.0f} searches/s, p50 "
            f"{latency.p50:.1f}, p99 {latency.p99:.1f} ms; the generator used {outcome.cpu_share:.0%} of a core",
            f"CPU ms a search: {_cpu_each(cpu_ms, sum(one.requests for one in several))}; fewest rows of "
            f"{len(asked) * _LOOKED_AT} answers: {fewest}",
            *failure_notes({what: several}),
        ],
    )


def chat_rows(quiet: Summary, busy: Summary, kept: float | None, rates: tuple[float, float]) -> list[Row]:
    """`kept` None: the ingestion ended before the chat did."""
    times = ratio(busy.p99, quiet.p99) or 0.0
    alone, beside = rates
    return [
        Row(
            name="chat p99 beside saturating ingestion",
            target=f"≤ {_CHAT_LIMIT:g} ×",
            measured=f"{times:.2f} ×",
            verdict="not measured" if kept is None else at_most(times, _CHAT_LIMIT),
            notes=[
                f"{busy.count} plain messages at {PER_SECOND} a second beside it, {quiet.count} without, half at "
                f"the end: p50 {quiet.p50:.1f} → {busy.p50:.1f}, p99 {quiet.p99:.1f} → {busy.p99:.1f} ms"
            ],
        ),
        Row(
            name="ingestion beside chat",
            target=f"≥ {_KEPT_LIMIT:.0%} of its rate",
            measured="it ended before" if kept is None else f"{kept:.0%}",
            verdict="not measured" if kept is None else at_least(kept, _KEPT_LIMIT),
            notes=[f"{alone:.0f} chunks/s just before, {beside:.0f} beside the chat"],
        ),
    ]
