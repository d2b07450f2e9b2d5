"""Records bursts: real API, workflow engine, context service, PostgreSQL, Redis. Customers and provider are ours."""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from time import monotonic, time

from bench.machine import look_around
from bench.product import Product, running_product
from bench.progress import say
from bench.queueing.processes import running
from bench.queueing.producer import as_superuser, forget_jobs
from bench.retrieval.tenants import make_tenants
from bench.scaling.recording import Episode, RecordedDocument, RecordedJob, Recording
from bench.scaling.traffic import Customer, Traffic
from bench.simulated import SimulatedProvider
from copilot_devstack.worker_server import ContextServiceServer, WorkflowEngineServer

_POOL = 8
_TENANTS = 12
_EVERYDAY_SECONDS = 120.0
_RUSH_SECONDS = 60.0
_BATCH = 300
_HOURLY = 150
_IMPORT = 150
_CONNECTIONS = 8
_LIMIT_SECONDS = 300.0  # for an episode's jobs to end
_LOOK_SECONDS = 0.5

Play = Callable[[Traffic, list[Customer]], Awaitable[None]]


async def _everyday(traffic: Traffic, _: list[Customer]) -> None:
    """What goes on all day: some people chat, programs ask for an answer now and then, documents come in."""
    async with asyncio.TaskGroup() as group:
        for what, per_second in ((traffic.conversation, 1.5), (traffic.answer, 0.6), (traffic.document, 0.2)):
            group.create_task(_plainly(traffic, what, per_second))


async def _plainly(traffic: Traffic, what: Callable[[], Awaitable[None]], per_second: float) -> None:
    await traffic.now_and_then(what, lambda _: per_second, _EVERYDAY_SECONDS)


async def _rush(traffic: Traffic, _: list[Customer]) -> None:
    """A link was sent to everybody: twelve conversations begin each second, a third of that 20 s later."""
    await traffic.now_and_then(traffic.conversation, lambda moment: 12 * math.exp(-moment / 18), _RUSH_SECONDS)


async def _batch(traffic: Traffic, customers: list[Customer]) -> None:
    """One tenant asks for 300 answers as fast as it may."""
    await traffic.all_at_once(partial(traffic.answer, customers[0]), _BATCH, connections=_CONNECTIONS)


async def _hour(traffic: Traffic, _: list[Customer]) -> None:
    """The clock strikes, and programs of all tenants begin within seconds."""
    await traffic.now_and_then(traffic.answer, lambda moment: _HOURLY / 8 if moment < 8 else 0, 8)


async def _import(traffic: Traffic, customers: list[Customer]) -> None:
    """One tenant brings its 150 documents."""
    await traffic.all_at_once(partial(traffic.document, customers[0]), _IMPORT, connections=_CONNECTIONS)


_EPISODES: dict[str, tuple[str, Play]] = {
    "everyday": (f"{_EVERYDAY_SECONDS:.0f} s of conversations, background answers and documents", _everyday),
    "rush": ("many conversations begin at once, fewer and fewer follow", _rush),
    "batch": (f"one tenant asks for {_BATCH} background answers", _batch),
    "hour": (f"programs of all tenants ask for some {_HOURLY} background answers within 8 s", _hour),
    "import": (f"one tenant brings {_IMPORT} documents", _import),
}


def record() -> Recording:
    """About nine minutes. Raises StackError or RuntimeError where something does not work."""
    machine = look_around()
    with SimulatedProvider() as simulator, running_product(simulator, pool=_POOL) as product:
        tenants = make_tenants(product, {f"customer-{number}": 0 for number in range(_TENANTS)})
        keys = [tenant.api_key for tenant in tenants.values()]
        environ = {
            "OPENAI_BASE_URL": simulator.openai_url,
            "OPENAI_API_KEY": "sk-simulated",
            "DEFAULT_MODEL": "openai/sim",
        }
        with running(WorkflowEngineServer, product, environ), running(ContextServiceServer, product):
            episodes = {
                name: asyncio.run(_play(product, keys, name, about, play, seed=number))
                for number, (name, (about, play)) in enumerate(_EPISODES.items())
            }
    return Recording(
        recorded_at=datetime.now(UTC).replace(microsecond=0),
        machine=f"{machine.cores} cores ({machine.processor}), load average before {machine.load_average}",
        about="python -m bench.scaling record: one process of each service, real PostgreSQL and Redis; the provider is "
        "simulated, 500 ms to the first word and 50 words a second. jobs: created, ran (s), tenant; documents: created "
        "(s), chunks; requests: of each second",
        episodes=episodes,
    )


async def _play(product: Product, keys: list[str], name: str, about: str, play: Play, *, seed: int) -> Episode:
    say(f"recording: {name}")
    forget_jobs(product)
    as_superuser(product, "TRUNCATE context_items CASCADE")
    customers = [Customer("127.0.0.1", product.api.port, key) for key in keys]
    began, clock = time(), monotonic()
    await play(Traffic(customers, seed), customers)
    await _until_quiet(product)
    seconds = Counter(int(moment - clock) for customer in customers for moment in customer.sent)
    return Episode(
        about=about,
        requests=[seconds[second] for second in range(max(seconds) + 1)],
        jobs=_jobs(product, began),
        documents=_documents(product, began),
        job_rate=_job_rate(product),
    )


async def _until_quiet(product: Product) -> None:
    """Titles, which follow on answers, included; not what the context service puts off, as merging segments."""
    deadline = monotonic() + _LIMIT_SECONDS
    query = (
        "SELECT count(*) FROM jobs WHERE status IN ('pending', 'running', 'scheduled') "
        "AND (queue = 'workflow' OR kind LIKE 'context.ingest%')"
    )
    while (await asyncio.to_thread(as_superuser, product, query))[0][0]:
        if monotonic() > deadline:
            raise RuntimeError(f"jobs have not ended within {_LIMIT_SECONDS:.0f} s")
        await asyncio.sleep(_LOOK_SECONDS)


def _jobs(product: Product, began: float) -> list[RecordedJob]:
    query = (
        "SELECT extract(epoch FROM created_at), extract(epoch FROM ended_at - started_at), "
        "dense_rank() OVER (ORDER BY tenant_id) FROM jobs WHERE queue = 'workflow' AND status = 'completed' "
        "ORDER BY created_at"
    )
    rows = as_superuser(product, query)
    return [
        RecordedJob(round(float(str(at)) - began, 2), round(float(str(ran)), 3), int(str(who))) for at, ran, who in rows
    ]


def _documents(product: Product, began: float) -> list[RecordedDocument]:
    query = "SELECT extract(epoch FROM created_at), chunk_count FROM context_items ORDER BY created_at"
    rows = as_superuser(product, query)
    return [RecordedDocument(round(float(str(at)) - began, 2), int(str(chunks))) for at, chunks in rows]


def _job_rate(product: Product) -> float:
    query = (
        "SELECT coalesce(count(*) / nullif(extract(epoch FROM max(ended_at) - min(started_at)), 0), 0) FROM jobs "
        "WHERE queue = 'workflow' AND status = 'completed'"
    )
    return round(float(str(as_superuser(product, query)[0][0])), 3)
