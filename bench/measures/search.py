"""What it costs a process without an embedder to have the context service search, over the queue."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from statistics import median
from time import perf_counter

from bench.percentiles import Summary, summarise
from bench.queueing.processes import running
from bench.queueing.producer import Producer, as_superuser, forget_jobs, open_producer, until_ended
from bench.queueing.rounds import Rounds
from bench.rows import Row, at_most, spread
from copilot_common.base.ids import ProcessId, new_id
from copilot_common.blobs import PostgresBlobStore
from copilot_common.embedding.wordllama_adapter import WordLlamaEmbedder
from copilot_common.platform.redis import connect_redis
from copilot_common.queue.requests import RequestClient
from copilot_devstack.worker_server import ContextServiceServer
from copilot_domain.context import ContextRepository, ContextService, NewItem, SearchRequest
from copilot_domain.context.asking import SearchClient
from copilot_domain.context.jobs import INGEST_ITEM
from copilot_domain.context.reembedding.embedders import Embedders
from copilot_domain.context.search.searching import ContextSearch

_LIMIT_MS = 6.0
_WORDS = [f"{first}{second}" for first in ("ka", "lo", "mi", "ne", "pu", "ra", "so", "ti") for second in "bdfgklmnprst"]
_DOCUMENT_WORDS = 900  # some five chunks
_QUERY_WORDS = 4
_WARM_UP = 10
_PATIENCE_SECONDS = 10.0
_INGEST_SECONDS = 60.0

Search = Callable[[SearchRequest], Awaitable[object]]


def measure(rounds: Rounds) -> list[Row]:
    times, chunks = asyncio.run(_play(rounds))
    forget_jobs(rounds.product)
    return [row(times, chunks=chunks, searches=rounds.plan.searches)]


def row(times: dict[str, list[Summary]], *, chunks: int, searches: int) -> Row:
    added = [asked.p50 - direct.p50 for asked, direct in zip(times["asked"], times["direct"], strict=True)]
    ours = median(added)
    names = {"asked": "over the queue", "direct": "called directly"}
    return Row(
        name="search over the queue, added p50",
        target=f"≤ {_LIMIT_MS:g} ms",
        measured=f"{ours:.2f} ms",
        verdict=at_most(ours, _LIMIT_MS),
        notes=[
            f"hybrid searches by one client in {chunks} chunks, {searches} a round, the same questions both ways; "
            "called directly: embedding, SQL and unsealing in this process",
            *(_shown(shown, times[name]) for name, shown in names.items()),
        ],
    )


def _shown(name: str, summaries: list[Summary]) -> str:
    p50, p99 = median(one.p50 for one in summaries), median(one.p99 for one in summaries)
    return f"{name}: p50 {p50:.2f}, p99 {p99:.2f} ms; p50 by round {spread(one.p50 for one in summaries)}"


async def _play(rounds: Rounds) -> tuple[dict[str, list[Summary]], int]:
    times: dict[str, list[Summary]] = {"asked": [], "direct": []}
    with running(ContextServiceServer, rounds.product):
        async with open_producer(rounds.product) as producer:
            await _fill(rounds, producer)
            chunks = int(str(as_superuser(rounds.product, "SELECT count(*) FROM context_chunks")[0][0]))
            async with _ways(producer) as ways:
                for search in ways.values():
                    await _time(search, _questions(0, _WARM_UP))
                for number in range(1, rounds.plan.rounds + 1):
                    for name, search in ways.items():
                        rounds.say("search", name, number)
                        times[name].append(summarise(await _time(search, _questions(number, rounds.plan.searches))))
                        rounds.keep("search", name, ms=times[name][-1])
    return times, chunks


@asynccontextmanager
async def _ways(producer: Producer) -> AsyncIterator[dict[str, Search]]:
    embedder = WordLlamaEmbedder()
    await embedder.load()
    redis = connect_redis(producer.redis_url)
    requests = RequestClient(redis, producer.db, ProcessId(new_id()))
    client, direct = SearchClient(requests), ContextSearch(producer.db, Embedders(embedder))
    await requests.start()
    try:
        yield {
            "direct": lambda request: direct.search(producer.principal, request),
            "asked": lambda request: client.search(producer.principal, request, seconds=_PATIENCE_SECONDS),
        }
    finally:
        await requests.stop()
        await redis.aclose()


async def _time(search: Search, questions: list[str]) -> list[float]:
    times = []
    for question in questions:
        began = perf_counter()
        await search(SearchRequest(query=question))
        times.append((perf_counter() - began) * 1000)
    return times


async def _fill(rounds: Rounds, producer: Producer) -> None:
    """The documents are ingested by the service itself."""
    service = ContextService(ContextRepository(), PostgresBlobStore(producer.db), producer.ledger)
    words = random.Random(1)
    for number in range(rounds.plan.documents):
        content = " ".join(words.choices(_WORDS, k=_DOCUMENT_WORDS))
        async with producer.db.transaction(producer.principal) as tx:
            await service.create(tx, NewItem(name=f"document {number}", type="text", content=content))
    await until_ended(rounds.product, INGEST_ITEM.kind, seconds=_INGEST_SECONDS)


def _questions(seed: int, count: int) -> list[str]:
    words = random.Random(seed)
    return [" ".join(words.choices(_WORDS, k=_QUERY_WORDS)) for _ in range(count)]
