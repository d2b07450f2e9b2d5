"""What asking for a job costs the request that asks."""

import asyncio
from statistics import median
from time import perf_counter

from bench.percentiles import Summary, summarise
from bench.queueing.jobs import NOTHING, Nothing
from bench.queueing.producer import Producer, forget_jobs, open_producer
from bench.queueing.rounds import Rounds
from bench.rows import Row, at_most, spread
from copilot_common.queue import NewJob

_LIMIT_MS = 1.5
_WARM_UP = 50


def measure(rounds: Rounds) -> list[Row]:
    times = asyncio.run(_play(rounds))
    forget_jobs(rounds.product)
    inserts, whole = times["insert"], times["transaction"]
    ours = median(summary.p50 for summary in inserts)
    return [
        Row(
            name="enqueue p50 inside a request's transaction",
            target=f"≤ {_LIMIT_MS:g} ms",
            measured=f"{ours:.2f} ms",
            verdict=at_most(ours, _LIMIT_MS),
            notes=[
                f"{rounds.plan.enqueues} a round, one after another; p99 {median(one.p99 for one in inserts):.2f} ms; "
                f"p50 by round {spread(one.p50 for one in inserts)}",
                f"the whole transaction (begin, insert, commit to disk): p50 {median(one.p50 for one in whole):.2f}"
                f", p99 {median(one.p99 for one in whole):.2f} ms",
            ],
        )
    ]


async def _play(rounds: Rounds) -> dict[str, list[Summary]]:
    times: dict[str, list[Summary]] = {"insert": [], "transaction": []}
    async with open_producer(rounds.product) as producer:
        await _enqueue(producer, _WARM_UP)
        for number in range(1, rounds.plan.rounds + 1):
            rounds.say("enqueue", "product", number)
            inserts, whole = await _enqueue(producer, rounds.plan.enqueues)
            for name, values in (("insert", inserts), ("transaction", whole)):
                times[name].append(summarise(values))
                rounds.keep("enqueue", name, ms=times[name][-1])
    return times


async def _enqueue(producer: Producer, count: int) -> tuple[list[float], list[float]]:
    """In ms: each insert, and its whole transaction."""
    inserts, whole = [], []
    for number in range(count):
        began = perf_counter()
        async with producer.db.transaction(producer.principal) as tx:
            asked = perf_counter()
            await producer.ledger.enqueue(tx, NewJob(type=NOTHING, payload=Nothing(number)))
            inserts.append((perf_counter() - asked) * 1000)
        whole.append((perf_counter() - began) * 1000)
    return inserts, whole
