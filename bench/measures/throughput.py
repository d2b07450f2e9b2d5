"""Jobs per second through one worker process, each of them a durable row from before its start to after its end."""

import asyncio
from statistics import median

from bench.peers.arq_runner import TUNED, run_arq
from bench.queueing.jobs import NOTHING
from bench.queueing.processes import NothingWorker, running
from bench.queueing.producer import Producer, as_superuser, forget_jobs, open_producer, until_ended
from bench.queueing.rounds import Rounds
from bench.rows import Row, at_least, ratio, spread

_LIMIT_PER_SECOND = 600.0
_BATCH = 100
_WARM_UP = 300
_END_SECONDS = 60.0


def measure(rounds: Rounds) -> list[Row]:
    rates = asyncio.run(_play(rounds))
    for name, several in rates.items():
        for per_second in several:
            rounds.keep("throughput", name, per_second=per_second)
    return [row(rates, jobs=rounds.plan.jobs)]


def row(rates: dict[str, list[float]], *, jobs: int) -> Row:
    ours = median(rates["product"])
    theirs = median(rates["arq"]) if "arq" in rates else None
    return Row(
        name="no-op jobs, one worker process",
        target=f"≥ {_LIMIT_PER_SECOND:g}/s",
        measured=f"{ours:.0f} jobs/s",
        peer=f"arq {theirs:.0f} jobs/s" if theirs else "not measured",
        ratio=ratio(ours, theirs) if theirs else None,
        verdict=at_least(ours, _LIMIT_PER_SECOND),
        notes=[
            f"{jobs} jobs of one tenant, {_BATCH} a transaction, from the first transaction's begin to the last job's "
            "end; rows in PostgreSQL on disk. The peer: max_jobs 100, keep_result 0, poll 10 ms; keys in Redis, not on "
            "disk",
            *(f"{name} by round: {spread(values)} jobs/s" for name, values in rates.items()),
        ],
    )


async def _play(rounds: Rounds) -> dict[str, list[float]]:
    plan, product = rounds.plan, rounds.product
    rates: dict[str, list[float]] = {"product": []}
    for number in range(1, plan.rounds + 1):
        rounds.say("throughput", "product", number)
        with running(NothingWorker, product):
            async with open_producer(product) as producer:
                await _produce(producer, _WARM_UP)
                await until_ended(product, NOTHING.kind, seconds=_END_SECONDS)
                forget_jobs(product)
                await _produce(producer, plan.jobs)
                await until_ended(product, NOTHING.kind, seconds=_END_SECONDS)
        query = "SELECT count(*) / extract(epoch FROM max(ended_at) - min(created_at)) FROM jobs"
        rates["product"].append(float(str(as_superuser(product, query)[0][0])))
        forget_jobs(product)
        if rounds.has_arq:
            rounds.say("throughput", "arq", number)
            result = await asyncio.to_thread(run_arq, "rate", product.stores.redis.url, TUNED, jobs=plan.jobs)
            rates.setdefault("arq", []).append(result.per_second)
    return rates


async def _produce(producer: Producer, jobs: int) -> None:
    for first in range(0, jobs, _BATCH):
        await producer.enqueue(range(first, first + _BATCH))
