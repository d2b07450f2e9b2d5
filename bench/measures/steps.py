"""Durable steps of workflows: how many a second, how long a run of five takes, how long from a POST to its first step,
and whether a step costs the same at a long loop's end as at its begin."""

import asyncio
from itertools import pairwise
from statistics import mean, median
from time import monotonic, time
from uuid import UUID

import msgspec
import psycopg

from bench.load.steady import SteadyPosts
from bench.peers.dbos_runner import DbosResult, is_installed, run_dbos
from bench.percentiles import Summary, summarise
from bench.product import Product
from bench.queueing.processes import running
from bench.queueing.producer import Producer, as_superuser, forget_jobs, open_producer
from bench.queueing.rounds import Rounds
from bench.rows import Row, at_least, at_most, ratio, spread
from bench.words import json_text
from copilot_common.base.ids import new_id
from copilot_devstack.worker_server import WorkflowEngineServer
from copilot_domain.workflows.definition import Definition, LoopConfig, Step, TransformConfig
from copilot_domain.workflows.repository import WorkflowRepository
from copilot_domain.workflows.runs.starting import start_run
from copilot_domain.workflows.runs.types import NewRun
from copilot_domain.workflows.versions import Versions

_STEPS = 5
_AT_ONCE = 32
_STEPS_LIMIT = 1_200.0
_DBOS_LIMIT = 4.0
_RUN_LIMIT_MS = 12.0
_START_LIMITS_MS = (10.0, 50.0)
_FLAT_LIMIT = 1.2
_POSTS_PER_SECOND = 100
_LOOK_SECONDS = 0.1
_APART_SECONDS = 0.06
_END_SECONDS = 120.0
_ENVIRON = {"JOB_SLOTS": str(_AT_ONCE), "TENANT_JOB_LIMIT": str(_AT_ONCE)}
_BEGIN_OF_LOOP = 200


def measure(rounds: Rounds) -> list[Row]:
    forget_jobs(rounds.product)
    with running(WorkflowEngineServer, rounds.product, _ENVIRON):
        found = asyncio.run(_play(rounds))
    _forget(rounds.product)
    return found


async def _play(rounds: Rounds) -> list[Row]:
    async with open_producer(rounds.product) as producer:
        stage = await _Stage.open(rounds, producer)
        await stage.rate(_AT_ONCE * 2)  # everything is warm
        rates: list[float] = []
        singles: list[list[float]] = []
        peer_rates: list[float] = []
        peer_singles: list[list[float]] = []
        for number in range(1, rounds.plan.rounds + 1):
            rounds.say("steps", "product", number)
            rates.append(await stage.rate(rounds.plan.runs))
            singles.append(await stage.singles(rounds.plan.single_runs))
            if is_installed():
                rounds.say("steps", "DBOS", number)
                peer_rates.append((await stage.peer("rate", rounds.plan.runs)).per_second)
                peer_singles.append((await stage.peer("single", rounds.plan.single_runs)).latencies_ms)
        rounds.say("first steps", "product", 1)
        starts, answers = await stage.starts(rounds.plan.posts)
        rounds.say("loop", "product", 1)
        loop = await stage.loop(rounds.plan.iterations)
    for name, several in (("product", rates), ("DBOS", peer_rates)):
        for per_second in several:
            rounds.keep("steps", name, per_second=per_second)
    return [
        *_rate_rows(rates, peer_rates, rounds.plan.runs),
        _single_row(singles, peer_singles),
        *_start_rows(summarise(starts), summarise(answers)),
        _loop_row(loop),
    ]


class _Stage:
    """The two workflows, and an engine that waits for runs of them."""

    def __init__(self, product: Product, producer: Producer, chain: UUID, loop: UUID) -> None:
        self._product = product
        self._producer = producer
        self._chain, self._loop = chain, loop
        self._versions = Versions()

    @classmethod
    async def open(cls, rounds: Rounds, producer: Producer) -> "_Stage":
        chain, loop = new_id(), new_id()
        async with producer.db.transaction(producer.principal) as tx:
            await WorkflowRepository().insert(tx, chain, _chain())
            await WorkflowRepository().insert(tx, loop, _looped(rounds.plan.iterations))
        if is_installed():
            as_superuser(rounds.product, "CREATE DATABASE dbos")
        return cls(rounds.product, producer, chain, loop)

    async def rate(self, runs: int) -> float:
        """Steps a second, from the first transaction's begin to the last run's end."""
        began = time()
        for _ in range(0, runs, _AT_ONCE):
            await self._start(self._chain, _AT_ONCE)
        await self._until_ended()
        ended = as_superuser(self._product, "SELECT extract(epoch FROM max(completed_at)) FROM workflow_runs")
        return runs * _STEPS / (float(str(ended[0][0])) - began)

    async def singles(self, runs: int) -> list[float]:
        """In ms, each from the begin of the transaction that starts it to the commit of its end."""
        times = []
        for _ in range(runs):
            began = time()
            (run,) = await self._start(self._chain, 1)
            await asyncio.sleep(_APART_SECONDS)  # a look would take a core's time from it
            await self._until_ended()
            query = "SELECT extract(epoch FROM completed_at) FROM workflow_runs WHERE id = %s"
            times.append((float(str(as_superuser(self._product, query, run)[0][0])) - began) * 1000)
        return times

    async def peer(self, command: str, runs: int) -> DbosResult:
        url = f"{self._product.stores.postgres.admin_url.rpartition('/')[0]}/dbos"
        return await asyncio.to_thread(run_dbos, command, url, runs=runs)

    async def starts(self, posts: int) -> tuple[list[float], list[float]]:
        """In ms, from the POST to the begin of the run's first step, and to its answer; at 100 a second."""
        body = json_text({"workflow_id": str(self._chain), "inputs": {"n": 1}}).encode()
        headers = {"X-API-Key": self._product.api_key}
        load = SteadyPosts("127.0.0.1", self._product.api.port, ["/api/v1/workflows/runs"], headers, body)
        try:
            await load.send(_AT_ONCE * 2, per_second=_POSTS_PER_SECOND, connections=_AT_ONCE)  # everything is warm
            answers = await load.send(posts, per_second=_POSTS_PER_SECOND, connections=_AT_ONCE)
        finally:
            load.close()
        await self._until_ended()
        query = "SELECT run_id::text, min(extract(epoch FROM started_at)) FROM workflow_steps GROUP BY run_id"
        first = {str(row[0]): float(str(row[1])) for row in as_superuser(self._product, query)}
        runs = [str(msgspec.json.decode(answer.body)["id"]) for answer in answers]
        return (
            [(first[run] - answer.began) * 1000 for run, answer in zip(runs, answers, strict=True)],
            [(answer.ended - answer.began) * 1000 for answer in answers],
        )

    async def loop(self, iterations: int) -> float:
        """How long a step takes among the last 200 of a loop, as a ratio to the first 200."""
        (run,) = await self._start(self._loop, 1)
        await self._until_ended()
        query = "SELECT fact_at FROM workflow_steps WHERE run_id = %s AND step_id = 'body' ORDER BY fact_at"
        moments = [float(str(row[0])) for row in as_superuser(self._product, query, run)]
        if len(moments) != iterations:
            raise RuntimeError("the loop has not run to its end")
        gaps = [after - before for before, after in pairwise(moments)]
        return mean(gaps[-_BEGIN_OF_LOOP:]) / mean(gaps[:_BEGIN_OF_LOOP])

    async def _start(self, workflow: UUID, count: int) -> list[UUID]:
        producer, new = self._producer, NewRun(workflow_id=workflow, inputs={"n": 1})
        async with producer.db.transaction(producer.principal) as tx:
            return [(await start_run(tx, producer.ledger, self._versions, new)).id for _ in range(count)]

    async def _until_ended(self) -> None:
        """Looks through one session: a new one each time would take a tenth of a core from what is measured."""
        deadline = monotonic() + _END_SECONDS
        query = "SELECT 1 FROM workflow_runs WHERE status IN ('pending', 'running', 'waiting') LIMIT 1"
        with psycopg.connect(self._product.stores.postgres.admin_url, autocommit=True) as connection:
            while connection.execute(query).fetchone() is not None:
                if monotonic() > deadline:
                    raise RuntimeError(f"the runs have not ended within {_END_SECONDS:.0f} s")
                await asyncio.sleep(_LOOK_SECONDS)


def _transform(step_id: str, *follow: str) -> Step:
    config = TransformConfig(set={"n": "inputs.n + 1"})
    return Step(id=step_id, name=step_id, type="transform", config=config, next_steps=list(follow))


def _chain() -> Definition:
    ids = [f"s{number}" for number in range(_STEPS)]
    steps = [_transform(each, *ids[number + 1 : number + 2]) for number, each in enumerate(ids)]
    return Definition(name="chain", entry_point=ids[0], steps=steps)


def _looped(iterations: int) -> Definition:
    config = LoopConfig(times=iterations, body=["body"], max_iterations=iterations)
    steps = [Step(id="loop", name="loop", type="loop", config=config), _transform("body")]
    return Definition(name="loop", entry_point="loop", steps=steps)


def _forget(product: Product) -> None:
    as_superuser(product, "TRUNCATE workflows CASCADE")
    forget_jobs(product)


def _rate_rows(ours: list[float], peers: list[float], runs: int) -> list[Row]:
    rate, peer = median(ours), median(peers) if peers else None
    times = None if peer is None else rate / peer
    notes = [
        f"{runs} runs of {_STEPS} steps, {_AT_ONCE} at once, one engine; each step an expression evaluated in a "
        "process of its own; those of 50 ms go to disk together; ours include the start and the end of each run",
        f"product by round: {spread(ours)} steps/s",
        *(
            [f"DBOS by round: {spread(peers)} steps/s; its steps do nothing, called in the process that asks"]
            if peers
            else []
        ),
    ]
    return [
        Row(
            name="durable steps, one engine",
            target=f"≥ {_STEPS_LIMIT:g}/s",
            measured=f"{rate:.0f} steps/s",
            peer=f"DBOS {peer:.0f} steps/s" if peer else "not measured",
            ratio=ratio(rate, peer) if peer else None,
            verdict=at_least(rate, _STEPS_LIMIT),
            notes=notes,
        ),
        *(
            [
                Row(
                    name="durable steps against DBOS",
                    target=f"≥ {_DBOS_LIMIT:g} ×",
                    measured=f"{times:.1f} ×",
                    verdict=at_least(times, _DBOS_LIMIT),
                )
            ]
            if times is not None
            else []
        ),
    ]


def _single_row(ours: list[list[float]], peers: list[list[float]]) -> Row:
    mine = summarise([ms for values in ours for ms in values])
    peer = summarise([ms for values in peers for ms in values]) if peers else None
    return Row(
        name="one run of five steps, p50",
        target=f"≤ {_RUN_LIMIT_MS:g} ms",
        measured=f"{mine.p50:.1f} ms",
        peer=f"DBOS {peer.p50:.1f} ms" if peer else "not measured",
        ratio=ratio(peer.p50, mine.p50) if peer else None,
        verdict=at_most(mine.p50, _RUN_LIMIT_MS),
        notes=[
            "from the begin of the transaction that starts it to the commit of its end; the way to an idle worker is "
            f"part of it; p99 {mine.p99:.1f} ms"
        ],
    )


def _start_rows(starts: Summary, answers: Summary) -> list[Row]:
    p50, p99 = _START_LIMITS_MS
    note = (
        f"{starts.count} POSTs at 100 a second over HTTP, each run five steps; max {starts.max:.1f} ms; "
        f"the POST's own answer p50 {answers.p50:.1f}, p99 {answers.p99:.1f} ms"
    )
    return [
        Row(
            name="POST to first step begun, p50",
            target=f"≤ {p50:g} ms",
            measured=f"{starts.p50:.1f} ms",
            verdict=at_most(starts.p50, p50),
            notes=[note],
        ),
        Row(
            name="POST to first step begun, p99",
            target=f"≤ {p99:g} ms",
            measured=f"{starts.p99:.1f} ms",
            verdict=at_most(starts.p99, p99),
        ),
    ]


def _loop_row(times: float) -> Row:
    return Row(
        name="a loop's last 200 steps against its first",
        target=f"≤ {_FLAT_LIMIT:g} ×",
        measured=f"{times:.2f} ×",
        verdict=at_most(times, _FLAT_LIMIT),
        notes=["mean time from step to step, one iteration after the other"],
    )
