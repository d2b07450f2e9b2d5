"""How long the metric that workers are scaled by takes to read when many jobs are parked."""

import asyncio
from time import perf_counter
from typing import LiteralString

from bench.percentiles import Summary, summarise
from bench.progress import say
from bench.queueing.jobs import NOTHING
from bench.queueing.producer import Producer, as_superuser, forget_jobs, open_producer
from bench.queueing.rounds import Rounds
from bench.rows import Row, at_most

_LIMIT_MS = 5.0
_CAP = 10_000  # up to which workers count
_WARM_UP = 20
_INSERT: LiteralString = """
    INSERT INTO jobs (tenant_id, id, queue, kind, class, payload, status, run_after, user_id, max_failures)
    SELECT %s, gen_random_uuid(), %s, %s, 2, '', %s, %s, %s, 8 FROM generate_series(1, %s)
"""


def measure(rounds: Rounds) -> list[Row]:
    plan = rounds.plan
    say(f"depth: {plan.parked_jobs} parked jobs")
    _insert(rounds, "scheduled", "infinity", plan.parked_jobs)
    parked = asyncio.run(_read(rounds))
    _insert(rounds, "pending", "now", _CAP)
    full = asyncio.run(_read(rounds))
    forget_jobs(rounds.product)
    for name, summary in (("parked", parked), ("parked and due", full)):
        rounds.keep("depth", name, ms=summary)
    return [
        Row(
            name=f"depth read p99, {plan.parked_jobs} parked jobs",
            target=f"< {_LIMIT_MS:g} ms",
            measured=f"{parked.p99:.2f} ms",
            verdict=at_most(parked.p99, _LIMIT_MS),
            notes=[
                f"{parked.count} reads, p50 {parked.p50:.2f}, max {parked.max:.2f} ms",
                f"with {_CAP} due jobs besides (counted up to there): p50 {full.p50:.2f}, p99 {full.p99:.2f} ms",
            ],
        )
    ]


def _insert(rounds: Rounds, status: str, run_after: str, number: int) -> None:
    principal = rounds.product.principal
    params = (principal.tenant_id, NOTHING.queue, NOTHING.kind, status, run_after, principal.user_id, number)
    as_superuser(rounds.product, _INSERT, *params)


async def _read(rounds: Rounds) -> Summary:
    async with open_producer(rounds.product) as producer:
        await _times(producer, _WARM_UP)
        return summarise(await _times(producer, rounds.plan.depth_reads))


async def _times(producer: Producer, reads: int) -> list[float]:
    times = []
    for _ in range(reads):
        began = perf_counter()
        await producer.dispatcher.depth(NOTHING.queue, cap=_CAP)
        times.append((perf_counter() - began) * 1000)
    return times
