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
from bench.load.job import Target
from bench.load.runner import generate
from bench.percentiles import summarise
from bench.progress import say
from bench.queueing.processes import pid_of, running
from bench.queueing.producer import Producer, as_superuser, forget_jobs, open_producer
from bench.queueing.rounds import Rounds
from bench.retrieval.answers import fewest_rows
from bench.retrieval.chat import Chat
from bench.retrieval.filling import Ingestions, enqueue, rate
from bench.retrieval.findings import (
    BEST,
    CLIENTS,
    LOOKED_AT,
    Asked,
    Filled,
    Found,
    api_row,
    chat_rows,
    ingestion_row,
    memory_rows,
    name_callers,
    search_rows,
)
from bench.retrieval.rankings import Rankings, exact_best, recall
from bench.retrieval.resident import ResidentMemory
from bench.retrieval.statements import timed_statements
from bench.retrieval.tenants import Tenant, add_members, make_tenants, sizes
from bench.retrieval.texts import CHUNK_CHARACTERS, CHUNKS, Author
from bench.rows import Row
from bench.words import json_text
from copilot_common.embedding.wordllama_adapter import WordLlamaEmbedder
from copilot_devstack.worker_server import ContextServiceServer
from copilot_domain.context import NewItem, SearchRequest
from copilot_domain.context.reembedding.embedders import Embedders
from copilot_domain.context.search.searching import ContextSearch

_API_QUESTIONS = 8_000  # a client has a thousand before its neighbour's: what was kept of a question is of no use
_FIRST_QUESTION = 10_000
_WARM_UP = 20
# The others, which take turns, are done by then: with and without chat the large tenant's texts come in.
_CHAT_BEGINS = 0.52
_ALONE_SECONDS = 10.0  # what the ingestion's rate beside chat is compared with
_MEASURED = ("small", "middle", "large")


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
            callers.append(("large", add_members(rounds.product, tenants["large"], CLIENTS)))
            asked: list[list[Asked]] = [[] for _ in callers]
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
        ingestion_row(filled, _disk_bytes(rounds)),
        *memory_rows(memory.alone_mib, memory.with_children_mib, memory.together_mib),
        *(row for name, one in found.items() for row in search_rows(name, one, plan.recall_questions)),
        *(
            api_row(f"{name_callers(len(keys))}, p95, {name} tenant ({found[name].chunks} chunks)", several)
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


async def _fill(rounds: Rounds, enqueue_seconds: float, meter: CpuMeter) -> Filled:
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
    return Filled(
        chunks=last.chunks,
        per_second=quiet_chunks / max(quiet_seconds, 1e-9),
        enqueue_seconds=enqueue_seconds,
        seconds=last.at - first.at,
        kept=beside / alone if end.left and alone else None,
        rates=(alone, beside),
        chat=summarise(chat),
        cpu_ms=meter.ms_since_start(),
    )


async def _search(rounds: Rounds, producer: Producer, author: Author, tenant: Tenant) -> Found:
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
    exact = await asyncio.to_thread(exact_best, rounds.product, tenant.principal, embedder.spec.name, vectors, BEST)
    timed = await _time(producer, embedder, author, tenant, plan.sql_searches)
    return Found(
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


async def _ask(rounds: Rounds, author: Author, tenant: str, keys: Sequence[str], first: int, meter: CpuMeter) -> Asked:
    """`first`: the number of its first question; none comes twice in a run."""
    say(f"retrieval: searches of the {tenant} tenant through the API, {name_callers(len(keys))}")
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
    job = closed(target, clients=CLIENTS, seconds=rounds.plan.api_seconds, plan=rounds.plan)
    outcome = await asyncio.to_thread(generate, job)
    cpu_ms = meter.ms_since_start()
    fewest = await asyncio.to_thread(fewest_rows, target.port, keys[0], [body.encode() for body in bodies[:LOOKED_AT]])
    return Asked(outcome, cpu_ms, fewest)


def _pids(rounds: Rounds, service: ContextServiceServer) -> dict[str, int | None]:
    stores = rounds.product.stores
    return {
        "context service": pid_of(service),
        "postgres": stores.postgres.pid,
        "api": rounds.product.pid,
        "redis": stores.redis.pid,
    }


def _chunk_count(rounds: Rounds, tenant: Tenant) -> int:
    query = "SELECT count(*) FROM context_chunks WHERE tenant_id = %s"
    return int(str(as_superuser(rounds.product, query, tenant.principal.tenant_id)[0][0]))


def _disk_bytes(rounds: Rounds) -> dict[str, int]:
    query = (
        "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
        "WHERE relkind IN ('r', 'p') AND (relname LIKE 'context%%' OR relname LIKE 'blob%%') ORDER BY 2 DESC"
    )
    return {str(name): int(str(size)) for name, size in as_superuser(rounds.product, query)}
