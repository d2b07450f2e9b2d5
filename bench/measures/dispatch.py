"""How long a job waits for an idle worker: from the commit that asked for it to the start of its handler."""

import asyncio
import random
from collections.abc import Iterator
from itertools import count

from bench.peers.arq_runner import DEFAULTS, FAST_POLL, run_arq
from bench.percentiles import summarise
from bench.queueing.jobs import NOTHING
from bench.queueing.processes import NothingWorker, running
from bench.queueing.producer import Producer, forget_jobs, open_producer, until_ended
from bench.queueing.rounds import Rounds
from bench.rows import Row, at_most, ratio, spread

_P50_LIMIT_MS = 5.0
_P99_LIMIT_MS = 20.0
_WARM_UP = 20
_END_SECONDS = 15.0

Latencies = dict[str, list[list[float]]]
"""In ms, by contender and round."""


def measure(rounds: Rounds) -> list[Row]:
    forget_jobs(rounds.product)  # an API that was measured before has asked for titles
    latencies = asyncio.run(_play(rounds))
    forget_jobs(rounds.product)
    for name, several in latencies.items():
        for values in several:
            rounds.keep("dispatch", name, ms=summarise(values))
    return rows(latencies)


def rows(latencies: Latencies) -> list[Row]:
    found = {name: summarise([ms for values in several for ms in values]) for name, several in latencies.items()}
    ours, arq = found["product"], found.get("arq, poll 10 ms")
    notes = [
        f"{name}: {summary.count} jobs, p50 {summary.p50:.2f}, p90 {summary.p90:.2f}, p99 {summary.p99:.2f}, max "
        f"{summary.max:.2f} ms; p50 by round {spread(summarise(values).p50 for values in latencies[name])}"
        for name, summary in found.items()
    ]
    return [
        Row(
            name="idle dispatch p50, commit to handler",
            target=f"≤ {_P50_LIMIT_MS:g} ms",
            measured=f"{ours.p50:.2f} ms",
            peer=f"arq {arq.p50:.2f} ms" if arq else "not measured",
            ratio=ratio(arq.p50, ours.p50) if arq else None,
            verdict=at_most(ours.p50, _P50_LIMIT_MS),
            notes=[
                "one job at a time for one idle worker process; the peer's default poll is 500 ms, the ratio is to a "
                "poll of 10 ms; its jobs are in Redis only",
                *notes,
            ],
        ),
        Row(
            name="idle dispatch p99",
            target=f"≤ {_P99_LIMIT_MS:g} ms",
            measured=f"{ours.p99:.2f} ms",
            peer=f"arq {arq.p99:.2f} ms" if arq else "not measured",
            ratio=ratio(arq.p99, ours.p99) if arq else None,
            verdict=at_most(ours.p99, _P99_LIMIT_MS),
        ),
    ]


async def _play(rounds: Rounds) -> Latencies:
    """The rounds of all contenders in turns. Our worker lives through all of them: its times are known at its end."""
    plan, redis_url = rounds.plan, rounds.product.stores.redis.url
    latencies: Latencies = {"product": []}
    committed: list[dict[int, float]] = []
    numbers = count()
    with running(NothingWorker, rounds.product) as worker:
        async with open_producer(rounds.product) as producer:
            await _one_by_one(producer, numbers, _WARM_UP, plan.pause_ms)
            for number in range(1, plan.rounds + 1):
                rounds.say("dispatch", "product", number)
                committed.append(await _one_by_one(producer, numbers, plan.dispatches, plan.pause_ms))
                if rounds.has_arq:
                    for name, flags, jobs in (
                        ("arq, defaults", DEFAULTS, plan.slow_dispatches),
                        ("arq, poll 10 ms", FAST_POLL, plan.dispatches),
                    ):
                        rounds.say("dispatch", name, number)
                        result = await asyncio.to_thread(run_arq, "idle", redis_url, flags, jobs=jobs)
                        latencies.setdefault(name, []).append(result.latencies_ms)
            await until_ended(rounds.product, NOTHING.kind, seconds=_END_SECONDS)
    began = worker.started_at()
    latencies["product"] = [[(began[job] - moment) * 1000 for job, moment in one.items()] for one in committed]
    return latencies


async def _one_by_one(producer: Producer, numbers: Iterator[int], jobs: int, pause_ms: float) -> dict[int, float]:
    """When each was committed."""
    committed = {}
    for _ in range(jobs):
        await asyncio.sleep(random.uniform(pause_ms, 2 * pause_ms) / 1000)
        number = next(numbers)
        committed[number] = await producer.enqueue([number])
    return committed
